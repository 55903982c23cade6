"""The command data metadata: one table of all chest X-rays of several datasets, or two of MURA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from tyro.conf import Positional, arg

from medtrain import csvfile, labels, studytables
from medtrain import datasets as datasets_of
from medtrain.check import Flag
from medtrain.console import say, say_json, table, warn
from medtrain.contents import there
from medtrain.datasets import metadata as source
from medtrain.datasets import mura
from medtrain.errors import InputError
from medtrain.record import Record, View, with_views

WORDS = {labels.PRESENT: "1", labels.ABSENT: "0", labels.SOFT: str(labels.SOFT_TARGET)}
OWN = ("chest_demo", "metadata")  # never part of `all`
Chosen = Positional[Annotated[tuple[str, ...], arg(metavar="[DATASET ...]")]]


def data_metadata(
    dataset: Chosen = (),
    root: Path = Path("data"),
    out: Path | None = None,
    views: tuple[View, ...] = (),
    uncertain: Literal["nan", "zero", "one", "soft"] = "nan",
    unmentioned: Literal["nan", "zero"] = "nan",
    json: Flag = False,
    datasets: tuple[str, ...] = (),
) -> None:
    """Write a table with a row for each chest X-ray: path, vector of the 14 labels, dataset, patient, view, split.

    Of MURA, two tables: NAME_images.csv (path, label) and NAME_studies.csv (path, count, label); 1 is abnormal. They
    name patients: nobody but you may read the files.

    Args:
        dataset: Datasets by name, or all (the default): those with the 14 labels of which ROOT has a folder.
        root: Folder that holds a folder for each dataset, by its name (data/nih, data/chexpert), or one's own.
        out: Table to write (train_metadata_v2.csv; mura.csv for mura); train from it: medtrain shard metadata --root
            FILE.
        views: Only images of these views (frontal: PA and AP too; none named: all).
        uncertain: What a label that the source leaves open becomes (nan: unknown).
        unmentioned: What a label becomes where the source could have named it and does not.
        json: Print one JSON document.
        datasets: The same as DATASET.
    """
    names = _named((*dataset, *datasets) or ("all",), root)
    if names[0] in _with(mura.CLASSES):
        written = studytables.write(with_views(_records(names, 0, root), views), out or Path(f"{names[0]}.csv"))
        _tell_studies(written, json)
        return
    out = out or Path("train_metadata_v2.csv")
    counts: Counter[str] = Counter()
    missing: Counter[str] = Counter()

    def rows() -> Iterator[tuple[Any, ...]]:
        for number, name in enumerate(names):
            records = with_views(_records(names, number, root), views)
            if told := datasets_of.warned(name, records):
                warn(told)
            missing[name] = sum(not there(record.path) for record in records)
            counts[name] = len(records) - missing[name]
            for index, record in zip(_indices(records), records, strict=True):
                yield index, *_row(name, record, uncertain, unmentioned)

    csvfile.write(out, (*source.NEEDED, *source.OPTIONAL), rows(), 0o600)  # it names patients
    if json:
        say_json({"table": str(out), "records": dict(counts + missing), "missing": dict(missing)})
        return
    told_of = [(name, counts[name], missing[name]) for name in names]
    say(f"{table(('dataset', 'images', 'not there'), told_of)}\n\n{out}: {sum(counts.values()):,} images")
    if lost := sum(missing.values()):
        warn(f"{lost:,} more rows are of images that are not there: pack with --partial, or complete the dataset")


def _tell_studies(written: dict[str, dict[str, Any]], json: bool) -> None:
    if json:
        say_json(written)
    else:
        rows = [(name, *own.values()) for name, own in written.items()]
        say(table(("table of", "file", "rows", "abnormal", "normal", "unknown"), rows))


def _named(wanted: tuple[str, ...], root: Path) -> list[str]:
    chest, studies = [name for name in _with(labels.PATHOLOGIES) if name not in OWN], _with(mura.CLASSES)
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


def _with(classes: tuple[str, ...]) -> list[str]:
    """The datasets that have these labels."""
    return [name for name in datasets_of.names() if classes == datasets_of.source(name).CLASSES]


def _records(names: list[str], number: int, root: Path) -> list[Record]:
    """Those of ROOT/NAME; of a dataset by itself, where there is no such folder, those of ROOT."""
    own = root / names[number]
    return datasets_of.read(names[number], own if len(names) > 1 or own.is_dir() else root)


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
