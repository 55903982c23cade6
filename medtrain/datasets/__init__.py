"""Sources of images: one file each, found by its name; raw files in, Records out, no torch.

To add the dataset `bones`, write `medtrain/datasets/sources/bones.py` with the names of `Source` below. Nothing else
changes.

Imported by: `shards`, `curation` and all tiers above.
Door: `source(name)`, whose `records(root)` are the images and their labels.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, cast

from medtrain import datasets
from medtrain.core.errors import InputError, nearest
from medtrain.datasets.record import FRACTIONS, Record, with_validation


def read_records(dataset: str, root: Path, annotations: Path | None = None) -> list[Record]:
    """Every record of a dataset; InputError where there is none."""
    records = datasets.read(dataset, root, annotations)
    if not records:
        raise InputError(f"{root} holds no records of {dataset}", datasets.source(dataset).ACCESS)
    return with_validation(records)


IMAGE_SUFFIXES = (".dcm", ".jpeg", ".jpg", ".png")


class Source(Protocol):
    """What the module of a source holds.

    A source that medtrain can fetch or draw has `download(root: Path) -> None` besides: what it leaves in `root` under
    its own name is whole, and given again it goes on with what is missing. One with reports has
    `reports(root: Path) -> list[Report]`. One that never knows some of its labels has `TELLS`, the others. One whose
    tables have rows that are none of its records has `left_out(root: Path) -> dict[str, int]`: how many, by reason. One
    of which `medtrain check` tells more has `about(root, records) -> dict[str, Any]` for --json, and `told(about) ->
    str`, the same for people. One of whose labels 0 and 1 are not called absent and present has `STATES`, their names.
    One whose labels are one
    of several classes, several at once, or the state of a study type, has `TASK`: multiclass, multilabel, abnormality.
    One whose files are clips has `CLIPS = True`. One of whose records one must know something before
    results are compared has `warned(records) -> str`. One that is split otherwise than 80/10/10, where nobody has split
    it, has `FRACTIONS`, the shares of train, val and test.
    """

    TITLE: str
    """What it is, in one sentence."""
    CLASSES: tuple[str, ...]
    """Names of the labels, in the order of the model's outputs."""
    IMAGES: int
    """About how many images the complete dataset has; 0 where nobody can say."""
    LICENCE: str
    """What the images may be used for, and whom to cite."""
    ACCESS: str
    """How to get it."""

    def records(self, root: Path) -> list[Record]:
        """Every image below `root`, in the same order on every machine.

        InputError, with what to do about it, where `root` is not what the source expects.
        """
        ...


class AnnotatedSource(Source, Protocol):
    """A source whose table may lie anywhere: `--annotations FILE` names it."""

    ANNOTATED: bool
    """True."""

    def records(self, root: Path, annotations: Path | None = None) -> list[Record]:
        """As of every source, by the table `annotations`; without it, by the one that is found in `root`."""
        ...


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
    """The module of a source, imported now; InputError with the nearest name if there is none."""
    if name not in names():
        raise InputError(f"there is no dataset {name!r}{nearest(name, names())}", "list them: medtrain data list")
    return cast(Source, importlib.import_module(f"{__name__}.sources.{name}"))


def read(name: str, root: Path, annotations: Path | None = None) -> list[Record]:
    """The records of a dataset, by the table `annotations` where one is given; InputError where its source takes
    none."""
    module = source(name)
    if annotations is None:
        return module.records(root)
    if not getattr(module, "ANNOTATED", False):
        raise InputError(f"{name} takes no --annotations: its tables lie with its images", "leave --annotations away")
    return cast(AnnotatedSource, module).records(root, annotations)


def warned(name: str, records: list[Record]) -> str:
    """What a user should know of a dataset's records before results are compared; mostly nothing."""
    tell = getattr(source(name), "warned", None)
    return tell(records) if tell else ""


def fractions(name: str) -> tuple[float, float, float]:
    """Train, val and test of what nobody has split."""
    return getattr(source(name), "FRACTIONS", FRACTIONS)


def images_in(root: Path, folders: tuple[str, ...]) -> dict[str, Path]:
    """file name -> path of every image in `root` and in `folders` below it; of several alike the last counts."""
    found = {}
    for folder in (root, *(root / name for name in folders)):
        if folder.is_dir():
            with os.scandir(folder) as entries:
                found.update({entry.name: folder / entry.name for entry in entries if _is_image(entry)})
    return found


@contextmanager
def whole_folder(root: Path) -> Iterator[Path]:
    """A folder to draw into, which becomes the new folder `root` at the end, or goes; InputError where `root` holds
    something."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} exists already", "give --root a new folder, or delete this one")
    root.parent.mkdir(parents=True, exist_ok=True)
    unfinished = root.with_name(f".{root.name}.{os.getpid()}.tmp")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        unfinished.rename(root)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def class_folders(name: str, root: Path, classes: tuple[str, ...], folder: str, access: str) -> list[Record]:
    """Records of the layout ROOT/CLASS/IMAGE, in the order of `classes`, then by file name; labels are one-hot.

    `root` may be the dataset's own folder or the one that holds it under the name `folder`. Hidden files (`._*` of
    macOS too) and files that are no images by their suffix are left out; a link to nothing is kept, so that whoever
    reads it says so. InputError names every class that has no folder, and what is there instead.
    """
    found = []
    try:
        base = _class_folder_root(name, root, classes, folder, access)
        for label in classes:
            labels = {other: int(other == label) for other in classes}
            with os.scandir(base / label) as entries:
                files = sorted(entry.name for entry in entries if _is_image(entry))
            found += [Record(name, f"{label}/{file}", base / label / file, dict(labels)) for file in files]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror})", "ask its owner to let you") from None
    if not found:
        raise InputError(f"the class folders of {base} hold no images ({', '.join(IMAGE_SUFFIXES)})", access)
    return found


def _class_folder_root(name: str, root: Path, classes: tuple[str, ...], folder: str, access: str) -> Path:
    if not root.exists():
        raise InputError(f"{root} does not exist; it should hold the {name} images", access)
    if not root.is_dir():
        raise InputError(f"{root} is a file; give the folder with the {name} images", _unpack(root) or access)
    base = next((base for base in (root, root / folder) if any((base / label).is_dir() for label in classes)), root)
    there = sorted(path for path in base.iterdir() if not path.name.startswith("."))
    missing = [label for label in classes if not (base / label).is_dir()]
    if missing:
        others = [path.name for path in there if path.is_dir() and path.name not in classes]
        wanted = ", ".join(f"{label}{nearest(label, others)}" for label in missing)
        holds = ", ".join(path.name for path in there[:10]) or "nothing"
        more = f" and {len(there) - 10:,} more" if len(there) > 10 else ""
        archive = next(filter(None, map(_unpack, there)), "")
        raise InputError(f"{base} has no folder {wanted}; it holds {holds}{more}", archive or access)
    return base


def _unpack(path: Path) -> str:
    """The command that unpacks an archive beside it, or here where that folder is read-only; "" if it is none."""
    if not path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return ""
    folder = shlex.quote(str(path.parent)) if os.access(path.parent, os.W_OK) else "."
    return f"unpack it: tar xf {shlex.quote(str(path))} -C {folder}   then use --root {folder}"


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(IMAGE_SUFFIXES) and not entry.name.startswith(".") and not _is_folder(entry)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round: it is named when it is read
        return False
