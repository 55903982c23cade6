"""How raw files lie in folders: found by name, drawn whole or not at all, one folder a class."""

from __future__ import annotations

import os
import shlex
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from medtrain.core.errors import InputError, nearest
from medtrain.datasets.record import Record

IMAGE_SUFFIXES = (".dcm", ".jpeg", ".jpg", ".png")
CLIP_SUFFIXES = (".mp4", ".avi", ".mov")  # of containers, which name nobody
DICOM_AT, DICOM_MARK = 128, b"DICM"  # PS3.10 7.1: such files often have no suffix
READERS = 16  # threads: a shared filesystem takes its time over each of thousands of folders


class FolderListings:
    """What files lie beside each other, by their names without the `suffixes` of what is looked for: other dots are
    part of a name, as of a UID."""

    def __init__(self, suffixes: tuple[str, ...]) -> None:
        self._suffixes = suffixes
        self._known: dict[Path, dict[str, list[str]]] = {}

    def read(self, folders: Iterable[Path]) -> None:
        """List some folders, in parallel."""
        new = sorted(set(folders) - set(self._known))
        with ThreadPoolExecutor(READERS) as pool:
            self._known |= zip(new, pool.map(self._listing, new), strict=True)

    def fitting(self, path: Path) -> list[str]:
        """The names that a path means: the one that is called so; without a suffix any; with one also that without."""
        if path.parent not in self._known:
            self._known[path.parent] = self._listing(path.parent)
        name = path.name
        there = self._known[path.parent].get(self._stem(name), [])
        if name in there:
            return [name]
        return [
            one for one in there if name == self._stem(name) or one == self._stem(one) or one.lower() == name.lower()
        ]

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        try:
            for entry in sorted(os.listdir(folder)):  # noqa: PTH208 - names alone
                found[self._stem(entry)].append(entry)
        except OSError:  # not there, or not for us: what it should hold is missing
            return {}
        return found

    def _stem(self, name: str) -> str:
        suffix = next((suffix for suffix in self._suffixes if name.lower().endswith(suffix)), "")
        return name[: len(name) - len(suffix)]


def images_in(root: Path, folders: tuple[str, ...]) -> dict[str, Path]:
    """file name -> path of every image in `root` and in `folders` below it; of several alike the last counts."""
    found = {}
    for folder in (root, *(root / name for name in folders)):
        if folder.is_dir():
            with os.scandir(folder) as entries:
                found.update({entry.name: folder / entry.name for entry in entries if _is_image(entry)})
    return found


def begins_as_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM, whatever it is called; OSError where it cannot be read."""
    with path.open("rb") as file:
        file.seek(DICOM_AT)
        return file.read(len(DICOM_MARK)) == DICOM_MARK


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
        raise InputError(f"{root} is a file; give the folder with the {name} images", unpack(root) or access)
    base = next((base for base in (root, root / folder) if any((base / label).is_dir() for label in classes)), root)
    there = sorted(path for path in base.iterdir() if not path.name.startswith("."))
    missing = [label for label in classes if not (base / label).is_dir()]
    if missing:
        others = [path.name for path in there if path.is_dir() and path.name not in classes]
        wanted = ", ".join(f"{label}{nearest(label, others)}" for label in missing)
        holds = ", ".join(path.name for path in there[:10]) or "nothing"
        more = f" and {len(there) - 10:,} more" if len(there) > 10 else ""
        archive = next(filter(None, map(unpack, there)), "")
        raise InputError(f"{base} has no folder {wanted}; it holds {holds}{more}", archive or access)
    return base


def unpack(path: Path) -> str:
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
