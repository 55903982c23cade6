"""A folder of one's own: one folder a class, and where somebody has split it, train, val and test above them."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from medtrain.core.counts import counted
from medtrain.core.errors import InputError, nearest
from medtrain.datasets import cells, class_levels, patient_names
from medtrain.datasets.layouts import CLIP_SUFFIXES, IMAGE_SUFFIXES, begins_as_dicom, unpack
from medtrain.datasets.own_data import OwnData
from medtrain.datasets.own_table import SUFFIXES as TABLES
from medtrain.datasets.record import Record
from medtrain.datasets.source import Source

TITLE = "A folder of your own: one folder a class, or train, val and test with one folder a class in each."
CLASSES = ()
TASK = "multiclass"
IMAGES = 0
LICENCE = "That of the files in it."
ACCESS = "put the images of each class in a folder of its own: DIR/CLASS/IMAGE   then medtrain shard folder --root DIR"
SUFFIXES = (*IMAGE_SUFFIXES, ".tif", ".tiff")
PICTURES = (".bmp", ".gif", ".webp", ".heic", ".jp2", ".nii", ".nii.gz", ".npy", ".mha", ".nrrd")  # which are not read
LEFT_OUT = ("__MACOSX",)  # of archives made on a Mac
OURS = {"shards": "plan.json", "runs": "config.yaml"}  # where --root . is packed and trained on
TABLE = "medtrain shard csv --table T.csv --image COLUMN --labels COLUMN..."


def records(root: Path) -> list[Record]:
    """Of a folder whose patients are unknown."""
    return opened(root, OwnData()).records(root)


def opened(root: Path | None, own: OwnData) -> Source:
    """Every file below the class folders as a record, by class, then by path; labels are one-hot.

    A record's image is its path below `root`. InputError, with what to do, where the folders are no classes, a class
    has no file, images lie beside clips, or `own.patient_from` does not fit a path.
    """
    if root is None:
        raise InputError("folder needs the folder", "give --root DIR")
    _ensure_folder(root)
    splits = _splits(root)
    files: dict[tuple[str, str], list[str]] = {}
    others: Counter[str] = Counter()
    for split, base in splits.items():
        for holder in class_levels.holders(base, own.class_level, _folders):
            _ensure_nothing_beside(holder)
            for name in _folders(holder):
                files[split, name] = sorted([*files.get((split, name), []), *_files(holder / name, root, others)])
    classes = tuple(sorted({name for _, name in files}))
    _ensure_classes(root, classes, files, others)
    if not own.class_level and not own.patient_from:
        class_levels.ensure_told(root, files)
    clips = _are_clips(root, [file for own_files in files.values() for file in own_files], own)
    patient = _patients(own.patient_from)
    found = [
        Record(own.name or "folder", file, root / file, {other: int(other == name) for other in classes},
               patient(file), split=split)
        for (split, name), own_files in files.items()
        for file in own_files
    ]  # fmt: skip
    warned = "; ".join(filter(None, (_of_pictures(others), _of_patients(found, own))))
    left_out = {f"{suffix or 'no suffix'} (not read)": count for suffix, count in sorted(others.items())}
    return Source(
        TITLE, classes, 0, LICENCE, ACCESS, lambda _: found, task=TASK, clips=clips,
        left_out=lambda _: left_out, warned=lambda _: warned, opened=opened,
    )  # fmt: skip


def _ensure_folder(root: Path) -> None:
    if not root.exists():
        there = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        raise InputError(f"{root} does not exist{nearest(root.name, there)}", f"correct --root; {ACCESS}")
    if not root.is_dir():
        raise InputError(f"{root} is a file", unpack(root) or f"give --root the folder; a table: {TABLE}")


def _folders(base: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in os.scandir(base)
        if entry.is_dir() and not entry.name.startswith(".") and entry.name not in LEFT_OUT and not _is_ours(entry)
    )


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether a folder holds what medtrain has written here by default: packed datasets, or runs."""
    mark = OURS.get(entry.name)
    return mark is not None and any(Path(entry.path).glob(f"*/{mark}"))


def _splits(root: Path) -> dict[str, Path]:
    """Split -> the folder of its class folders; under "" alone where nobody has split."""
    names = _folders(root)
    known = {name: cells.SPLITS[name.lower()] for name in names if cells.SPLITS.get(name.lower())}
    if not known:
        return {"": root}
    if strange := [name for name in names if name not in known]:
        problem = f"{root} holds {', '.join(known)}, which are splits, beside {', '.join(strange[:5])}"
        raise InputError(problem, "keep either splits there, or classes; elsewhere what is neither")
    if "train" not in known.values():
        raise InputError(f"{root} has no train beside {', '.join(known)}", "name the folders train, val and test")
    if twice := [name for name, split in known.items() if list(known.values()).count(split) > 1]:
        raise InputError(f"{root} has {' and '.join(twice)}, which are the same split", "move them into one")
    order = ("train", "train+val", "val", "test")
    return {split: root / name for name, split in sorted(known.items(), key=lambda item: order.index(item[1]))}


