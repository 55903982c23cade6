"""The command data metadata: one table of all chest X-rays of several datasets, or two of MURA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medtrain import datasets as datasets_of
from medtrain.core.errors import InputError
from medtrain.datasets import labels
from medtrain.datasets.record import Record
from medtrain.datasets.sources import mura

WORDS = {labels.PRESENT: "1", labels.ABSENT: "0", labels.SOFT: str(labels.SOFT_TARGET)}
OWN = ("chest_demo", "metadata")  # never part of `all`


def named_sources(wanted: tuple[str, ...], root: Path) -> list[str]:
    """The datasets that are wanted, by name or as `all` that lie in the root; InputError for others."""
    chest, studies = (
        [name for name in datasets_with(labels.PATHOLOGIES) if name not in OWN],
        datasets_with(mura.CLASSES),
    )
    names = [name for name in chest if (root / name).is_dir()] if wanted == ("all",) else list(dict.fromkeys(wanted))
    strange = [name for name in names if name not in (*chest, *studies, "chest_demo")]
    if strange:
        problem = f"{', '.join(strange)}: no dataset with the 14 pathologies"
        raise InputError(problem, f"choose of {', '.join(chest)}, or one of {', '.join(studies)}")
    if len(names) > 1 and (alone := [name for name in names if name in studies]):
        problem = f"{alone[0]} has tables of its own, with other columns than one of {', '.join(names)}"
        raise InputError(problem, f"by itself: medtrain data metadata {alone[0]} --root DIR")
    if not names:
        raise InputError(
            f"{root} has no folder of a chest dataset", f"name them {', '.join(chest)}, or give --root DIR"
        )
    return names


def datasets_with(classes: tuple[str, ...]) -> list[str]:
    """The datasets that have these labels."""
    return [name for name in datasets_of.names() if classes == datasets_of.source(name).classes]


def records_from(names: list[str], number: int, root: Path) -> list[Record]:
    """Those of ROOT/NAME; of a dataset by itself, where there is no such folder, those of ROOT."""
    own = root / names[number]
    return datasets_of.read(names[number], own if len(names) > 1 or own.is_dir() else root)


def indices_of(records: list[Record]) -> list[str]:
    """The file name of each image; its place in the dataset where the names come again, as view1_frontal.jpg does."""
    names = [record.path.name for record in records]
    if len(set(names)) == len(names):
        return names
    return [record.image for record in records]


def row_of(name: str, record: Record, uncertain: str, unmentioned: str) -> tuple[Any, ...]:
    """A record as a row of the table, its open labels settled."""
    states = [labels.UNKNOWN if (state := record.labels[label]) is None else state for label in labels.PATHOLOGIES]
    settled = labels.resolve_policy(np.array(states, np.int8), uncertain, unmentioned)
    vector = " ".join(WORDS.get(int(state), "nan") for state in settled)
    path = record.path.absolute()
    about = (record.meta.get(key) for key in ("view", "sex", "age"))
    view, sex, age = ("" if value is None else value for value in about)
    return (path, vector, name, record.patient, view, record.split, record.study, sex, age)
