"""One image or clip with its labels, patient, study, source and split, before it is packed."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from medtrain.core.errors import InputError

SCORE = "quality_score"  # name in Record.raw of a number that a clip or an image was given
TRAIN_VAL = "train+val"  # an official split that leaves the validation to us
FRACTIONS = (0.8, 0.1, 0.1)  # train, val and test of what has no official split, unless its source says others
FRONTAL = ("PA", "AP", "frontal")  # the last where it is not known from which side
View = Literal["frontal", "PA", "AP", "lateral", "other", "unknown"]
LONGEST_LIFE = 120  # years
AGE = re.compile(r"(\d{1,6})(?:\.0*)?([YMWD]?)")
UNITS = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.0, "D": 365.0}  # to a year
OLDEST = 90  # an age above identifies people (HIPAA, 45 CFR 164.514): older ones are said to be so old


@dataclass(frozen=True)
class Report:
    """Findings and impression of one study, in words."""

    study: str
    text: str


def years(text: str) -> int | None:
    """An age as tables write it: `58`, `58.0`, `058Y`, `011M`, `003D`; None for what is no age of a person."""
    parts = AGE.fullmatch(text.strip().upper())
    if parts is None or int(parts[1]) > LONGEST_LIFE * UNITS[parts[2]]:
        return None
    return min(int(int(parts[1]) / UNITS[parts[2]]), OLDEST)


def report_text(findings: str, impression: str) -> str:
    """What a report says of the images; the sections that it lacks are left out."""
    return "\n\n".join(filter(None, (findings.strip(), impression.strip())))


@dataclass(frozen=True)
class Record:
    """What a dataset knows about one image or clip.

    `image` names the image inside its dataset and stays the same from machine to machine; `path` is where its file is
    here. `labels` holds per label name 1 (present), 0 (absent), None (the source does not tell), or labels.UNCERTAIN
    or labels.UNMENTIONED, which a policy may settle later. `patient` and `study` are the dataset's own ids and never
    reach a shard: only a hash does. An empty `patient` means that the dataset does not tell; the split then keeps
    byte-identical images together. `split` is the official one ("train", "val", "test", or "train+val" where it leaves
    the validation open), or empty where there is none.
    """

    source: str
    image: str
    path: Path
    labels: dict[str, int | None]
    patient: str = ""
    study: str = ""
    split: str = ""
    raw: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


def number_of(*parts: object) -> int:
    """64 bits that stand for some values, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def labels_sha256(records: list[Record]) -> str:
    """Pins what tables say of their images, whatever copies of a table write otherwise: which version was it?"""
    lines = sorted(json.dumps([record.source, record.image, record.labels, record.raw]) for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def with_validation(records: list[Record]) -> list[Record]:
    """Official splits that have no validation leave it to us; where there is nothing but `train`, nobody has split."""
    splits: dict[str, set[str]] = {}
    for record in records:
        splits.setdefault(record.source, set()).add(record.split)
    ours = {
        source: TRAIN_VAL if "test" in own else ""
        for source, own in splits.items()
        if "train" in own and not own & {"val", TRAIN_VAL, ""}
    }
    return [
        replace(record, split=ours[record.source]) if record.split == "train" and record.source in ours else record
        for record in records
    ]


def cut_from_train(records: list[Record]) -> str:
    """What of a dataset's own splits `with_validation` cuts from `train`, in words; empty where nothing is."""
    own = {record.split for record in records}
    if "train" not in own or own & {"val", TRAIN_VAL, ""}:
        return ""
    train, val, test = (round(100 * part) for part in FRACTIONS)
    if "test" in own:
        return f"there is no val: of train, 1 image in {round((train + val) / val)} is kept for validation"
    return f"there is train alone: {val} % of it are kept for validation, and {test} % for the test"


def with_views(records: list[Record], views: tuple[View, ...]) -> list[Record]:
    """The records whose image shows one of some views ("frontal": PA and AP too); all where none is named."""
    if not views:
        return records
    wanted = {"" if view == "unknown" else view for view in (*views, *(FRONTAL if "frontal" in views else ()))}
    found = [record for record in records if record.meta.get("view", "") in wanted]
    if not found:
        there = sorted({record.meta.get("view", "") or "unknown" for record in records})
        fix = f"there is {', '.join(there)}"
        if there == ["unknown"]:
            fix = f"its tables have no view: omit --views, or see medtrain data info {records[0].source}"
        raise InputError(f"no image shows a view of {', '.join(views)}", fix)
    return found
