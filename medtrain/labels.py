"""The 14 thoracic pathologies, and the states that a label can have."""

from __future__ import annotations

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
UNCERTAIN = -2  # the source names it and leaves it open
UNMENTIONED = -3  # the source could have named it and does not
SOFT = 0.7  # the middle of the range from 0.55 to 0.85 of Pham et al. 2021 (label smoothing of uncertain labels)
UNCERTAIN_AS = {"nan": None, "zero": 0.0, "one": 1.0, "soft": SOFT}
UNMENTIONED_AS = {"nan": None, "zero": 0.0}


def settle(state: int | None, uncertain: str, unmentioned: str) -> float | None:
    """What a state means under a policy: the target (1 present, 0 absent), or None where the label is not known.

    `uncertain` is nan (not known), zero, one (the U-Zeros and U-Ones of Irvin et al. 2019) or soft; `unmentioned` nan
    or zero.
    """
    if state == UNCERTAIN:
        return UNCERTAIN_AS[uncertain]
    if state == UNMENTIONED:
        return UNMENTIONED_AS[unmentioned]
    return state
