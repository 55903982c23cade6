"""What a run judges wrongly on a split, as CSV: the surest first, with files where packing kept their names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtrain.config.schema import DataConfig
from medtrain.datasets import csvfile
from medtrain.datasets.labels import ABSENT, PRESENT
from medtrain.evaluation.score_table import ScoreTable
from medtrain.shards import mixture, sample_names
from medtrain.tasks import Task

HEADS = {
    "class": ("image", "file", "truth", "predicted", "probability"),
    "score": ("image", "file", "truth", "predicted", "difference"),
}
CELLS = ("image", "file", "label", "truth", "predicted", "probability")  # of labels that are present or absent
Mistake = tuple[float, tuple[Any, ...]]  # how wrong it is, and the cells behind `file`


def tables_of(data: DataConfig, shards: Path | None, named: Sequence[Path]) -> list[Path]:
    """The tables of files that are there for a run's data, or for `shards` in its place; those that are named, if
    any."""
    if named:
        return list(named)
    folders = [shards] if shards is not None else mixture.folders(data)
    return [path for path in map(sample_names.path_for, folders) if path.is_file()]


def write_mistakes(table: ScoreTable, task: Task, path: Path, names: Sequence[Path]) -> tuple[int, int]:
    """Write those of a split's images that are judged wrongly (of scores all, by how far they are off), for the owner
    alone; returns how many rows there are, and how many of them name a file."""
    found = [(wrong, image, cells) for image, (wrong, cells) in _all(table, task)]
    found.sort(key=lambda row: -row[0])  # stable: ties stay in the order of the table
    files = sample_names.read(names, {image for _, image, _ in found})
    kind = next(iter({"class", "score"} & set(task.decide(np.zeros(task.outputs)))), "")
    rows = [(image, files.get(image, ""), *cells) for _, image, cells in found]
    csvfile.write(path, HEADS.get(kind, CELLS), rows, 0o600)
    return len(rows), sum(bool(row[1]) for row in rows)


def _all(table: ScoreTable, task: Task) -> Iterator[tuple[str, Mistake]]:
    for image, labels, scores in zip(table.images.tolist(), table.labels.tolist(), table.scores, strict=True):
        for mistake in _of_image(labels, scores.tolist(), task.decide(scores), table, task):
            yield image, mistake


def _of_image(
    labels: list[Any], scores: list[float], decided: dict[str, Any], table: ScoreTable, task: Task
) -> Iterator[Mistake]:
    if "score" in decided:
        if not math.isnan(labels[0]):
            difference = decided["score"] - labels[0]
            yield abs(difference), (labels[0], decided["score"], difference)
    elif "class" in decided:
        true = [name for name, label in zip(table.classes, labels, strict=True) if label == PRESENT]
        if true and true[0] != decided["class"]:
            yield decided["probability"], (true[0], decided["class"], decided["probability"])
    else:
        for place, (name, label) in enumerate(zip(table.classes, labels, strict=True)):
            if label not in (PRESENT, ABSENT) or name in task.unlearned:
                continue
            predicted = decided["abnormal"] if "abnormal" in decided else name in decided["present"]
            if predicted != (label == PRESENT):
                score = scores[place % len(scores)]  # a network of study types has one answer for all
                yield abs(score - label), (name, label, int(predicted), score)
