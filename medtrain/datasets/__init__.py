"""Sources of images: one file each, found by its name; raw files in, Records out, no torch.

To add the dataset `bones`, write `medtrain/datasets/sources/bones.py` with what `source.Source` names. Nothing else
changes.

Imported by: `shards`, `curation` and all tiers above.
Door: `source(name)`, whose `records(root)` are the images and their labels.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from medtrain.core.errors import InputError, nearest
from medtrain.datasets.record import Record, with_validation
from medtrain.datasets.source import Source


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
    if name not in names():
        raise InputError(f"there is no dataset {name!r}{nearest(name, names())}", "list them: medtrain data list")
    return Source.of(importlib.import_module(f"{__name__}.sources.{name}"))


def read(name: str, root: Path, annotations: Path | None = None) -> list[Record]:
    """The records of a dataset, by the table `annotations` where one is given; InputError where its source takes
    none."""
    own = source(name)
    if annotations is None:
        return own.records(root)
    if not own.annotated:
        raise InputError(f"{name} takes no --annotations: its tables lie with its images", "omit --annotations")
    return own.records(root, annotations)


def read_records(name: str, root: Path, annotations: Path | None = None) -> list[Record]:
    """The same, with a validation split where the source has none; InputError where there is no record."""
    records = read(name, root, annotations)
    if not records:
        raise InputError(f"{root} holds no records of {name}", source(name).access)
    return with_validation(records)
