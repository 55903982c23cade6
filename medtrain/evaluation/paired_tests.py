"""Which differences between runs on the same images are more than chance: the tests that suit each kind of problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.datasets.labels import PRESENT, known
from medtrain.evaluation.common_images import CommonImages
from medtrain.evaluation.seed_tests import over_seeds
from medtrain.evaluation.study_means import study_means
from medtrain.metrics import classification, paired_bootstrap, resampled_numbers
from medtrain.metrics.abnormality_report import THRESHOLD
from medtrain.metrics.delong import delong
from medtrain.metrics.mcnemar import McNemar, mcnemar
from medtrain.metrics.multilabel_report import known_cells
from medtrain.metrics.numbers import Floats, Ints
from medtrain.metrics.paired_difference import PairedDifference, undefined
from medtrain.metrics.resampled_numbers import Numbers
from medtrain.metrics.swapped_patients import CalibrationErrors

Rows = npt.NDArray[np.bool_]
# A bootstrap of R rounds has no p below 2 / (R + 1), which Holm multiplies by at most the number of p-values: with so
# many rounds for each of them the least p is 4 %.
ROUNDS_PER_P = 50
Ranking = tuple[Rows, Rows, list[Floats]]
"""Where a label is known [n], where it is positive [n], scores [n] of each model."""
ALL = "all"  # the decisions about all images, where they are not by label


@dataclass(frozen=True)
class PairTests:
    """What was found of two runs; each difference is the second run's number less the first's."""

    metrics: dict[str, PairedDifference]
    """The main numbers of the task, by a bootstrap of patients; the p of a calibration error by swapping patients."""
    auroc: dict[str, PairedDifference]
    """label -> DeLong's test."""
    by_label: dict[str, dict[str, PairedDifference]]
    """number -> label -> by the bootstrap: average_precision and f1 of several labels, kappa of study types."""
    decisions: dict[str, McNemar]
    """label, or ALL -> McNemar's test."""


@dataclass(frozen=True)
class Tested:
    """What the tests are of: `samples` of `unit` (empty: as in the tables), of so many `patients`; `several` is whether
    any patient has more than one. `pairs` are each other run with the first."""

    unit: str
    samples: int
    patients: int
    several: bool
    pairs: list[PairTests]
    rounds: int
    """Of the bootstrap."""
    patients_of: Ints
    """[n] of each sample."""
    rankings: dict[str, Ranking]
    """label -> what its AUROC is of."""


@dataclass
class _Questions:
    """What a kind of problem asks: of n samples of `patients` [n], `numbers` for each of M models; `names` of the first
    of those numbers; the others are those of `by_label`, number by number, of each of `labels`."""

    patients: Ints
    numbers: list[Numbers]
    names: tuple[str, ...]
    by_label: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    positive: dict[str, int] = field(default_factory=dict)
    """label -> how many patients it is present in."""
    rankings: dict[str, Ranking] = field(default_factory=dict)
    decisions: dict[str, tuple[Rows, list[Rows]]] = field(default_factory=dict)
    """label -> where it is known [n], what each model has right [n]."""
    unit: str = ""
    calibration: CalibrationErrors | None = None


def run_paired_tests(common: CommonImages, margin: float = 0.0, rounds: int = 0, seed: int = 0) -> Tested:
    """Every test of each other run with the first; with a `margin` also of equivalence. The bootstrap has at least
    paired_bootstrap.ROUNDS rounds where it is not said how many."""
    asked = _QUESTIONS[common.kind](common)
    adjusted_together = max(1, len(asked.labels)) * (len(common.scores) - 1)
    rounds = rounds or max(paired_bootstrap.ROUNDS, ROUNDS_PER_P * adjusted_together)
    people, images = np.unique(asked.patients, return_counts=True)
    draws = paired_bootstrap.paired_bootstrap(asked.numbers, len(people), seed, rounds)
    swaps = [_swapped(asked.calibration, second, rounds, seed) for second in range(1, len(common.scores))]
    pairs = [_pair(asked, draws, own, second, margin) for second, own in enumerate(swaps, 1)]
    several = bool(images.max(initial=0) > 1)
    return Tested(
        asked.unit, len(asked.patients), len(people), several, pairs, rounds, asked.patients, asked.rankings
    )  # fmt: skip


def run_seed_tests(common: CommonImages, many: int, margin: float = 0.0, seed: int = 0) -> dict[str, PairedDifference]:
    """Of the scores of several seeds of two settings, `many` of the first and then those of the second: the main
    numbers, see seed_tests.over_seeds."""
    asked = _QUESTIONS[common.kind](common)
    people = len(np.unique(asked.patients))
    draws = paired_bootstrap.paired_bootstrap(asked.numbers, people, seed, paired_bootstrap.ROUNDS)
    both = slice(0, many), slice(many, None)
    return {name: over_seeds(draws, *both, i, people, margin) for i, name in enumerate(asked.names)}


def _swapped(asked: CalibrationErrors | None, second: int, rounds: int, seed: int) -> dict[str, float]:
    """calibration error -> the p of a model with the first, by the test that fits it."""
    if asked is None or len(asked.sums[0]) < paired_bootstrap.FEWEST:
        return {}
    return asked.p_values(0, second, rounds, seed)


