"""What is known of a run, gathered from its folder once, without torch."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.config import configfile
from medtrain.config.backbones import weights_in_public
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json
from medtrain.datasets.labels import PRESENT
from medtrain.evaluation.score_table import ScoreTable, read_scores
from medtrain.evaluation.study_means import study_means
from medtrain.metrics.classification import rankable
from medtrain.metrics.curves import Curves, curves_of
from medtrain.metrics.multilabel_report import known_cells
from medtrain.runs import journal
from medtrain.runs.attempt_history import attempt_history
from medtrain.runs.checkpoint_manifest import CorruptCheckpointError, read_manifest
from medtrain.runs.code_snapshot import snapshot_manifest
from medtrain.runs.environment_record import other_devices, recorded
from medtrain.runs.run import Run, command_for, resume_command
from medtrain.shards import mixture
from medtrain.shards.packed_dataset import PackedDataset
from medtrain.slurm.queries import JobStatus

ALL = "all"  # of several study types
PATHS = re.compile(r"(?:~|\.{0,2})/[^\s'\",:]*/")


@dataclass(frozen=True)
class Judged:
    """What the curves are of: scores [N, K] of images or studies, what is known and positive of each column, patients;
    `raw` are the probabilities themselves where other scores rank better."""

    names: tuple[str, ...]
    scores: NDArray[np.float64]
    positive: NDArray[np.bool_]
    known: NDArray[np.bool_]
    groups: NDArray[np.uint64]
    raw: NDArray[np.float64]


@dataclass(frozen=True)
class RunFacts:
    """Everything that the page says of a run."""

    run: Run
    config: Config
    report: dict[str, Any]
    split: str
    external: dict[str, Any]
    judged: Judged | None
    why_not: str  # why there are no scores of images
    epochs: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    packed: dict[str, PackedDataset]  # by the name of its folder
    missing: list[str]  # folders of datasets that are not there any more
    best: dict[str, Any]  # the manifest of the best checkpoint
    best_name: str
    first_weights: dict[str, Any]  # what the run wrote down of the weights that it began from
    code: dict[str, Any]
    environment: dict[str, str]
    other_devices: list[str]  # than that of the first attempt, by name
    best_epoch: int | None
    small_cells: bool = False
    curves: dict[str, Curves | None] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The kind of problem, as the numbers of the report tell it: a task of another name has those of its kind."""
        return kind_of(self.report)

    @property
    def unit(self) -> str:
        """What is judged."""
        return "studies" if self.task == "abnormality" else self.config.data.unit

    @property
    def label(self) -> str:
        """What one of the labels is called."""
        words = {"multiclass": "class", "multilabel": "label", "abnormality": "study type", "score": "score"}
        return words[self.task]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels."""
        return tuple(self.report["per_class"])


def kind_of(report: dict[str, Any]) -> str:
    """Which of the four kinds of problem a report is of."""
    marks = {"by_given": "score", "confusion_normalised": "abnormality", "confusion": "multiclass"}
    return next((kind for mark, kind in marks.items() if mark in report), "multilabel")


def gather(
    run: Run, place: JobStatus | None = None, small_cells: bool = False, finishes_at: float | None = None
) -> RunFacts:
    """All of it; InputError where the run has no report yet. `place` is where the run is under way; `finishes_at`: it
    finishes then."""
    if not run.report.exists():
        raise InputError(f"run {run.name} has no report yet", _what_to_do(run))
    config, report = configfile.load(run.config_file), read_json(run.report)
    judged, why_not = judged_of(config, run.report.with_suffix(".csv"), report)
    packed, missing = _packed(config)
    best, best_name = _best(run)
    epochs = list(journal.rows(run.journal, "epoch"))
    return RunFacts(
        run=run,
        config=config,
        report=report,
        split=run.report.stem,
        external=read_json(run.evaluation / "external.json"),
        judged=judged,
        why_not=why_not,
        epochs=sorted(epochs, key=lambda row: int(row["epoch"])),
        attempts=attempt_history(run, place, finishes_at),
        packed=packed,
        missing=missing,
        best=best,
        best_name=best_name,
        first_weights=read_json(run.first_weights) if run.first_weights.exists() else {},
        code=snapshot_manifest(run),
        environment=recorded(run),
        other_devices=other_devices(run),
        best_epoch=run.status().get("best_epoch") or best.get("epoch"),
        small_cells=small_cells,
        curves=_curves(judged),
    )


def _what_to_do(run: Run) -> str:
    if any(run.checkpoints.glob("step-*")):
        return f"let it finish: {resume_command(run)}   or score its best weights: {command_for(run, 'evaluate')}"
    return f"let it finish first: {resume_command(run)}"


def _best(run: Run) -> tuple[dict[str, Any], str]:
    """The manifest of the best checkpoint, and its name; of the last one where none is the best."""
    for link in ("best", "last"):
        folder = run.checkpoints / link
        with contextlib.suppress(CorruptCheckpointError):
            if folder.exists():
                return read_manifest(folder), folder.resolve().name
    return {}, ""


def _packed(config: Config) -> tuple[dict[str, PackedDataset], list[str]]:
    """The run's packed datasets that are still there, and the names of the others."""
    found: dict[str, PackedDataset] = {}
    missing = []
    for folder in mixture.folders(config.data):
        try:
            found[folder.name] = PackedDataset.open(folder)
        except InputError:
            missing.append(folder.name)
    return found, missing


