"""P-values that are looked at together."""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted by Holm's step-down method (1979), in the order given.

    To reject those below 5 % rejects a true hypothesis among all of them in at most 5 % of cases, however they depend
    on each other. NaN is no test, and stays NaN.
    """
    defined = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    adjusted, highest = [math.nan] * len(p_values), 0.0
    for rank, i in enumerate(sorted(defined, key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(defined) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
