"""The scores of a split as a table that people and programs read: a row for each image, without any name."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.core.errors import InputError
from medtrain.core.files import write_whole
from medtrain.datasets.labels import ABSENT, PRESENT, UNKNOWN, are_scores

ABOUT = ("image", "study", "patient")
LABEL, SCORE = "label ", "probability "
GIVEN, PREDICTED = "given ", "predicted "  # of scores that are no probabilities
TIES = np.dtype([("study", "<u8"), ("group", "<u8")])


@dataclass(frozen=True)
class ScoreTable:
    """`images` [N] are the keys of samples, `rows` [N] of TIES the numbers of their studies and patients, as in the
    index; `labels` int8 [N, L] (1, 0, or -1 for unknown), or float32 the scores that were given (NaN: none), `scores`
    float64 [N, K]; `classes` and `answers` name the columns."""

    images: npt.NDArray[np.str_]
    rows: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    scores: npt.NDArray[np.float64]
    classes: tuple[str, ...]
    answers: tuple[str, ...]


def write_scores(table: ScoreTable, path: Path) -> None:
    """Write it whole, to the last digit: what is read again is what was written. Other states of a label than present
    and absent are left empty, and so are scores that were not given."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    states = not are_scores(table.labels)
    heads = (LABEL, SCORE) if states else (GIVEN, PREDICTED)
    names = (head + name for head, own in zip(heads, (table.classes, table.answers), strict=True) for name in own)
    writer.writerow((*ABOUT, *names))
    words = {PRESENT: "1", ABSENT: "0"}
    for image, row, labels, scores in zip(table.images, table.rows, table.labels, table.scores, strict=True):
        told = (words.get(int(label), "") if states else "" if math.isnan(label) else str(label) for label in labels)
        writer.writerow((image, f"{row['study']:016x}", f"{row['group']:016x}", *told, *map(str, scores)))
    write_whole(path, text.getvalue().encode())


def read_scores(path: Path) -> ScoreTable:
    """The table in a file; InputError where there is none, or another table."""
    try:
        with path.open(newline="") as file:
            head, *lines = list(csv.reader(file)) or [[]]
    except FileNotFoundError:
        raise InputError(f"{path} is not there", "score the split first: medtrain evaluate RUN") from None
    states = any(name.startswith(SCORE) for name in head)
    of, by = (LABEL, SCORE) if states else (GIVEN, PREDICTED)
    classes = tuple(name.removeprefix(of) for name in head if name.startswith(of))
    answers = tuple(name.removeprefix(by) for name in head if name.startswith(by))
    first = len(ABOUT) + len(classes)
    if tuple(head[: len(ABOUT)]) != ABOUT or not answers or any(len(line) != len(head) for line in lines):
        raise InputError(f"{path}: is no table of scores", "write it anew: medtrain evaluate RUN")
    try:
        return _parsed(lines, first, classes, answers, states)
    except ValueError as error:
        raise InputError(f"{path}: is damaged ({error})", "write it anew: medtrain evaluate RUN") from None


def _parsed(
    lines: list[list[str]], first: int, classes: tuple[str, ...], answers: tuple[str, ...], states: bool
) -> ScoreTable:
    told = [line[len(ABOUT) : first] for line in lines]
    labels: npt.NDArray[Any]
    if states:
        labels = np.array([[int(cell or UNKNOWN) for cell in row] for row in told], np.int8)
    else:
        labels = np.array([[float(cell or math.nan) for cell in row] for row in told], np.float32)
    return ScoreTable(
        np.array([line[0] for line in lines], np.str_),
        np.array([(int(line[1], 16), int(line[2], 16)) for line in lines], TIES),
        labels.reshape(len(lines), len(classes)),
        np.array([line[first:] for line in lines], np.float64).reshape(len(lines), len(answers)),
        classes,
        answers,
    )
