"""Counts of few people, as pages may tell them: hidden below FEW, and with them what they would follow from.

A page tells sums too: how many samples a split has, on how many a label is known. Of cells that add up to a known sum
a small one alone would follow by subtraction, so that a second one is hidden with it; and where the sum of the hidden
cells is so small that it leaves a small one hardly a choice, the second is not even told to be FEW or more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

FEW = 10  # people in a smaller group may be known by it
CHOICE = 3  # values that a hidden cell could have, at least
OF_COUNTS = ("confusion", "confusion_normalised", "exact_of")  # of a row, from which its counts follow
PARTS = ("per_dataset",)  # of a report: reports by a name
SMALL = (
    f"Counts below {FEW} are not shown, because few people may be known by them; nor are others from which they would"
    " follow by a sum."
)
BELOW, ABOVE, HIDDEN = f"<{FEW}", f"≥{FEW}", "not shown"


def masked(counts: Sequence[int], small_cells: bool, also: Collection[int] = ()) -> list[object]:
    """Counts that add up to a known sum, as they may be told; `also` are places that are hidden whatever they hold."""
    hidden = set() if small_cells else _hidden(counts, {*also})
    return [_told(counts, i, hidden) if i in hidden else count for i, count in enumerate(counts)]


def masked_types(pairs: Sequence[tuple[int, int]], small_cells: bool) -> list[tuple[object, object, object]]:
    """Of study types their samples and which of them are abnormal and normal, `pairs`, as they may be told."""
    found: list[tuple[object, object, object]] = []
    wholes = masked([sum(pair) for pair in pairs], small_cells)
    for whole, pair in zip(wholes, pairs, strict=True):
        own = [_some(count) for count in pair] if isinstance(whole, str) else masked(pair, small_cells)
        found.append((whole, own[0], own[1]))
    return found


def masked_states(report: dict[str, Any], small_cells: bool) -> list[object]:
    """What is abnormal and normal of all study types of a report: told only where it is of each, or it would follow."""
    pair = [report["abnormal"], report["samples"] - report["abnormal"]]
    types = label_counts(report, small_cells).values()
    alone = masked(pair, small_cells)
    hides = any(isinstance(one, str) for one in alone) or any(
        isinstance(one, str) for own in types for one in own.values()
    )
    return [_some(count) for count in pair] if hides and len(types) > 1 else alone


def masked_classes(counts: dict[str, list[int]], samples: int, small_cells: bool) -> dict[str, list[object]]:
    """Present, absent and unknown of classes that exclude each other, as they may be told.

    A sample is of one class or of none that is known, so what is present of all classes and the rest add up to
    `samples`, and what is absent of a class is what is present of the others.
    """
    present = [own[0] for own in counts.values()]
    *shares, rest = masked([*present, samples - sum(present)], small_cells)
    found: dict[str, list[object]] = {}
    for share, (label, own) in zip(shares, counts.items(), strict=True):
        few_others, few_unknown = (not small_cells and is_small(count) for count in own[1:])
        hides = (
            few_others or isinstance(share, str),  # absent and unknown tell present
            few_others or few_unknown or isinstance(share, str) or isinstance(rest, str),
            few_unknown or isinstance(rest, str),
        )
        places = {i for i, hide in enumerate(hides) if hide}
        found[label] = [_told(own, i, places) if i in places else count for i, count in enumerate(own)]
        found[label][0] = HIDDEN if share == HIDDEN else found[label][0]
    return found


def is_small(count: int) -> bool:
    """Whether a count may tell of people who are known by it."""
    return 0 < count < FEW


def label_counts(report: dict[str, Any], small_cells: bool) -> dict[str, dict[str, object]]:
    """label -> what may be told of the counts in its row of a report; nothing of a task without labels."""
    rows, samples = report["per_class"], report["samples"]
    if "support" in next(iter(rows.values()), {}):  # one of several classes
        shown = masked([row["support"] for row in rows.values()], small_cells)
        return {label: {"support": own} for label, own in zip(rows, shown, strict=True)}
    if "abnormal" in report:
        pairs = [(row["abnormal"], row["samples"] - row["abnormal"]) for row in rows.values()]
        keys = ("samples", "abnormal", "normal")
        return {
            label: dict(zip(keys, own, strict=True))
            for label, own in zip(rows, masked_types(pairs, small_cells), strict=True)
        }
    if "known" not in next(iter(rows.values()), {}):
        return {}
    found: dict[str, dict[str, object]] = {}
    for label, row in rows.items():
        positives, known = row["positives"], row["known"]
        *own, unknown = masked([positives, known - positives, samples - known], small_cells)
        whole = known if not isinstance(unknown, str) else _some(known)
        found[label] = {"positives": own[0], "negatives": own[1], "known": whole}
    return found


def counted(report: dict[str, Any], small_cells: bool) -> dict[str, Any]:
    """A report in which words stand for the counts that may not be told, also in the reports of its parts; of a label
    of which a count is hidden its confusion is too, and the number of trials of an exact interval."""
    if small_cells or "per_class" not in report:
        return report
    told = label_counts(report, small_cells)
    few = {label for label, own in told.items() if any(isinstance(one, str) for one in own.values())}
    rows = {label: _row(row, told.get(label, {}), label in few) for label, row in report["per_class"].items()}
    found = {**report, "per_class": rows}
    if "abnormal" in report:
        own = masked_states(report, small_cells)
        found = _row(found, {"abnormal": own[0]}, isinstance(own[0], str))
    elif "confusion" in report:
        found["confusion"] = [
            HIDDEN if label in few else line for label, line in zip(rows, report["confusion"], strict=True)
        ]
    return {
        key: counted(value, small_cells) if isinstance(value, dict) and key != "per_class" else value
        for key, value in found.items()
    } | {key: {name: counted(one, small_cells) for name, one in found[key].items()} for key in PARTS if key in found}


def _row(row: dict[str, Any], told: dict[str, object], few: bool) -> dict[str, Any]:
    own = {key: value for key, value in told.items() if key in row}
    return {**row, **own, **({key: HIDDEN for key in OF_COUNTS if key in row} if few else {})}


def _some(count: int) -> str:
    return BELOW if count < FEW else HIDDEN


def _hidden(counts: Sequence[int], already: set[int]) -> set[int]:
    """Which of some counts are to be hidden, besides those that are `already`."""
    found = already | {i for i, count in enumerate(counts) if is_small(count)}
    if not found or not _tight(counts, found):
        return found
    others = [i for i, count in enumerate(counts) if i not in found and count >= FEW]
    if others:
        return found | {min(others, key=lambda i: counts[i])}
    alone = len(found) == 1  # it is the sum itself, which is told
    return found if alone else set(range(len(counts)))  # with those that are 0


def _tight(counts: Sequence[int], hidden: set[int]) -> bool:
    """Whether their sum leaves what is hidden less than CHOICE values."""
    small = [i for i in hidden if counts[i] < FEW]
    if len(small) < len(hidden):
        return len(hidden) < 2
    total, others = sum(counts[i] for i in hidden), len(hidden) - 1
    least = 0 if any(counts[i] == 0 for i in hidden) else 1
    low, high = max(least, total - (FEW - 1) * others), min(FEW - 1, total - least * others)
    return high - low + 1 < CHOICE


def _told(counts: Sequence[int], place: int, hidden: set[int]) -> str:
    """What is told of a hidden count: FEW or more only where the others could then still be anything below FEW."""
    if counts[place] < FEW:
        return BELOW
    small = sum(counts[i] < FEW for i in hidden)
    large = len(hidden) - small
    return ABOVE if sum(counts[i] for i in hidden) >= FEW * large + (FEW - 1) + max(0, small - 1) else HIDDEN
