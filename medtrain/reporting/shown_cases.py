"""Which samples of a report are worth a look: the surest mistakes, the hardest, and clear ones of each label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from medtrain.datasets.labels import ABSENT, PRESENT
from medtrain.evaluation.score_table import ScoreTable
from medtrain.metrics.multilabel_report import known_cells

MISTAKES, HARDEST, CLEAR = 12, 8, 2  # the last of each label
LABELS = 14  # of which clear ones are shown
SUREST, HARD, GALLERY = "Surest mistakes", "Hardest: the least sure answers", "Where the network looks when it is right"
WORST, BEST = "Largest errors", "Smallest errors"
Cases = dict[str, list["Case"]]


@dataclass(frozen=True)
class Case:
    """A row of the table of scores, and the output that is explained: what speaks for it, or `against` it."""

    row: int
    output: int
    words: str
    against: bool = False


@dataclass(frozen=True)
class _Cell:
    case: Case
    wrong: bool
    sure: float  # of the answer, from 0 on
    label: str


def cases_of(kind: str, table: ScoreTable, report: dict[str, Any]) -> Cases:
    """The samples by what they are examples of, for one of the four kinds of problem."""
    if kind == "score":
        return _of_scores(table)
    cells = list({"multiclass": _of_classes, "multilabel": _of_labels, "abnormality": _of_bones}[kind](table, report))
    by_sure = sorted(cells, key=lambda cell: -cell.sure)
    wrong = [cell.case for cell in by_sure if cell.wrong]
    seen = set(wrong[:MISTAKES])
    hardest = [cell.case for cell in reversed(by_sure) if cell.case not in seen]
    clear: dict[str, list[Case]] = {cell.label: [] for cell in cells}
    for cell in by_sure:
        if not cell.wrong:
            clear[cell.label].append(cell.case)
    names = list(dict.fromkeys(cell.label for cell in cells if cell.label))[:LABELS]
    return {
        SUREST: wrong[:MISTAKES],
        HARD: hardest[:HARDEST],
        GALLERY: [case for name in names for case in clear[name][:CLEAR]],
    }


def _of_classes(table: ScoreTable, report: dict[str, Any]) -> Iterator[_Cell]:
    for row, (labels, scores) in enumerate(zip(table.labels, table.scores, strict=True)):
        if not (known_cells(labels).all() and (labels == PRESENT).any()):
            continue
        true, said = int(np.argmax(labels == PRESENT)), int(np.argmax(scores))
        second = float(np.sort(scores)[-2]) if len(scores) > 1 else 0.0
        words = f"predicted {table.answers[said]} ({scores[said]:.3f})"
        words += f", true: {table.classes[true]} ({scores[true]:.3f})"
        yield _Cell(Case(row, said, words), true != said, float(scores[said]) - second, table.classes[true])


def _of_labels(table: ScoreTable, report: dict[str, Any]) -> Iterator[_Cell]:
    for place, (label, about) in enumerate(report["per_class"].items()):
        if about.get("learned") is False:
            continue
        limit = about.get("threshold")
        limit = 0.5 if limit is None else float(limit)
        for row in np.flatnonzero(known_cells(table.labels[:, place])).tolist():
            score, there = float(table.scores[row, place]), table.labels[row, place] == PRESENT
            words = f"{label}: {score:.3f} (threshold {limit:.3f}), true: {'present' if there else 'absent'}"
            yield _Cell(Case(row, place, words), (score >= limit) != there, abs(score - limit), label if there else "")


def _of_bones(table: ScoreTable, report: dict[str, Any]) -> Iterator[_Cell]:
    for row, (labels, score) in enumerate(zip(table.labels, table.scores[:, 0].tolist(), strict=True)):
        told = np.flatnonzero((labels == PRESENT) | (labels == ABSENT))
        if not len(told):
            continue
        there, kind = bool(labels[told[0]] == PRESENT), table.classes[told[0]]
        said = "abnormal" if score > 0.5 else "normal"
        words = f"{kind}: image predicted {said} ({score:.3f} abnormal), true: {'abnormal' if there else 'normal'}"
        wrong = (score > 0.5) != there
        yield _Cell(Case(row, 0, words, score <= 0.5), wrong, abs(score - 0.5), kind if there else "")


def _of_scores(table: ScoreTable) -> Cases:
    given, predicted = np.asarray(table.labels[:, 0], np.float64), table.scores[:, 0]
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(-np.abs(predicted[known] - given[known]), kind="stable")].tolist()

    def shown(rows: Iterable[int]) -> list[Case]:
        return [Case(row, 0, f"given {given[row]:.4g}, predicted {predicted[row]:.4g}") for row in rows]

    return {WORST: shown(order[:MISTAKES]), BEST: shown(order[MISTAKES:][::-1][:HARDEST])}
