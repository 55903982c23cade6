"""What a group of patients gets against all others: the difference of the main metric, with its interval by patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.datasets.labels import PRESENT
from medtrain.metrics import classification
from medtrain.metrics.abnormality_report import THRESHOLD
from medtrain.metrics.bootstrap import bootstrap_intervals, group_numbers
from medtrain.metrics.grouped_areas import GroupedAreas, shares
from medtrain.metrics.multilabel_report import known_cells
from medtrain.metrics.numbers import Floats, Ints, mean_of_defined, plain

# How often each patient is drawn -> the metric of each group and of its rest, [G, L] each, NaN where undefined.
Numbers = Callable[[Ints], tuple[Floats, Floats]]
Mask = NDArray[np.bool_]


def with_gaps(
    reports: Mapping[str, dict[str, Any]],
    scores: Floats,
    labels: NDArray[Any],
    patients: NDArray[Any],
    members: Mapping[str, Mask],
    unlearned: Mask,
    seed: int = 0,
    rounds: int = 1000,
) -> dict[str, dict[str, Any]]:
    """The reports of the groups of one attribute, each with its `patients` and its `gap` to the rest.

    Scores [N, K], labels [N, L] and patients [N] are of all samples, `members` [N] says of each group who is in it (of
    one group at most), and `unlearned` [L] which labels count nowhere. The rest are the members of the other groups. A
    gap is the mean, over the labels of which both have a number, of the group's number minus that of the rest; its
    interval holds 95 %: whole patients are drawn, and a draw in which nothing is defined of both is left out.
    """
    masks = np.array(list(members.values()))
    told = masks.any(0)
    of, people = masks[:, told].argmax(0), group_numbers(patients[told], int(told.sum()))
    metric, make = _metric(next(iter(reports.values())))
    known = known_cells(labels[told]) & ~unlearned if labels.dtype.kind != "f" else ~np.isnan(labels[told])
    numbers = make(scores[told], labels[told], known, of, people, len(masks))

    def gaps(drawn: Ints) -> Floats:
        own, rest = numbers(drawn)
        return np.array([mean_of_defined(row) for row in own - rest])

    count = int(people.max(initial=-1)) + 1
    ends, (own, rest) = bootstrap_intervals(gaps, count, seed, rounds), numbers(np.ones(count, np.int64))
    shared = ~np.isnan(own - rest)
    return {
        name: {**report, "patients": len(np.unique(people[of == i])), "gap": {
            "metric": metric,
            "labels": int(shared[i].sum()),
            "rest": plain(mean_of_defined(np.where(shared[i], rest[i], np.nan))),
            "rest_samples": int(np.sum(of != i)),
            "rest_patients": len(np.unique(people[of != i])),
            "difference": plain(mean_of_defined(own[i] - rest[i])),
            "difference_interval": [plain(end) for end in ends[i]],
        }}
        for i, (name, report) in enumerate(reports.items())
    }  # fmt: skip


def _metric(report: Mapping[str, Any]) -> tuple[str, Callable[..., Numbers]]:
    """The main metric of a kind of problem, by what its reports have."""
    marks = {"by_given": ("mae", _errors), "confusion_normalised": ("kappa", _kappas), "confusion": ("accuracy", _hits)}
    return next((found for mark, found in marks.items() if mark in report), ("macro_auroc", _aurocs))


def _aurocs(scores: Floats, labels: NDArray[Any], known: Mask, of: Ints, people: Ints, groups: int) -> Numbers:
    return GroupedAreas(scores, labels == PRESENT, known, of, people, groups)


def _tallies(values: Floats, known: Mask, of: Ints, people: Ints, groups: int) -> Floats:
    """The sums of values [N, V] of each group and patient [G, V, P]."""
    count = int(people.max(initial=-1)) + 1
    cells = (of * count + people)[known]
    sums = [np.bincount(cells, column[known], groups * count).reshape(groups, count) for column in values.T]
    return np.stack(sums, 1)


def _means(values: Floats, known: Mask, of: Ints, people: Ints, groups: int) -> Numbers:
    sums = _tallies(np.column_stack([values, np.ones(len(values))]), known, of, people, groups)

    def numbers(drawn: Ints) -> tuple[Floats, Floats]:
        own = sums @ drawn.astype(np.float64)
        rest = own.sum(0) - own
        return shares(own[:, :1], own[:, 1:]), shares(rest[:, :1], rest[:, 1:])

    return numbers


def _hits(scores: Floats, labels: NDArray[Any], known: Mask, of: Ints, people: Ints, groups: int) -> Numbers:
    correct = (labels == PRESENT)[np.arange(len(labels)), scores.argmax(1)]
    return _means(correct.astype(np.float64), np.asarray(known.all(1)), of, people, groups)


def _errors(scores: Floats, labels: NDArray[Any], known: Mask, of: Ints, people: Ints, groups: int) -> Numbers:
    return _means(np.abs(scores[:, 0] - labels[:, 0]), known[:, 0], of, people, groups)


def _kappas(scores: Floats, labels: NDArray[Any], known: Mask, of: Ints, people: Ints, groups: int) -> Numbers:
    cells = (labels == PRESENT).any(1) * 2 + (scores[:, 0] > THRESHOLD)
    tables = _tallies(np.eye(4)[cells], np.asarray(known.any(1)), of, people, groups)

    def numbers(drawn: Ints) -> tuple[Floats, Floats]:
        own = (tables @ drawn.astype(np.float64)).astype(np.int64)
        found = [[classification.cohen_kappa(one.reshape(2, 2)) for one in part] for part in (own, own.sum(0) - own)]
        return np.array(found[0])[:, None], np.array(found[1])[:, None]

    return numbers
