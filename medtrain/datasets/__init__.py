"""Sources of images: one file each, found by its name; raw files in, Records out, no torch.

To add the dataset `bones`, write `medtrain/datasets/sources/bones.py` with what `source.Source` names. Nothing else
changes.

Imported by: `shards`, `curation` and all tiers above.
Door: `open_dataset(name, root)`, its source and records; `source(name)` is what is known of it anywhere.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path

from medtrain.core.errors import InputError, nearest
from medtrain.datasets import plugin
from medtrain.datasets.own_data import COLUMNS, NOTHING, OwnData
from medtrain.datasets.own_labels import relabelled
from medtrain.datasets.record import Record, cut_from_train, with_validation
from medtrain.datasets.source import Source

OF_FOLDER = ("class_level", "patient_from", "clips", "name")  # of OwnData
OF_TABLE = ("table", *COLUMNS, "task", "clips", "name")


@cache
def names() -> list[str]:
    """The sources, in alphabetical order, without importing any."""
    return sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "sources")]))


def of_recipe(recipe: str) -> str:
    """The dataset of a recipe: a recipe NAME or NAME_VARIANT is of the dataset NAME. InputError where none is called
    that."""
    known = [name for name in names() if recipe == name or recipe.startswith(f"{name}_")]
    if not known:
        raise InputError(f"recipe {recipe} is of no one dataset", "check each: medtrain check DATASET --root DIR")
    return max(known, key=len)


def source(name: str) -> Source:
    """A source, whose module is imported now; InputError with the nearest name if there is none."""
    if name in names():
        return Source.of(importlib.import_module(f"{__name__}.sources.{name}"))
    if (file := file_outside(name)) is not None:
        return plugin.load(name, file)
    every = [*names(), *plugin.installed()]
    fix = "list them: medtrain data list   (your own data: folder --root DIR, or csv --table FILE)"
    if Path(name).is_dir():
        fix = f"your own images are the dataset folder: medtrain shard folder --root {shlex.quote(name)}"
    elif Path(name).is_file():
        fix = f"your own table is the dataset csv: medtrain shard csv --table {shlex.quote(name)}"
    raise InputError(f"there is no dataset {name!r}{nearest(name, every)}", fix)


def file_outside(name: str) -> Path | None:
    """The dataset file that an installed package brings under a name; None for one of medtrain's own."""
    return None if name in names() else plugin.installed().get(name)


def read(name: str, root: Path, annotations: Path | None = None) -> list[Record]:
    """The records of a dataset, by the table `annotations` where one is given; InputError where its source takes
    none."""
    return _read(name, source(name), root, annotations)


def _read(name: str, own: Source, root: Path, annotations: Path | None) -> list[Record]:
    if annotations is None:
        return own.records(root)
    if not own.annotated:
        raise InputError(f"{name} takes no --annotations: its tables lie with its images", "omit --annotations")
    return own.records(root, annotations)


def open_dataset(
    name: str, root: Path | None, annotations: Path | None = None, own: OwnData = NOTHING
) -> tuple[Source, list[Record]]:
    """A dataset where it lies, as the command line names it: its source, with the classes that are there, and its
    records. InputError, with what to type, where it cannot be."""
    found = plugin.load(name, own.plugin) if own.plugin else source(name)
    _ensure_takes(name, own)
    if found.opened is not None:
        found = found.opened(root, own)
    elif root is None:
        raise InputError(f"{name}: --root is not given", f"--root DIR is the folder with its raw files: {found.access}")
    records = _read(name, found, root or Path(), annotations)
    if not records:
        raise InputError(f"{root} holds no records of {name}", found.access)
    if own.labels_from is not None:
        found, records = relabelled(found, records, own)
    if found.opened is not None and (told := cut_from_train(records)):
        warned = "; ".join(filter(None, (found.warned(records), told)))
        found = replace(found, warned=lambda _: warned)
    return found, with_validation(records)


def _ensure_takes(name: str, own: OwnData) -> None:
    """InputError where flags are given that are not for this dataset."""
    beside = ("labels_from", "plugin", *(("image", "labels", "task") if own.labels_from else ()))
    takes = {"folder": (*OF_FOLDER, *beside), "csv": OF_TABLE}.get(name, beside)
    if own.name and not re.fullmatch(r"[A-Za-z0-9_]{1,40}", own.name):
        plain = re.sub(r"[^A-Za-z0-9]+", "_", own.name).strip("_")[:40] or "own"
        raise InputError(
            f"the name {own.name!r} has other characters than letters, digits and _", f"give --name {plain}"
        )
    if strange := [flag for flag in own.told() if flag not in takes]:
        fix = f"a table of your own: medtrain shard csv --table FILE; your own labels for {name}: --labels_from FILE"
        raise InputError(f"--{strange[0]} is not for {name}", fix)
