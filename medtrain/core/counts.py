"""Numbers of things in a sentence: in the singular where there is one, and by their reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

SINGULAR = {"classes": "class", "copies": "copy", "studies": "study"}  # others lose their s
SHOWN = 3  # reasons in a line


def counted(number: int, plural: str) -> str:
    """`1 image`, `2 images`, `1,000 images`; of several words the last is in the plural."""
    if number != 1:
        return f"{number:,} {plural}"
    before, blank, last = plural.rpartition(" ")
    return f"1 {before}{blank}{SINGULAR.get(last) or last.removesuffix('s')}"


def by_reason(reasons: Iterable[str]) -> str:
    """`truncated JPEG: 3, the file is empty: 1`, the most frequent first, and how many have others."""
    found = Counter(reasons).most_common()
    others = sum(count for _, count in found[SHOWN:])
    told = [f"{reason}: {count:,}" for reason, count in found[:SHOWN]]
    return ", ".join([*told, *([f"other reasons: {others:,}"] if others else [])])


def are(number: int) -> str:
    """The verb of a number of things: `1 of 9 images is`, `2 of 9 images are`."""
    return "is" if number == 1 else "are"
