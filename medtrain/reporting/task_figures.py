"""The figure of a report, by the task that it is of."""

from __future__ import annotations

from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from medtrain.reporting import plots, study_figures
from medtrain.tasks.abnormality import STATES, Abnormality
from medtrain.tasks.multiclass import Multiclass
from medtrain.tasks.multilabel import Multilabel
from medtrain.tasks.score import Score


@singledispatch
def draw(task: Any, report: dict[str, Any], path: Path, about: str = "") -> None:
    """The figure of a task's report; `about` says what it is of. TypeError for a task that has none here."""
    raise TypeError(f"{type(task).__name__}: register how its report is drawn")


@draw.register
def _(task: Abnormality, report: dict[str, Any], path: Path, about: str = "") -> None:
    """The confusion matrix of each study type, and of all."""
    each = {name: row["confusion"] for name, row in report["per_class"].items() if row["samples"]}
    matrices = {**each, "all": report["confusion"]} if len(each) != 1 else each
    study_figures.confusions(matrices, STATES, path, about, [name for name in report["per_class"] if name not in each])


@draw.register
def _(task: Multiclass, report: dict[str, Any], path: Path, about: str = "") -> None:
    """The confusion matrix."""
    plots.confusion(np.array(report["confusion"]), task.classes, path, about)


@draw.register
def _(task: Multilabel, report: dict[str, Any], path: Path, about: str = "") -> None:
    """AUROC by label."""
    plots.label_scores(report["per_class"], path, about)


@draw.register
def _(task: Score, report: dict[str, Any], path: Path, about: str = "") -> None:
    """What is predicted in each tenth of what was given."""
    if report["by_given"]:
        plots.predicted_scores(report["by_given"], path, about, task.name)
