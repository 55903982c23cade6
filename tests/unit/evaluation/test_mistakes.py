"""The table of what is judged wrongly: each kind of task, the surest first, with files where they are known."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrain.cli import error_analysis
from medtrain.config.schema import DataConfig
from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.evaluation.mistakes import tables_of, write_mistakes
from medtrain.evaluation.score_table import TIES, ScoreTable
from medtrain.tasks import Task
from medtrain.tasks.abnormality import Abnormality
from medtrain.tasks.multiclass import Multiclass
from medtrain.tasks.multilabel import Multilabel
from medtrain.tasks.score import Score


def listed(task: Task, labels: list[Any], scores: list[Any], classes: tuple[str, ...], folder: Path) -> list[list[str]]:
    """The rows of the table, without its head; the second image has a file that is known."""
    own = np.array(labels, np.float32 if any(isinstance(cell, float) for row in labels for cell in row) else np.int8)
    keys = np.array([f"clinic-{number}" for number in range(len(labels))], np.str_)
    table = ScoreTable(keys, np.zeros(len(labels), TIES), own, np.array(scores, float), classes, task.output_names)
    names, out = folder / "x.names.csv", folder / "mistakes.csv"
    names.write_text("key,file\nclinic-1,/data/one.png\nclinic-77,/data/other.png\n")
    rows, named = write_mistakes(table, task, out, [names])
    assert out.stat().st_mode & 0o777 == 0o600
    with out.open(newline="") as file:
        head, *found = csv.reader(file)
    assert (len(found), sum(bool(row[1]) for row in found)) == (rows, named)
    assert head[:2] == ["image", "file"] and all(len(row) == len(head) for row in found)
    return found


def test_one_of_several_classes(tmp_path: Path) -> None:
    labels = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]]
    scores = [[0.2, 0.7, 0.1], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [1, 0, 0]]
    assert listed(Multiclass(("a", "b", "c"), 0.0), labels, scores, ("a", "b", "c"), tmp_path) == [
        ["clinic-1", "/data/one.png", "b", "a", "0.9"],
        ["clinic-0", "", "a", "b", "0.7"],
    ]


def test_several_labels_by_their_thresholds(tmp_path: Path) -> None:
    task = Multilabel(("a", "b", "c"), 0.0, thresholds=(0.5, 0.1, 0.5), unlearned=frozenset("c"))
    labels = [[1, 0, 1], [0, 0, 1], [-1, -1, -1]]
    scores = [[0.4, 0.2, 0.0], [0.95, 0.05, 0.0], [0.9, 0.9, 0.9]]
    assert listed(task, labels, scores, ("a", "b", "c"), tmp_path) == [
        ["clinic-1", "/data/one.png", "a", "0", "1", "0.95"],
        ["clinic-0", "", "a", "1", "0", "0.4"],
        ["clinic-0", "", "b", "0", "1", "0.2"],
    ]


def test_normal_or_abnormal_by_study_type(tmp_path: Path) -> None:
    labels, scores = [[1, -1], [-1, 0], [-1, 1]], [[0.3], [0.8], [0.9]]
    assert listed(Abnormality(("WRIST", "HAND")), labels, scores, ("WRIST", "HAND"), tmp_path) == [
        ["clinic-1", "/data/one.png", "HAND", "0", "1", "0.8"],
        ["clinic-0", "", "WRIST", "1", "0", "0.3"],
    ]


def test_scores_by_how_far_they_are_off(tmp_path: Path) -> None:
    labels, scores = [[0.5], [1.0], [math.nan]], [[0.25], [0.5], [3.0]]
    assert listed(Score("images"), labels, scores, ("score",), tmp_path) == [
        ["clinic-1", "/data/one.png", "1.0", "0.5", "-0.5"],
        ["clinic-0", "", "0.5", "0.25", "-0.25"],
    ]


def test_names_are_found_beside_the_shards(tmp_path: Path) -> None:
    for name in ("a.names.csv", "c.names.csv", "other.csv"):
        (tmp_path / name).touch()
    several = DataConfig(shards=str(tmp_path), datasets=("a", "b"), holdout="c")
    assert [path.name for path in tables_of(several, None, ())] == ["a.names.csv", "c.names.csv"]
    assert tables_of(several, tmp_path / "b", ()) == []
    assert tables_of(several, None, [tmp_path / "other.csv"]) == [tmp_path / "other.csv"]


def test_no_table_of_names_is_replaced(tmp_path: Path) -> None:
    kept = tmp_path / "a.names.csv"
    kept.write_text("key,file\nclinic-1,/data/one.png\n")
    (tmp_path / "link.csv").symlink_to(kept)
    data = DataConfig(shards=str(tmp_path), datasets=("a", "b"))
    for out in (kept, tmp_path / "link.csv"):
        for shards, names in ((None, ()), (tmp_path / "a", ()), (None, (tmp_path / "other.csv",))):
            with pytest.raises(InputError, match="is the table that is read"):
                error_analysis.ensure_names_are_kept(out, data, shards, names)
    error_analysis.ensure_names_are_kept(tmp_path / "m.csv", data, None, ())


def test_a_file_name_that_is_not_utf8_is_written_escaped(tmp_path: Path) -> None:
    csvfile.write(tmp_path / "m.csv", ("file",), [(os.fsdecode(b"M\xfcller.jpeg"),)])
    assert [row["file"] for row in csvfile.rows(tmp_path / "m.csv", ("file",))] == [r"M\udcfcller.jpeg"]


def test_slips(tmp_path: Path) -> None:
    (tmp_path / "n.csv").touch()
    for out, names, told in (
        (None, [tmp_path / "n.csv"], "--names is for the table of mistakes"),
        (tmp_path / "m.csv", [tmp_path / "gone.csv"], "gone.csv is not there"),
        (tmp_path / "n.csv", [tmp_path / "n.csv"], "--mistakes .*n.csv is the table that is read"),
        (tmp_path / "m.png", [], "--mistakes .*: a table is written as CSV"),
    ):
        with pytest.raises(InputError, match=told):
            error_analysis.check(out, names)