def _files(folder: Path, root: Path, others: Counter[str]) -> list[str]:
    """The paths from `root` on of what may be images and clips below a folder; counts other files by suffix."""
    found = []
    seen: set[tuple[int, int]] = set()
    for base, folders, files in os.walk(folder, followlinks=True):
        own = Path(base).stat()
        if (own.st_dev, own.st_ino) in seen:  # a link that leads round
            folders[:] = []
            continue
        seen.add((own.st_dev, own.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in LEFT_OUT)
        for file in files:
            path = Path(base, file)
            suffix = path.suffix.lower()
            if file.startswith("."):
                continue
            if suffix in (*SUFFIXES, *CLIP_SUFFIXES) or (not suffix and _is_dicom(path)):
                found.append(path.relative_to(root).as_posix())
            else:
                others[suffix] += 1
    return sorted(found)


def _is_dicom(path: Path) -> bool:
    try:
        return begins_as_dicom(path)
    except OSError:
        return False


def _files_in(folder: Path) -> list[str]:
    """The names of what may be images and clips in a folder itself."""
    return sorted(
        path.name for path in folder.iterdir() if path.is_file() and path.suffix.lower() in (*SUFFIXES, *CLIP_SUFFIXES)
    )


def _ensure_nothing_beside(holder: Path) -> None:
    if _folders(holder) and (here := _files_in(holder)):
        more = f" and {len(here) - 1:,} more" if len(here) > 1 else ""
        fix = "move what is there into the folder of its class, or elsewhere"
        raise InputError(f"{holder} holds {here[0]}{more} beside the class folders", fix)


def _ensure_classes(
    root: Path, classes: tuple[str, ...], files: dict[tuple[str, str], list[str]], others: Counter[str]
) -> None:
    if not classes:
        here = _files_in(root)
        archive = next(filter(None, map(unpack, sorted(root.iterdir()))), "")
        table = next((path for path in sorted(root.iterdir()) if path.name.lower().endswith(TABLES)), None)
        by_table = f"medtrain shard csv --table {shlex.quote(str(table))}" if table else TABLE
        what = f"{counted(len(here), 'images')} and no class folders" if here else "no class folders"
        raise InputError(f"{root} holds {what}", archive or f"{ACCESS}   or, with a table: {by_table}")
    unread = [suffix for suffix in PICTURES if suffix in others]
    convert = f"convert {', '.join(unread)} to PNG" if unread else "add its images, or remove the folder"
    counts = {name: sum(len(own) for (_, other), own in files.items() if other == name) for name in classes}
    if empty := [name for name, count in counts.items() if not count]:
        problem = f"{root}: no JPEG, PNG, TIFF, DICOM, MP4 or AVI in the class folder {', '.join(empty[:5])}"
        raise InputError(problem, convert)
    if len(classes) == 1:
        inner = _folders(root / classes[0])
        below = f": --root {shlex.quote(str(root / classes[0]))}" if len(inner) > 1 else ""
        fix = f"give the folder of the class folders{below}" if below else "add the images of another class"
        raise InputError(f"{root} has one class folder, {classes[0]}: nothing can be told apart", fix)
    splits = {split for split, _ in files}
    if lacking := [
        name
        for name in classes
        if splits != {""} and not files.get(("train", name)) and not files.get(("train+val", name))
    ]:
        there = [name for split, name in files if split == "train"]
        problem = f"{root}: the class {lacking[0]} has no image in train{nearest(lacking[0], there)}"
        raise InputError(problem, "name the class folders alike in every split")


def _are_clips(root: Path, files: list[str], own: OwnData) -> bool:
    clips = [file for file in files if file.lower().endswith(CLIP_SUFFIXES)]
    stills = [file for file in files if file.lower().endswith(SUFFIXES) and not file.lower().endswith(".dcm")]
    if (clips or own.clips) and stills:
        raise InputError(f"{root} holds clips and images ({stills[0]})", "keep one kind there")
    return bool(clips) or own.clips


def _patients(expression: str) -> Callable[[str], str]:
    if not expression:
        return lambda file: ""
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise InputError(
            f"--patient_from {expression!r} is no regular expression ({error})", "write one as '/(P[0-9]+)_'"
        ) from None
    if not pattern.groups:
        raise InputError(
            f"--patient_from {expression!r} has no group", "put parentheses around the patient: '/(P[0-9]+)_'"
        )

    def patient(file: str) -> str:
        found = pattern.search(file)
        if found is None or not found[1]:
            raise InputError(f"--patient_from {expression!r} does not fit {file}", "correct it, or rename the file")
        return found[1]

    return patient


def _of_pictures(others: Counter[str]) -> str:
    """A warning of pictures that are not read."""
    unread = {suffix: count for suffix, count in sorted(others.items()) if suffix in PICTURES}
    if not unread:
        return ""
    told = ", ".join(counted(count, f"{suffix} files") for suffix, count in unread.items())
    return f"{told} left out, which cannot be read: convert them to PNG"


def _of_patients(found: list[Record], own: OwnData) -> str:
    """A warning of patients that are unknown."""
    if own.patient_from:
        return ""
    above = max(own.class_level, 1) + bool(found[0].split)  # folders that are no patients
    hint = patient_names.hint([record.image for record in found], above)
    return f"the patients are unknown: images of one may be in training and in test; {hint}"
