"""The command data label-reports: labels read from the reports of a dataset, scored against a gold file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medtrain import datasets
from medtrain.cli.flag_types import Dataset, Flag
from medtrain.core.console import say, say_json, table
from medtrain.core.counts import counted
from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.labels import PATHOLOGIES
from medtrain.evaluation.report_labels import label_texts, read_gold, score


def data_label_reports(
    dataset: Dataset, root: Path, gold: Path | None = None, out: Path | None = None, json: Flag = False
) -> None:
    """Read the labels of a dataset's reports; with a gold file, print precision, recall and F1.

    Args:
        dataset: Name of a dataset with reports (medtrain data list).
        root: Folder with its raw files.
        gold: CSV with a report's id in its first column and a column of 0 and 1 for each label that it knows.
        out: CSV to write: study, and 1, 0 or nothing (unknown) for each label.
        json: Print one JSON document.
    """
    reports = datasets.source(dataset).reports
    if reports is None:
        raise InputError(f"{dataset} has no reports", "choose a dataset that has: openi, rexgradient")
    texts = {report.study: report.text for report in reports(root)}
    said = label_texts(texts, quiet=json)
    if out is not None:
        cells = ((study, *(row[name] for name in PATHOLOGIES)) for study, row in said.items())
        csvfile.write(out, ("study", *PATHOLOGIES), cells)
    found: dict[str, Any] = {"dataset": dataset, "reports": len(said)}
    if gold is not None:
        found |= score(said, read_gold(gold))
    if json:
        say_json(found)
        return
    say(f"{counted(len(said), 'reports')} of {dataset}{f', written to {out}' if out else ''}")
    if gold is not None:
        heads = ("label", "TP", "FP", "FN", "precision", "recall", "f1")
        rows = [(name, *row.values()) for name, row in (found["labels"] | {"all (micro)": found["micro"]}).items()]
        say(f"against {found['scored']:,} reports of {gold}\n\n{table(heads, rows)}")
