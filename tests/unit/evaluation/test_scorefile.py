"""The table of a split's scores: what is written is read again, and it names nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medtrain.core.errors import InputError
from medtrain.evaluation.score_table import TIES, ScoreTable, read_scores, write_scores

SCORES = np.array([[0.1, 1e-30], [1 / 3, np.nextafter(1, 0)]])
TIED = np.array([(2**64 - 1, 7), (7, 2**63)], TIES)
LABELS = np.array([[1, 0, -1], [-1, -1, 1]], np.int8)
TABLE = ScoreTable(np.array(["demo-01", "demo-02"]), TIED, LABELS, SCORES, ("a", "b", "label c"), ("x", "y z"))


def test_every_bit_comes_back(tmp_path: Path) -> None:
    write_scores(TABLE, tmp_path / "test.csv")
    found = read_scores(tmp_path / "test.csv")
    for name in ("images", "rows", "labels", "scores"):
        assert np.array_equal(getattr(found, name), getattr(TABLE, name)), name
    assert (found.classes, found.answers) == (TABLE.classes, TABLE.answers)
    head, first, _ = (tmp_path / "test.csv").read_text().splitlines()
    assert head == "image,study,patient,label a,label b,label label c,probability x,probability y z"
    assert first == "demo-01,ffffffffffffffff,0000000000000007,1,0,,0.1,1e-30"


def test_open_states_of_a_label_are_left_empty(tmp_path: Path) -> None:
    labels = np.array([[-2, -3, 0], [2, 1, -1]], np.int8)
    write_scores(replace(TABLE, labels=labels), tmp_path / "test.csv")
    assert read_scores(tmp_path / "test.csv").labels.tolist() == [[-1, -1, 0], [-1, 1, -1]]


def test_scores_that_are_no_probabilities_come_back_too(tmp_path: Path) -> None:
    given = np.array([[0.3], [np.nan]], np.float32)
    write_scores(
        replace(TABLE, labels=given, scores=SCORES[:, :1], classes=("ef",), answers=("ef",)), tmp_path / "test.csv"
    )
    found = read_scores(tmp_path / "test.csv")
    assert found.labels.dtype == np.float32 and np.array_equal(found.labels, given, equal_nan=True)
    assert np.array_equal(found.scores, SCORES[:, :1]) and found.classes == found.answers == ("ef",)
    (tmp_path / "test.csv").write_text("image,study,patient,label a,probability x\ni,1,2,yes,0.5\n")
    with pytest.raises(InputError, match="is damaged"):
        read_scores(tmp_path / "test.csv")


@pytest.mark.parametrize("text", ["", "image,label a\n1,2\n", "image,study,patient,label a,probability x\n1,2,3\n"])
def test_what_is_no_such_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "test.csv").write_text(text)
    with pytest.raises(InputError, match="no table of scores"):
        read_scores(tmp_path / "test.csv")
    with pytest.raises(InputError, match=r"nothing\.csv is not there"):
        read_scores(tmp_path / "nothing.csv")
