"""The metrics of patients of one sex or age, and of images of one view: a mean hides whom a model fails."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

AGES = ((0, 17), (18, 39), (40, 59), (60, 79), (80, 200))  # years, both included


def subgroups(about: list[dict[str, Any]]) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """What samples are told about (N times `sex`, `age`, `view`, ...) -> attribute -> group -> which [N].

    Only attributes that part the samples in two groups or more; those that tell nothing are in none.
    """
    found: dict[str, dict[str, NDArray[np.bool_]]] = {}
    for attribute in ("sex", "age", "view", "labelled_by"):
        values = np.array([_group(attribute, one.get(attribute)) for one in about], str)
        groups = sorted(set(values.tolist()) - {""})
        if len(groups) > 1:
            found[attribute] = {group: values == group for group in groups}
    return found


def _group(attribute: str, value: Any) -> str:
    if value is None:
        return ""
    if attribute != "age":
        return str(value)
    return next((f"{first:02} to {last}" if last < 200 else f"{first} and more"
                 for first, last in AGES if first <= value < last + 1), "")  # fmt: skip
