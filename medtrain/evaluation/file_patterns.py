"""Patterns of file names that no shell has expanded, and which files of a folder are meant."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from medtrain.core.errors import InputError
from medtrain.datasets.layouts import begins_as_dicom

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".dcm", ".dicom", ".mp4", ".avi")  # looked for in a folder
MAGIC = frozenset("*?[")


def expanded(named: Sequence[Path]) -> Iterator[Path]:
    """The names, with what each pattern among them means in its place; InputError where it means nothing."""
    for path in named:
        if not MAGIC & set(str(path)) or path.exists():
            yield path
            continue
        found = matching(path)
        if not found:
            folder = next(parent for parent in path.parents if not MAGIC & set(str(parent)))
            raise InputError(
                f"no image or clip matches {str(path)!r}",
                f"see what is there: ls {shlex.quote(str(folder))}   (in quotes, ** is any number of folders)",
            )
        yield from found


def matching(pattern: Path) -> list[Path]:
    """What a pattern means, sorted: the folders and files that it names, with `**` files alone; where its last part
    names no suffix, of the files those that are images or clips."""
    by_suffix = bool(pattern.suffix) and not MAGIC & set(pattern.suffix)
    whole = "**" in pattern.parts  # then what is in a folder is named already
    found = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]  # noqa: PTH207 - absolute ones too
    return [path for path in found if (not whole if path.is_dir() else by_suffix or looks_readable(path))]


def looks_readable(path: Path) -> bool:
    """Whether a file in a folder is meant: by its suffix, or where it has none by the mark of DICOM."""
    if path.name.startswith(".") or not path.is_file():
        return False
    if path.suffix:
        return path.suffix.lower() in SUFFIXES
    return begins_as_dicom(path)