def _pair(
    asked: _Questions, draws: paired_bootstrap.PairedDraws, swapped: dict[str, float], second: int, margin: float
) -> PairTests:
    differences = [
        paired_bootstrap.difference(draws, 0, second, number, margin) for number in range(draws.observed.shape[1])
    ]
    count, labels = len(asked.names), asked.labels
    parts = [differences[count + i * len(labels) : count + (i + 1) * len(labels)] for i in range(len(asked.by_label))]
    by_label = {
        number: {
            label: own if asked.positive[label] >= paired_bootstrap.FEWEST else undefined(own.first, own.second)
            for label, own in zip(labels, part, strict=True)
        }
        for number, part in zip(asked.by_label, parts, strict=True)
    }
    return PairTests(
        {
            name: own._replace(p=swapped.get(name, own.p))
            for name, own in zip(asked.names, differences[:count], strict=True)
        },
        {
            name: delong(scores[0][own], scores[second][own], positive[own], asked.patients[own], margin)
            for name, (own, positive, scores) in asked.rankings.items()
        },
        by_label,
        {
            name: mcnemar(right[0][own], right[second][own], asked.patients[own])
            for name, (own, right) in asked.decisions.items()
        },
    )


def _patients_with(people: Ints, rows: Rows) -> int:
    """How many patients have any of these rows [N]."""
    return len(np.unique(people[rows]))


def _multilabel(common: CommonImages) -> _Questions:
    """Each label where it is known, at the thresholds that each run's own validation chose."""
    told, positive, people = known_cells(common.labels), common.labels == PRESENT, common.patients
    limits = [[report["per_class"][name]["threshold"] for name in common.classes] for report in common.reports]
    called = [own >= np.array(limit) for own, limit in zip(common.scores, limits, strict=True)]
    learned = [i for i, name in enumerate(common.classes) if name not in common.unlearned]
    return _Questions(
        people,
        [
            resampled_numbers.multilabel_numbers(
                own[:, learned], common.labels[:, learned], people, np.array(limit)[learned]
            )
            for own, limit in zip(common.scores, limits, strict=True)
        ],
        resampled_numbers.MULTILABEL,
        ("average_precision", "f1"),
        tuple(common.classes[i] for i in learned),
        {common.classes[i]: _patients_with(people, told[:, i] & positive[:, i]) for i in learned},
        {common.classes[i]: (told[:, i], positive[:, i], [own[:, i] for own in common.scores]) for i in learned},
        {common.classes[i]: (told[:, i], [said[:, i] == positive[:, i] for said in called]) for i in learned},
        calibration=CalibrationErrors.of_labels(
            [own[:, learned] for own in common.scores], common.labels[:, learned], people
        ),
    )


def _multiclass(common: CommonImages) -> _Questions:
    """Each class against the rest, and whether the likeliest class is the true one."""
    told = known(common.labels).all(1)
    truth, people = common.labels[told].argmax(1).astype(np.int64), _numbered(common.patients[told])
    scores = [own[told] for own in common.scores]
    ranked, everywhere = [classification.rankable(own) for own in scores], np.ones(len(truth), bool)
    return _Questions(
        people,
        [resampled_numbers.multiclass_numbers(own, truth, people) for own in scores],
        resampled_numbers.MULTICLASS,
        rankings={
            name: (everywhere, truth == i, [own[:, i] for own in ranked]) for i, name in enumerate(common.classes)
        },
        decisions={ALL: (everywhere, [own.argmax(1) == truth for own in scores])},
        calibration=CalibrationErrors.of_classes(scores, truth, people),
    )


def _abnormality(common: CommonImages) -> _Questions:
    """Of studies, as they are judged: all together, and the AUROC of each study type."""
    judged = [study_means(own, common.labels, common.studies, common.patients) for own in common.scores]
    labels, people = judged[0][1:]
    told = known_cells(labels)
    own = told.any(1)
    labels, told, people = labels[own], told[own], _numbered(people[own])
    scores = [values[own, 0] for values, *_ in judged]
    abnormal, everywhere = (labels == PRESENT).any(1), np.ones(len(labels), bool)
    there = [i for i in range(len(common.classes)) if told[:, i].any()]
    return _Questions(
        people,
        [resampled_numbers.abnormality_numbers(values, abnormal, people, told[:, there]) for values in scores],
        resampled_numbers.ABNORMALITY,
        ("kappa",),
        tuple(common.classes[i] for i in there),
        {common.classes[i]: _patients_with(people, told[:, i] & abnormal) for i in there},
        rankings={name: (told[:, i], abnormal, scores) for i, name in enumerate(common.classes) if i in there},
        decisions={ALL: (everywhere, [(values > THRESHOLD) == abnormal for values in scores])},
        unit="studies",
    )


def _score(common: CommonImages) -> _Questions:
    """How far predictions lie from the scores that were given."""
    own = known(common.labels)[:, 0]
    given, people = common.labels[own, 0].astype(np.float64), _numbered(common.patients[own])
    return _Questions(
        people,
        [resampled_numbers.score_numbers(values[own, 0], given, people) for values in common.scores],
        resampled_numbers.SCORE,
    )


def _numbered(groups: npt.NDArray[Any]) -> Ints:
    """The same groups, numbered from 0."""
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


_QUESTIONS: dict[str, Callable[[CommonImages], _Questions]] = {
    "multilabel": _multilabel,
    "multiclass": _multiclass,
    "abnormality": _abnormality,
    "score": _score,
}
