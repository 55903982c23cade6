"""Run folders with the files that `medtrain compare` reads, in the formats of real runs, for scores of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.config import configfile
from medtrain.config.schema import Config
from medtrain.core.jsonfiles import write_json
from medtrain.evaluation.score_table import TIES, ScoreTable, write_scores
from medtrain.metrics.multilabel_report import multilabel_report
from medtrain.runs.checkpoint_manifest import manifest_bytes
from medtrain.runs.run import Run

LABELS = ("Effusion", "Mass")


def scored_run(
    runs: Path,
    name: str,
    scores: NDArray[np.float64],
    labels: NDArray[Any],
    patients: NDArray[np.int64],
    *,
    images: list[str] | None = None,
    classes: tuple[str, ...] = LABELS,
    report: dict[str, Any] | None = None,
    split: str = "test",
    config: Config | None = None,
    data: str = "",
) -> Run:
    """A run that has scored N images: of several labels, unless `report` is of another task; with a digest of its
    `data`, in the manifest of a checkpoint."""
    run = Run(runs / name)
    run.evaluation.mkdir(parents=True)
    configfile.save(replace(config or configfile.resolve("chest"), run=name, runs=str(runs)), run.config_file)
    rows = np.empty(len(labels), TIES)
    rows["study"], rows["group"] = np.arange(len(labels)), patients
    keys = np.array(images or [f"clinic-{i:016x}" for i in range(len(labels))], np.str_)
    answers = classes if scores.shape[1] == len(classes) else ("abnormal",)
    write_scores(ScoreTable(keys, rows, labels, scores, classes, answers), run.evaluation / f"{split}.csv")
    told = multilabel_report(scores, labels, classes) if report is None else report
    write_json(run.evaluation / f"{split}.json", told)
    if data:
        checkpoint = run.checkpoints / "step-00000009-epoch-001"
        checkpoint.mkdir(parents=True)
        (checkpoint / "manifest.json").write_bytes(manifest_bytes({"format": 2, "fingerprints": {"data": data}}))
    return run
