"""What several runs scored of the same split, brought to the images that all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.core.errors import InputError
from medtrain.datasets.labels import UNKNOWN
from medtrain.evaluation.compared_entries import Entry, Scored, scored
from medtrain.evaluation.score_table import ScoreTable
from medtrain.metrics.numbers import Ints
from medtrain.runs.run import Run, command_for

# A number that only reports of this kind of problem have -> the kind. Tasks of one's own are known by what they report.
KINDS = {"mae": "score", "kappa": "abnormality", "micro_auroc": "multilabel", "confusion": "multiclass"}


@dataclass(frozen=True)
class CommonImages:
    """N images, in the order of their keys, and of each of M runs its scores."""

    kind: str
    """One of the values of KINDS."""
    classes: tuple[str, ...]
    labels: npt.NDArray[Any]
    """[N, L] as in a ScoreTable; in several labels, what some run has not learned is unknown."""
    patients: Ints
    """[N], numbered from 0: images that any run has as those of one patient are of one."""
    studies: Ints
    """[N], likewise."""
    scores: list[npt.NDArray[np.float64]]
    """M times [N, K]."""
    reports: list[dict[str, Any]]
    """M, of the whole split."""
    images: list[int]
    """M: how many each run has."""
    unlearned: tuple[str, ...]
    """Labels that the training images of some run never show."""


def load_common(runs: Sequence[Entry], split: str) -> CommonImages:
    """The common images of a split; InputError where a run has no scores, and where they cannot be compared: other
    tasks, other classes, no common image, or one image with two truths."""
    return common_of(runs, [scored(run, split) for run in runs])


def common_of(runs: Sequence[Entry], found: Sequence[Scored]) -> CommonImages:
    """The common images of what was scored, each by one of the `runs`, whose names errors have."""
    tables, reports = [one.table for one in found], [one.report for one in found]
    kinds = [kind_of(report, run) for report, run in zip(reports, runs, strict=True)]
    _ensure_same("tasks", runs, kinds)
    _ensure_same("classes", runs, [", ".join(table.classes) for table in tables])
    keys = _common_keys(runs, tables)
    own = [_restricted(table, keys) for table in tables]
    _ensure_same_labels(runs, own)
    told = [report.get("per_class", {}) for report in reports]
    names = own[0].classes
    if kinds[0] == "multilabel":
        _ensure_thresholds(runs, told, names)
    unlearned = tuple(name for name in names if any(row.get(name, {}).get("learned") is False for row in told))
    labels = own[0].labels
    if unlearned:
        labels = np.where(np.isin(names, unlearned), UNKNOWN, labels).astype(labels.dtype)
    return CommonImages(
        kinds[0],
        names,
        labels,
        tied([table.rows["group"] for table in own]),
        tied([table.rows["study"] for table in own]),
        [table.scores for table in own],
        reports,
        [len(table.images) for table in tables],
        unlearned,
    )


def kind_of(report: dict[str, Any], run: Entry) -> str:
    """Which kind of problem a report is of; InputError where it is of none that can be compared."""
    kind = next((kind for number, kind in KINDS.items() if number in report), "")
    if not kind:
        known = ", ".join(KINDS.values())
        raise InputError(f"the report of run {run.name} is of no task that can be compared", f"these can: {known}")
    return kind


def tied(columns: Sequence[npt.NDArray[Any]]) -> Ints:
    """The groups [N] of rows, numbered from 0, that any of the `columns` [N] gives the same number.

    Two packings may know different ties of the same images.
    """
    parts = [np.unique(column, return_inverse=True)[1] for column in columns]
    found = np.arange(len(columns[0]))
    while True:
        before = found
        for part in parts:
            lowest = np.full(len(found), len(found))
            np.minimum.at(lowest, part, found)
            found = lowest[part]
        if np.array_equal(found, before):
            return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _ensure_same(what: str, runs: Sequence[Entry], values: Sequence[str]) -> None:
    other = next((i for i, value in enumerate(values) if value != values[0]), 0)
    if other:
        raise InputError(
            f"{runs[0].name} and {runs[other].name} have different {what}: {values[0]}; {values[other]}",
            "compare runs that answer the same question",
        )


def _common_keys(runs: Sequence[Entry], tables: Sequence[ScoreTable]) -> npt.NDArray[np.str_]:
    keys: npt.NDArray[np.str_] = reduce(lambda one, other: np.intersect1d(one, other), [t.images for t in tables])
    if not len(keys):
        raise InputError(
            f"{' and '.join(run.name for run in runs)} have scored no image in common",
            f"score one packed dataset with each: {command_for(Run(runs[0].folder), 'evaluate')} --shards DIR, then"
            " compare with --split test-NAME, as its report is named",
        )
    return keys


def _restricted(table: ScoreTable, keys: npt.NDArray[np.str_]) -> ScoreTable:
    """The rows of these images, in their order."""
    order = np.argsort(table.images)
    own = order[np.searchsorted(table.images, keys, sorter=order)]
    return replace(
        table, images=keys, rows=table.rows[own], labels=table.labels[own], scores=table.scores[own]
    )  # fmt: skip


def _ensure_thresholds(runs: Sequence[Entry], told: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    for run, rows in zip(runs, told, strict=True):
        if lacking := [name for name in names if "threshold" not in rows.get(name, {})]:
            raise InputError(
                f"the report of {run.name} has no threshold of {', '.join(lacking)}",
                f"write it anew: {command_for(Run(run.folder), 'evaluate')}",
            )


def _ensure_same_labels(runs: Sequence[Entry], tables: Sequence[ScoreTable]) -> None:
    first = tables[0].labels
    for run, table in zip(runs[1:], tables[1:], strict=True):
        differ = ~((first == table.labels) | ((first != first) & (table.labels != table.labels)))  # NaN: no score
        if differ.any():
            row, column = (int(place) for place in np.argwhere(differ)[0])
            raise InputError(
                f"{runs[0].name} and {run.name} have different labels of {int(differ.any(1).sum()):,} common images"
                f" (the first is {tables[0].images[row]}, {tables[0].classes[column]})",
                "score one packed dataset with both: medtrain evaluate RUN --shards DIR",
            )
