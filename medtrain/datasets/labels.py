"""The 14 thoracic pathologies, the states that a label can have, and the policies that settle them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATHOLOGIES = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)

PRESENT, ABSENT = 1, 0
UNKNOWN = -1  # the source does not tell; no policy changes that
UNCERTAIN = -2  # the source names it and leaves it open
UNMENTIONED = -3  # the source could have named it and does not
SOFT = 2  # only as a target: present, more or less
SOFT_TARGET = 0.7  # the middle of 0.55 to 0.85, from which Pham et al. 2021 draw the targets of uncertain labels
Counts = Mapping[str, tuple[int, int]]  # label -> images of the training where it is absent, and present
# What the two open states can be taken for. U-Ignore, U-Zeros and U-Ones are those of Irvin et al. 2019.
AS = {"nan": UNKNOWN, "zero": ABSENT, "one": PRESENT, "soft": SOFT}


def absent_share(absent: int, present: int) -> float:
    """Of the images that a label is known of, the share where it is absent; 0.5 where there is none. As the weight of
    the present ones in a loss (and 1 - that of the absent) it gives both states the same sum: W_T1 of Rajpurkar et al.
    2018."""
    return absent / (absent + present) if absent + present else 0.5


def are_scores(labels: NDArray[Any]) -> bool:
    """Whether labels are scores, float, and no states."""
    return not np.issubdtype(labels.dtype, np.integer)


def known(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """What is known of labels of any shape: states of 0 and more, and scores that are numbers."""
    found: NDArray[np.bool_] = ~np.isnan(labels) if are_scores(labels) else labels >= 0
    return found


def task_of(labels: NDArray[np.int8]) -> str:
    """What task labels [N, L] look like: in each row that tells anything exactly one present and all else absent is one
    of several classes (multiclass), exactly one known is a study type's state (abnormality), and anything else several
    labels at once (multilabel)."""
    told = labels[known(labels).any(1)]
    if labels.shape[1] < 2 or not len(told):
        return "multilabel"
    if ((told == PRESENT).sum(1) == 1).all() and known(told).all():
        return "multiclass"
    return "abnormality" if (known(told).sum(1) == 1).all() else "multilabel"


def resolve_policy(states: NDArray[np.int8], uncertain: str, unmentioned: str) -> NDArray[np.int8]:
    """States of any shape -> PRESENT, ABSENT, SOFT or UNKNOWN, by the policies for the two open ones (see AS)."""
    settled = np.where(states == UNCERTAIN, AS[uncertain], states)
    return np.where(settled == UNMENTIONED, AS[unmentioned], settled).astype(np.int8)
