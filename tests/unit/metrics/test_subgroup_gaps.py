"""What a group gets against the rest: by scikit-learn on the samples themselves, drawn patient by patient."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, mean_absolute_error, roc_auc_score

from medtrain.metrics.grouped_areas import GroupedAreas
from medtrain.metrics.subgroup_gaps import with_gaps

ROUNDS, SEED = 100, 0
N, PEOPLE = 90, 30
GENERATOR = np.random.default_rng(3)
PATIENTS = np.sort(GENERATOR.integers(0, PEOPLE, N)).astype(np.uint64)
OF = {3: GENERATOR.integers(0, 3, N), 2: PATIENTS.astype(int) % 2}
MARKS = {"kappa": {"confusion_normalised": 0, "confusion": 0}, "accuracy": {"confusion": 0}, "mae": {"by_given": 0}}
STATES = np.where(GENERATOR.random((N, 3)) < 0.15, -1, GENERATOR.integers(0, 2, (N, 3))).astype(np.int8)
SCORES = np.round(1 / (1 + np.exp(-GENERATOR.normal(size=(N, 3)) - STATES)), 1)  # with ties


def areas(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """scikit-learn's AUROC of each label that is known, NaN where it is undefined."""
    found = []
    for own, truth in zip(scores.T, labels.T, strict=True):
        told = truth >= 0
        both = len(set(truth[told].tolist())) == 2
        found.append(roc_auc_score(truth[told], own[told]) if both else np.nan)
    return np.array(found)


CASES = {
    "macro_auroc": (SCORES, STATES, areas),
    "accuracy": (
        SCORES, np.eye(3, dtype=np.int8)[GENERATOR.integers(0, 3, N)],
        lambda scores, labels: np.array([accuracy_score(labels.argmax(1), scores.argmax(1))]),
    ),
    "kappa": (
        SCORES[:, :1], np.where(np.arange(3) == 1, STATES.clip(0)[:, :1], -1).astype(np.int8),
        lambda scores, labels: np.array([cohen_kappa_score(labels[:, 1], scores[:, 0] > 0.5)]),
    ),
    "mae": (
        SCORES[:, :1], SCORES[:, 1:2].astype(np.float32),
        lambda scores, labels: np.array([mean_absolute_error(labels, scores)]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("metric", CASES)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_gaps_are_those_of_the_samples_drawn_by_patient(metric: str, groups: int) -> None:
    scores, labels, number = CASES[metric]
    told = np.arange(N) % 11 > 0  # the others are in no group
    members = {f"group {i}": (OF[groups] == i) & told for i in range(groups)}
    found = with_gaps({name: {**MARKS.get(metric, {})} for name in members}, scores, labels, PATIENTS, members,
                      np.zeros(labels.shape[1], bool), SEED, ROUNDS)  # fmt: skip

    def gap(own: np.ndarray, rest: np.ndarray) -> float:
        both = number(scores[own], labels[own]) - number(scores[rest], labels[rest])
        return float(np.nanmean(both)) if not np.isnan(both).all() else np.nan

    ids = np.unique(PATIENTS[told])
    draws = np.random.Generator(np.random.Philox(SEED))
    rounds = [draws.integers(len(ids), size=len(ids)) for _ in range(ROUNDS)]
    for name, mask in members.items():
        own, rest = np.flatnonzero(mask), np.flatnonzero(told & ~mask)
        row = found[name]
        assert row["patients"] == len(set(PATIENTS[own])) and row["gap"]["rest_patients"] == len(set(PATIENTS[rest]))
        assert row["gap"]["metric"] == metric and row["gap"]["rest_samples"] == len(rest)
        assert row["gap"]["difference"] == pytest.approx(gap(own, rest))
        assert row["gap"]["rest"] == pytest.approx(np.nanmean(number(scores[rest], labels[rest])))
        values = []
        for drawn in rounds:
            repeats = np.bincount(drawn, minlength=len(ids))[np.searchsorted(ids, PATIENTS)]
            values.append(gap(*(np.repeat(part, repeats[part]) for part in (own, rest))))
        ends = np.nanquantile(values, (0.025, 0.975))
        assert row["gap"]["difference_interval"] == pytest.approx(list(ends)), name
        break  # one group's interval is enough: all are of the same rounds


def test_labels_without_a_number_in_both_count_in_no_gap() -> None:
    members = {"a": np.arange(N) < 45, "b": np.arange(N) >= 45}
    labels = STATES.copy()
    labels[:45, 0] = 0  # group a has no positive of the first label
    found = with_gaps({"a": {}, "b": {}}, SCORES, labels, PATIENTS, members, np.array([False, True, False]))
    assert found["a"]["gap"]["labels"] == 1
    one = areas(SCORES[:45], labels[:45])[2] - areas(SCORES[45:], labels[45:])[2]
    assert found["a"]["gap"]["difference"] == pytest.approx(one) == -found["b"]["gap"]["difference"]
    none = with_gaps({"a": {}, "b": {}}, SCORES, labels, PATIENTS, members, np.ones(3, bool))
    assert none["a"]["gap"]["difference"] is None and none["a"]["gap"]["difference_interval"] == [None, None]


@pytest.mark.parametrize("groups", [1, 2, 3, 9])
@pytest.mark.parametrize("digits", [1, 2, 9])
def test_areas_of_groups_are_the_pairs_counted_one_by_one_in_every_bit(groups: int, digits: int) -> None:
    """With many groups they share several int64; with few digits most scores are tied, with many none."""
    rng = np.random.default_rng(groups)
    scores, labels = np.round(rng.random((70, 3)), digits), rng.integers(-1, 2, (70, 3))
    labels[:, 2] = np.where(labels[:, 2] == 1, -1, labels[:, 2])  # nobody has the third
    of, people = rng.integers(0, groups, 70), rng.integers(0, 20, 70)
    of[(of == 8) & (groups == 9)] = 0  # of nine groups one is empty
    areas = GroupedAreas(scores, labels == 1, labels >= 0, of, people, groups)
    for _ in range(3):
        drawn = np.bincount(rng.integers(20, size=20), minlength=20)
        found = areas(drawn)
        for group in range(groups):
            for part, rows in zip(found, (of == group, of != group), strict=True):
                for label in range(3):
                    up, down = ((rows & (labels[:, label] == state)).nonzero()[0] for state in (1, 0))
                    above = scores[up, label][:, None] - scores[down, label]
                    twice = (drawn[people[up]][:, None] * drawn[people[down]] * (1 + np.sign(above))).sum()
                    pairs = drawn[people[up]].sum() * drawn[people[down]].sum()
                    expected = int(twice) / (2 * int(pairs)) if pairs else np.nan
                    assert np.array_equal(part[group, label], expected, equal_nan=True)


def test_areas_of_no_sample_are_undefined() -> None:
    nothing, none = np.zeros((0, 2)), np.zeros(0, np.int64)
    own, rest = GroupedAreas(nothing, nothing > 0, nothing > 0, none, none, 2)(none)
    assert np.isnan(own).all() and np.isnan(rest).all() and own.shape == (2, 2)
