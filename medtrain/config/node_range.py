"""The setting `nodes` as sbatch's --nodes has it: a number, or a range A-B."""

from __future__ import annotations

import re

RANGE = re.compile(r"([1-9]\d*)-([1-9]\d*)")


def nodes_range(value: object) -> tuple[int, int] | None:
    """`2-8` -> (2, 8), and `8-8` -> (0, 8), which is no range; None for what is written otherwise."""
    found = RANGE.fullmatch(str(value))
    if not found:
        return None
    fewest, most = int(found[1]), int(found[2])
    return (0 if fewest == most else fewest), most
