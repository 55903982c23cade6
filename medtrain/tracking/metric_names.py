"""What trackers call the numbers of the journal: grouped by a slash, which W&B, MLflow and TensorBoard show as panels.

The journal itself keeps its names (`val_accuracy`); a run keeps those that it began with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from medtrain.core.jsonfiles import read_json
from medtrain.runs.run import Run
from medtrain.tracking.journal_reader import Row

GROUPS = ("train", "val", "test")
# A step's loss is of one global batch, an epoch's the mean over all of them: two curves.
OF_THEIR_OWN = {
    "epoch": "epoch", "loss": "train/loss", "lr": "train/lr", "train_loss": "train/loss_epoch",
}  # fmt: skip


def grouped(name: str) -> str:
    """`train/loss`, `val/accuracy`, `test/accuracy`; what is of no split comes under `train`, which measures it."""
    if name in OF_THEIR_OWN:
        return OF_THEIR_OWN[name]
    group, _, metric = name.partition("_")
    return f"{group}/{metric}" if group in GROUPS and metric else f"train/{name}"


def unchanged(name: str) -> str:
    """The journal's own name, as trackers had it until version 0.1."""
    return name


def renamed(row: Row, names: Callable[[str], str]) -> Row:
    """A row by a tracker's names."""
    return row._replace(values={names(name): value for name, value in row.values.items()})


def of_test(run: Run) -> dict[str, Any]:
    """The numbers of a finished run's test over all of its samples, as `test_accuracy`; none before its end."""
    if run.status().get("state") != "finished":
        return {}
    try:
        report = read_json(run.report)
    except ValueError:  # damaged: `evaluate` makes it anew
        return {}
    return {f"test_{name}": value for name, value in report.items() if type(value) in (int, float)}
