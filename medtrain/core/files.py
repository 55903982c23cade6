"""Files that are whole or absent after a crash: write, fsync, rename, fsync the folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from medtrain.core.errors import InputError
from medtrain.core.regular_files import opened

PIECE_BYTES = 1 << 22


def pieces(path: Path) -> Iterator[bytes]:
    """A file's bytes, some megabytes at a time: a clip or a shard may have gigabytes."""
    with opened(path) as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    for piece in pieces(path):
        digest.update(piece)
    return digest.hexdigest()


UNFINISHED = ".unfinished"  # ends the hidden name of a file that is being written


@contextmanager
def whole(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write that gets its name when it is whole and on the disk, or not at all; `mode` as of `os.open`.

    The hidden name before is nobody else's: an orphan of a killed writer cannot rename what its successor writes, nor
    one on another node what this one does.
    """
    hidden = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{UNFINISHED}")
    try:
        with open(hidden, "w+b", opener=partial(os.open, mode=mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_whole(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Give `path` these bytes, all or none."""
    with whole(path, mode) as file:
        file.write(data)


@contextmanager
def locked(path: Path, wait: bool) -> Iterator[bool]:
    """Hold the system's lock of a file, which is made where it is not there (flock(2)); False where another process has
    it and this one does not `wait`. A filesystem without locks keeps nobody out."""
    own = True
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            own = False
        except OSError:
            pass
        yield own


@contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Hold a folder: two at once would sweep away or mix what each other has half written. InputError where another
    process is `doing` the same."""
    with locked(folder / ".lock", wait=False) as own:
        if not own:
            raise InputError(f"{folder}: another process is {doing} it", "wait until that one is done")
        yield


def sweep(folder: Path) -> None:
    """Remove the files and folders that killed processes left half written in a folder; nobody may be writing there."""
    for litter in folder.glob(f".*{UNFINISHED}"):
        if litter.is_dir():
            shutil.rmtree(litter, ignore_errors=True)
        else:
            litter.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
