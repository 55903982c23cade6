"""Labels that no image shows have no rows, and one line says so; all else stays as it was."""

from __future__ import annotations

import numpy as np

from medtrain.cli.contents_table import contents_table
from medtrain.reporting.report_text import report_text
from medtrain.reporting.shown_labels import left_out, shown
from medtrain.tasks.multilabel import Multilabel

NAMES = ("Mass", "Hernia", "Nodule", "Edema")
UNLEARNED = frozenset(("Hernia", "Edema"))


def test_labels_without_an_image_are_one_line() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (40, 4)).astype(np.int8)
    labels[:, 3] = 0  # Edema: neither in training nor here
    task = Multilabel(NAMES, 0.0, thresholds=(0.5,) * 4, unlearned=UNLEARNED)
    report = task.metrics(rng.random((40, 4)), labels, np.arange(40, dtype=np.uint64)) | {"copies_left_out": 0}
    assert list(report["per_class"]) == list(NAMES), "the file has them all"
    assert list(shown(report["per_class"])) == ["Mass", "Hernia", "Nodule"]
    lines = report_text(report, task).splitlines()
    assert [line.split()[0] for line in lines[3:8]] == ["Mass", "Hernia", "Nodule", "macro", "micro"]
    assert lines[8] == "left out, as no image shows them: Edema"


def test_what_is_learned_or_shown_stays() -> None:
    rows = {"a": {"positives": 0}, "b": {"positives": 3, "learned": False}, "c": {"positives": 0, "learned": True}}
    assert left_out(rows) == []
    assert left_out({"a": {"positives": 0, "learned": False}}) == [], "of a report without any label all are shown"


def test_of_many_packed_labels_those_that_images_show() -> None:
    names = [f"label-{number}" for number in range(9)]
    counts = {name: {"positive": 5 * (name in names[:2]), "negative": 3, "unknown": 1} for name in names}
    entry = {"samples": 9, "shards": [{"bytes": 1000}], "counts": counts}
    text = contents_table({"classes": names, "splits": {"train": entry, "test": entry}})
    rows = [line for line in text.splitlines() if line.startswith("label-")]
    assert [row.split() for row in rows] == [[name, "10", "6", "2", "5", "5"] for name in names[:2]]
    assert text.splitlines()[-1] == "no image shows " + ", ".join(names[2:])
