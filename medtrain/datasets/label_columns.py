"""What the label columns of a table say: several labels at once, one of several classes, or a score."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass

from medtrain.core.errors import InputError
from medtrain.datasets import cells, csvfile
from medtrain.datasets.labels import ABSENT, PRESENT
from medtrain.datasets.own_table import Table

FEW = 20  # different whole numbers that may be classes
MANY = 1000  # classes
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Labels:
    """Of each row its `states` by class, and of a task of scores its score (None: unknown)."""

    task: str
    classes: tuple[str, ...]
    states: list[dict[str, int | None]]
    scores: list[float | None]


def read(table: Table, columns: tuple[str, ...], task: str) -> Labels:
    """The labels in some columns; where `task` is empty their cells tell it. InputError names the line that is none."""
    task = task or _task(table, columns)
    if task == "multilabel":
        return Labels(task, columns, _states(table, columns), [])
    if task == "multiclass" and len(columns) > 1:
        states = _states(table, columns)
        for (line, _), own in zip(table.rows, states, strict=True):
            if any(own.values()) or None not in own.values():
                _ensure_one(table.where(line), own)
        return Labels(task, columns, states, [])
    if len(columns) > 1:
        raise InputError(f"--labels names {len(columns)} columns, and --task score learns one", "name one column")
    return _scores(table, columns[0]) if task == "score" else _classes(table, columns[0])


def _ensure_one(where: str, states: dict[str, int | None]) -> None:
    present = [name for name, state in states.items() if state == PRESENT]
    if len(present) != 1 or not all(state in (PRESENT, ABSENT) for state in states.values()):
        told = " and ".join(present) or "none"
        raise InputError(
            f"{where}: {told} of the classes is present", "write one 1 and else 0, or omit --task multiclass"
        )


def _task(table: Table, columns: tuple[str, ...]) -> str:
    """What the cells tell; InputError where they may be two things."""
    if len(columns) > 1:
        return "multilabel"
    found = [csvfile.filled(cell) for _, cell in table.column(columns[0])]
    values = Counter(map(cells.without_point, filter(None, found)))
    if all(map(cells.is_state, values)) or set(values) <= {"0", "1", "-1"}:
        return "multilabel"
    if not all(map(NUMBER.fullmatch, values)):
        return "multiclass"
    if all(re.fullmatch(r"-?\d+", value) for value in values) and len(values) <= FEW:
        some = ", ".join(sorted(values, key=float)[:8])
        raise InputError(
            f"{table.path}, column {columns[0]}: holds the numbers {some}, which may be classes or a score",
            "say which: --task multiclass   or --task score",
        )
    return "score"


def _states(table: Table, columns: tuple[str, ...]) -> list[dict[str, int | None]]:
    found: list[dict[str, int | None]] = [{} for _ in table.rows]
    for name in columns:
        meaning: dict[str, int | None] = {}
        for line, cell in table.column(name):
            if cell not in meaning:
                with cells.at(table.where(line, name), "label"):
                    meaning[cell] = cells.state(cell)
        for own, (_, cell) in zip(found, table.column(name), strict=True):
            own[name] = meaning[cell]
    return found


def _classes(table: Table, name: str) -> Labels:
    column = [(line, cells.without_point(" ".join(cell.split()))) for line, cell in table.column(name)]
    for line, cell in column:
        if cell.lower() == "none":
            raise InputError(
                f"{table.where(line, name)}: 'None' may be a class, or stand for unknown",
                "write another name for the class (normal), or leave the cell empty",
            )
    told = [csvfile.filled(cell) for _, cell in column]
    counts = Counter(filter(None, told))
    _ensure_classes(table, name, counts)
    classes = tuple(sorted(counts, key=_in_order))
    states = [{one: (int(one == own) if own else None) for one in classes} for own in told]
    return Labels("multiclass", classes, states, [])


def _ensure_classes(table: Table, name: str, counts: Counter[str]) -> None:
    where = f"{table.path}, column {name}"
    if len(counts) < 2:
        raise InputError(
            f"{where}: its only class is {next(iter(counts), 'none')}", "nothing can be told apart: name another column"
        )
    rows = sum(counts.values())
    if len(counts) > MANY or 2 < len(counts) == rows or len(counts) > max(FEW, rows // 2):
        some = ", ".join(map(cells.shown, list(counts)[:3]))
        problem = f"{where}: {len(counts):,} different values in {rows:,} rows ({some}, ...) are no classes"
        raise InputError(problem, "name the column of the labels: --labels COLUMN")
    alike = defaultdict(list)
    for value in counts:
        alike[value.casefold()].append(value)
    if twice := next((own for own in alike.values() if len(own) > 1), None):
        raise InputError(
            f"{where}: the classes {' and '.join(map(repr, twice))} differ in capitals alone",
            "write one of them in all rows",
        )


def _in_order(value: str) -> tuple[bool, float, str]:
    number = NUMBER.fullmatch(value)
    return number is None, float(value) if number else 0.0, value


def _scores(table: Table, name: str) -> Labels:
    scores: list[float | None] = []
    for line, cell in table.column(name):
        text = csvfile.filled(cell)
        if text and not (NUMBER.fullmatch(text) and math.isfinite(float(text))):
            fix = "write a number with a decimal point, or nothing where it is unknown"
            raise InputError(f"{table.where(line, name)}: the score is {cells.shown(text)}", fix)
        scores.append(float(text) if text else None)
    if all(score is None for score in scores):
        raise InputError(f"{table.path}, column {name}: no row has a score", "name another column")
    return Labels("score", (name,), [{name: None} for _ in scores], scores)
