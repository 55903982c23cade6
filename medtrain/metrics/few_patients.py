"""How few patients are few for a comparison, by the rule that reports and pages state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.metrics.numbers import Floats, Ints

FEW = 50  # patients: below that a bootstrap of patients was measured to find differences where there are none
FEW_OF_A_STATE = 10  # patients with a label, or without it, on whom every number of that label depends

Ranking = tuple[NDArray[np.bool_], NDArray[np.bool_], list[Floats]]


def few_of(patients: int, patients_of: Ints, rankings: Mapping[str, Ranking]) -> dict[str, Any] | None:
    """What is few in a comparison, as plain values: the `patients`, or `labels` that few patients have, or few have
    not, with how many; None where nothing is. `all` is whether that holds of everything that is compared."""
    counts = {
        name: [len(np.unique(patients_of[known & (positive == state)])) for state in (True, False)]
        for name, (known, positive, _) in rankings.items()
    }
    labels = {name: own for name, own in counts.items() if min(own) < FEW_OF_A_STATE}
    everything = patients < FEW or (bool(counts) and len(labels) == len(counts))
    if not everything and not labels:
        return None
    return {
        "all": everything,
        "patients": patients,
        "fewer_than": FEW,
        "labels": {name: {"with": own[0], "without": own[1]} for name, own in labels.items()},
        "fewer_of_a_label_than": FEW_OF_A_STATE,
    }
