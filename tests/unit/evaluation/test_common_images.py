"""evaluation.common_images: the images that runs share, and what cannot be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scored_runs import scored_run

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.evaluation.common_images import kind_of, load_common, tied
from medtrain.runs.run import Run

TRUTH = np.array([[1, 0], [0, 1], [0, -1], [1, 1], [0, 0]], np.int8)
PATIENTS = np.array([7, 7, 8, 9, 9])
SCORES = np.linspace(0.1, 0.9, 10).reshape(5, 2)


def kept(runs: Path, name: str, rows: list[int], **others: Any) -> Run:
    """A run that scored these images, in this order."""
    keys = [f"clinic-{row:02}" for row in rows]
    values = {"scores": SCORES, "labels": TRUTH, "patients": PATIENTS, **others}
    return scored_run(runs, name, *(values.pop(what)[rows] for what in ("scores", "labels", "patients")),
                      images=keys, **values)  # fmt: skip


def test_common_images_are_brought_together_by_their_keys(tmp_path: Path) -> None:
    runs = [kept(tmp_path, "a", [3, 0, 1, 4]), kept(tmp_path, "b", [0, 1, 2, 3]), kept(tmp_path, "c", [1, 3, 0])]
    found = load_common(runs, "test")
    assert found.kind == "multilabel" and found.images == [4, 4, 3]
    assert np.array_equal(found.labels, TRUTH[[0, 1, 3]])
    for scores in found.scores:
        assert np.array_equal(scores, SCORES[[0, 1, 3]])
    assert found.patients.tolist() == [0, 0, 1]


def test_ties_of_any_run_count() -> None:
    assert tied([np.array([5, 5, 6, 7, 8]), np.array([1, 2, 3, 3, 4])]).tolist() == [0, 0, 1, 1, 2]
    assert tied([np.array([1, 2, 2, 3, 9]), np.array([1, 1, 3, 3, 8])]).tolist() == [0, 0, 0, 0, 1]
    assert tied([np.array([2**63, 1, 2**63], np.uint64)]).tolist() == [0, 1, 0]


def test_a_label_that_one_run_has_not_learned_is_unknown_for_all(tmp_path: Path) -> None:
    runs = [kept(tmp_path, "a", [0, 1, 3]), kept(tmp_path, "b", [0, 1, 3])]
    file = runs[1].evaluation / "test.json"
    report = read_json(file)
    report["per_class"]["Mass"]["learned"] = False
    write_json(file, report)
    found = load_common(runs, "test")
    assert found.unlearned == ("Mass",) and found.labels.tolist() == [[1, -1], [0, -1], [1, -1]]


def refused(runs: list[Run], *words: str, split: str = "test") -> None:
    with pytest.raises(InputError) as raised:
        load_common(runs, split)
    assert raised.value.fix
    for word in words:
        assert word in f"{raised.value.problem} {raised.value.fix}"


def test_what_cannot_be_compared_is_refused_with_what_helps(tmp_path: Path) -> None:
    a = kept(tmp_path, "a", [0, 1])
    refused([a, kept(tmp_path, "b", [2, 3])], "a and b", "scored no image in common", "--shards DIR")
    turned = TRUTH.copy()
    turned[1, 0] = 1
    turned[3, 1] = -1
    other = kept(tmp_path, "c", [0, 1, 3], labels=turned)
    refused([kept(tmp_path, "d", [0, 1, 3]), other], "different labels of 2 common images", "clinic-01, Effusion")
    refused([a, kept(tmp_path, "e", [0, 1], classes=("Effusion", "Nodule"))], "different classes", "Effusion, Nodule")
    confusion = {"confusion": [[1, 0], [0, 1]], "per_class": {}}
    refused([a, kept(tmp_path, "f", [0, 1], report=confusion)], "different tasks: multilabel; multiclass")


def test_scores_that_are_not_there_are_named_with_the_command(tmp_path: Path) -> None:
    a, b = kept(tmp_path, "a", [0, 1]), kept(tmp_path, "b", [0, 1], split="val")
    refused([a, b], "run b has no scores of the split 'test'", "it has val", "medtrain evaluate b", "--split test")
    refused([a, b], "run a has no scores of the split 'vall'", split="vall")
    refused([a, b], "run a", "../a/test", split="../a/test")
    report = read_json(a.evaluation / "test.json")
    del report["per_class"]["Mass"]["threshold"]
    write_json(a.evaluation / "test.json", report)
    refused([a, a], "the report of a has no threshold of Mass", "medtrain evaluate a")
    (a.evaluation / "test.json").write_text("{")
    refused([a, a], "test.json: is damaged")
    (a.evaluation / "test.json").unlink()
    refused([a, a], "run a has scores", "no report of it", "test.json is missing", "medtrain evaluate a")
    with pytest.raises(InputError, match="no task that can be compared"):
        kind_of({"dice": 0.9}, a)


def test_scores_that_were_given_are_compared_with_nothing_where_there_is_none(tmp_path: Path) -> None:
    given = np.array([[0.5], [np.nan], [2.0]], np.float32)
    report = {"mae": 0.1, "per_class": {}}
    people = np.arange(3)
    runs = [
        scored_run(tmp_path, name, np.ones((3, 1)), given, people, classes=("score",), report=report) for name in "ab"
    ]
    found = load_common(runs, "test")
    assert found.kind == "score" and np.array_equal(found.labels, given, equal_nan=True)
    other = scored_run(tmp_path, "c", np.ones((3, 1)), np.nan_to_num(given), people, classes=("score",), report=report)
    refused([runs[0], other], "different labels of 1 common images")