def judged_of(config: Config, path: Path, report: dict[str, Any]) -> tuple[Judged | None, str]:
    """What the table of scores holds, as the task judges it; or why it holds nothing for curves."""
    if kind_of(report) == "score":
        return None, "The task predicts a number, for which these curves are not defined."
    try:
        table = read_scores(path)
    except (InputError, ValueError):
        return None, f"The scores of single {config.data.unit} ({path.name}) are not there."
    if table.classes != tuple(report["per_class"]) or not len(table.scores):
        return None, f"The scores in {path.name} are not those of this report."
    return _JUDGES[kind_of(report)](table, report), ""


def _of_classes(table: ScoreTable, report: dict[str, Any]) -> Judged:
    told = known_cells(table.labels).all(1)
    labels, raw = table.labels[told] == PRESENT, table.scores[told]
    known = np.ones(labels.shape, bool)
    return Judged(table.classes, rankable(raw), labels, known, table.rows["group"][told], raw)


def _of_labels(table: ScoreTable, report: dict[str, Any]) -> Judged:
    learned = np.array([row.get("learned", True) for row in report["per_class"].values()])
    known = known_cells(table.labels) & learned
    return Judged(table.classes, table.scores, table.labels == PRESENT, known, table.rows["group"], table.scores)


def _of_studies(table: ScoreTable, report: dict[str, Any]) -> Judged:
    """A column for each study type, and one for all."""
    scores, labels, groups = study_means(table.scores, table.labels, table.rows["study"], table.rows["group"])
    known = known_cells(labels)
    told = known.any(1)
    scores, labels, known, groups = scores[told], labels[told], known[told], groups[told]
    every = np.repeat(scores[:, :1], len(table.classes) + 1, 1)
    positive = labels == PRESENT
    return Judged(
        (*table.classes, ALL), every, np.column_stack([positive, positive.any(1)]),
        np.column_stack([known, known.any(1)]), groups, every,
    )  # fmt: skip


_JUDGES = {"multiclass": _of_classes, "multilabel": _of_labels, "abnormality": _of_studies}


def _curves(judged: Judged | None) -> dict[str, Curves | None]:
    if judged is None:
        return {}
    found = curves_of(judged.scores, judged.positive, judged.known, judged.groups)
    return dict(zip(judged.names, found, strict=True))


def setting_in_public(name: str, value: object) -> str:
    """The value of a setting in words, without paths and without the name of a file of weights."""
    return without_paths(weights_in_public(str(value)) if name == "model.weights" else value)


def without_paths(value: object) -> str:
    """A value in words, in which of every path only its last part is left."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(without_paths, value)) or "none"
    text = "yes" if value is True else "no" if value is False else str(value)
    if text.startswith("/") and ": " not in text:  # a path and no sentence: blanks and commas belong to it
        return f"…/{Path(text).name}"
    return PATHS.sub("…/", text) or "none"
