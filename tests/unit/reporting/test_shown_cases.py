"""reporting.shown_cases: which samples a page shows, for each kind of problem."""

from __future__ import annotations

from typing import Any

import numpy as np

from medtrain.evaluation.score_table import TIES, ScoreTable
from medtrain.reporting.shown_cases import BEST, GALLERY, HARD, MISTAKES, SUREST, WORST, cases_of


def table(labels: Any, scores: Any, classes: tuple[str, ...], answers: tuple[str, ...] = ()) -> ScoreTable:
    kind = np.float32 if isinstance(labels[0][0], float) else np.int8
    keys = np.array([f"key-{i}" for i in range(len(scores))])
    own, given = np.array(scores, np.float64), np.array(labels, kind)
    return ScoreTable(keys, np.zeros(len(own), TIES), given, own, classes, answers or classes)


def test_of_several_labels_each_known_cell_is_judged_at_its_threshold() -> None:
    found = cases_of(
        "multilabel",
        table([[1, 0], [0, -1], [1, 1], [0, 0]], [[0.9, 0.7], [0.35, 0.9], [0.05, 0.6], [0.1, 0.1]], ("Mass", "Edema")),
        {"per_class": {"Mass": {"threshold": 0.3}, "Edema": {"threshold": 0.5}}},
    )
    assert [(case.row, case.output) for case in found[SUREST]] == [(2, 0), (0, 1), (1, 0)]
    assert found[SUREST][0].words == "Mass: 0.050 (threshold 0.300), true: present"
    assert found[SUREST][1].words == "Edema: 0.700 (threshold 0.500), true: absent"
    assert (1, 1) not in [(case.row, case.output) for own in found.values() for case in own], "it is unknown"
    assert (found[HARD][0].row, found[HARD][0].output) == (2, 1), "0.6 is nearest to its threshold"
    assert [(case.row, case.output) for case in found[GALLERY]] == [(0, 0), (2, 1)], "present, and found"


def test_of_a_label_that_was_not_learned_nothing_is_shown() -> None:
    about = {"per_class": {"Mass": {"learned": False}, "Edema": {"threshold": None}}}
    found = cases_of("multilabel", table([[1, 0]], [[0.9, 0.7]], ("Mass", "Edema")), about)
    assert [case.words for case in found[SUREST]] == ["Edema: 0.700 (threshold 0.500), true: absent"]
    assert not found[HARD] and not found[GALLERY]


def test_of_classes_the_surest_of_many_mistakes_are_shown() -> None:
    scores = [[0.5 + i / 100, 0.5 - i / 100] for i in range(30)]
    found = cases_of("multiclass", table([[0, 1]] * 29 + [[1, 0]], scores, ("a", "b")), {})
    assert [case.row for case in found[SUREST]] == list(range(28, 28 - MISTAKES, -1))
    assert found[SUREST][0].words == "predicted a (0.780), true: b (0.220)" and found[SUREST][0].output == 0
    assert [case.row for case in found[HARD]] == list(range(8)), "those of which it is least sure"
    assert [case.row for case in found[GALLERY]] == [29]


def test_of_bones_a_no_is_explained_by_what_speaks_for_it() -> None:
    labels, scores = [[1, -1], [-1, 0], [-1, -1], [-1, 1]], [[0.2], [0.9], [0.5], [0.7]]
    found = cases_of("abnormality", table(labels, scores, ("XR_HAND", "XR_WRIST"), ("abnormal",)), {})
    assert [(case.row, case.against) for case in found[SUREST]] == [(1, False), (0, True)]
    assert found[SUREST][1].words == "XR_HAND: image predicted normal (0.200 abnormal), true: abnormal"
    assert [case.row for case in found[GALLERY]] == [3]


def test_of_scores_errors_are_shown() -> None:
    found = cases_of("score", table([[1.0], [2.0], [float("nan")]], [[1.5], [9.0], [0.0]], ("score",)), {})
    assert [case.words for case in found[WORST]] == ["given 2, predicted 9", "given 1, predicted 1.5"]
    assert not found[BEST], "all are shown already"
