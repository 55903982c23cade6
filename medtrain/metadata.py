"""The command data metadata: one table of all chest X-rays of several datasets, with harmonised labels."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medtrain import datasets, labels
from medtrain.check import Flag
from medtrain.console import say, say_json, table
from medtrain.datasets import metadata as source
from medtrain.durable import write_whole
from medtrain.errors import InputError
from medtrain.record import Record, View, with_views

WORDS = {labels.PRESENT: "1", labels.ABSENT: "0", labels.SOFT: str(labels.SOFT_TARGET)}
OWN = ("chest_demo", "metadata")  # never part of `all`


def data_metadata(
    datasets: tuple[str, ...] = ("all",),
    root: Path = Path("data"),
    out: Path = Path("train_metadata_v2.csv"),
    views: tuple[View, ...] = (),
    uncertain: Literal["nan", "zero", "one", "soft"] = "nan",
    unmentioned: Literal["nan", "zero"] = "nan",
    json: Flag = False,
) -> None:
    """Write a table with a row for each chest X-ray: path, vector of the 14 labels, dataset, patient, view, split.

    It names patients: nobody but you may read the file.

    Args:
        datasets: Datasets by name, or all: those of which ROOT has a folder.
        root: Folder that holds a folder for each dataset, by its name (data/nih, data/chexpert).
        out: Table to write (.csv); train from it: medtrain shard metadata --root FILE.
        views: Only images of these views (frontal: PA and AP too; none named: all).
        uncertain: What a label that the source leaves open becomes (nan: unknown).
        unmentioned: What a label becomes where the source could have named it and does not.
        json: Print one JSON document.
    """
    names = _named(datasets, root)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*source.NEEDED, *source.OPTIONAL))
    counts: Counter[str] = Counter()
    for name in names:
        records = with_views(_records(name, root / name), views)
        indices = _indices(records)
        for record, index in zip(records, indices, strict=True):
            writer.writerow((index, *_row(name, record, uncertain, unmentioned)))
        counts[name] = len(records)
    write_whole(out, text.getvalue().encode(), 0o600)  # it names patients
    if json:
        say_json({"table": str(out), "records": dict(counts)})
    else:
        say(f"{table(('dataset', 'images'), counts.items())}\n\n{out}: {sum(counts.values()):,} images")


def _named(wanted: tuple[str, ...], root: Path) -> list[str]:
    chest = [
        name for name in datasets.names() if name not in OWN and datasets.source(name).CLASSES == labels.PATHOLOGIES
    ]
    names = [name for name in chest if (root / name).is_dir()] if wanted == ("all",) else list(wanted)
    strange = [name for name in names if name not in (*chest, "chest_demo")]
    if strange:
        raise InputError(f"{', '.join(strange)}: no dataset with the 14 pathologies", f"choose of {', '.join(chest)}")
    if not names:
        raise InputError(
            f"{root} has no folder of a chest dataset", f"name them {', '.join(chest)}, or give --root DIR"
        )
    return names


def _records(name: str, root: Path) -> list[Record]:
    return datasets.source(name).records(root)


def _indices(records: list[Record]) -> list[str]:
    """The file name of each image; its place in the dataset where the names come again, as view1_frontal.jpg does."""
    names = [record.path.name for record in records]
    if len(set(names)) == len(names):
        return names
    return [record.image for record in records]


def _row(name: str, record: Record, uncertain: str, unmentioned: str) -> tuple[Any, ...]:
    states = [labels.UNKNOWN if (state := record.labels[label]) is None else state for label in labels.PATHOLOGIES]
    settled = labels.settle(np.array(states, np.int8), uncertain, unmentioned)
    vector = " ".join(WORDS.get(int(state), "nan") for state in settled)
    path = record.path.absolute()
    about = (record.meta.get(key) for key in ("view", "sex", "age"))
    view, sex, age = ("" if value is None else value for value in about)
    return (path, vector, name, record.patient, view, record.split, record.study, sex, age)
