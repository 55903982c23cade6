"""The command data label-reports: read labels from the reports of a dataset, and score them against a gold file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtrain.core.counts import are, counted
from medtrain.core.errors import InputError
from medtrain.core.progress import Progress
from medtrain.datasets import csvfile
from medtrain.datasets.labels import PATHOLOGIES, PRESENT
from medtrain.datasets.report_labeler import label_report
from medtrain.metrics.classification import per_class
from medtrain.metrics.numbers import plain

Said = dict[str, dict[str, int | None]]  # study -> label -> 1, 0 or None


def read_gold(path: Path) -> dict[str, dict[str, int]]:
    """Report id (its digits: `CXR7` is 7) -> label -> 1 or 0. A label with no 1 at all is left out: nobody looked."""
    gold: dict[str, dict[str, int]] = {}
    for line, row in enumerate(csvfile.rows(path, (), csvfile.OWN_FIX), start=2):
        name = next(iter(row.values()))
        known = {label: row[label].removesuffix(".0") for label in PATHOLOGIES if label in row}
        if not known or set(known.values()) - {"0", "1"}:
            raise InputError(f"{path}, line {line}: no labels of 0 and 1", f"name the columns {', '.join(PATHOLOGIES)}")
        gold[csvfile.id_in(name.removeprefix("CXR"))] = {label: int(value) for label, value in known.items()}
    seen = {label for row in gold.values() for label, value in row.items() if value}
    return {study: {label: value for label, value in row.items() if label in seen} for study, row in gold.items()}


def score(said: Said, gold: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Precision, recall and F1 of what was read as present, by label and over all (micro); unknown counts as absent."""
    missing = [study for study in gold if study not in said]
    if missing:
        reports = counted(len(missing), "reports")
        problem = f"{reports} of the gold file {are(len(missing))} not in the dataset (the first: {missing[0]})"
        raise InputError(problem, "give the gold file of this dataset")
    counts = {label: [0, 0, 0] for label in PATHOLOGIES if any(label in row for row in gold.values())}
    for study, row in gold.items():
        for label, true in row.items():
            read = said[study][label] == PRESENT
            if read or true:
                counts[label][0 if read and true else 1 if read else 2] += 1
    total = [sum(column) for column in zip(*counts.values(), strict=True)]
    labels = {label: _rates(*each) for label, each in counts.items()}
    return {"scored": len(gold), "labels": labels, "micro": _rates(*total)}


def _rates(right: int, too_many: int, missed: int) -> dict[str, int | float | None]:
    each = per_class([[0, too_many], [missed, right]])  # how many are rightly absent has no say
    rates = {name: plain(getattr(each, name)[1]) for name in ("precision", "recall", "f1")}
    return {"right": right, "too_many": too_many, "missed": missed, **rates}


def label_texts(texts: Mapping[str, str], quiet: bool) -> Said:
    """What each report states, denies and leaves open."""
    progress = Progress(len(texts), "reading", "reports", every_seconds=float("inf") if quiet else 30.0)
    said = {}
    for study, text in texts.items():
        said[study] = label_report(text)
        progress.advance()
    progress.close()
    return said
