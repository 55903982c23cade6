"""The hash of every file of a dataset, kept until it is packed: to read a terabyte twice takes a night."""

from __future__ import annotations

import errno
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import xxhash

from medtrain import video
from medtrain.console import Progress
from medtrain.decode import extension
from medtrain.durable import write_whole
from medtrain.errors import InputError, MachineError
from medtrain.index import npy
from medtrain.record import Record, number_of

Answer = TypeVar("Answer")
ROW = np.dtype([("image", "<u8"), ("changed", "<i8"), ("size", "<u8"), ("content", "<u8"), ("frames", "<u8")])
# Of a file that is not there, is a folder, or is not for us. Any other error may pass: a stale handle, a busy server.
FOR_GOOD = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL,
)  # fmt: skip
WAITS_S = (0.5, 2.0)  # before another try
PIECE_BYTES = 1 << 22
AT_ONCE = 5_000  # files whose hashes are kept together: what a killed packer reads again at the most


def contents(records: list[Record], folder: Path, workers: int, clips: bool = False) -> list[tuple[int, int]]:
    """xxh3-64 and size of the file of each record; of `clips` their frames instead of a size. What `folder` knows of a
    file that did not change is not read again.

    What is no image (nothing, a page that says that one must log in) ties nobody to anybody: it counts as a content of
    its own, and is rejected when it is packed. MachineError where a file cannot be read for now.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = {int(row["image"]): row for rows in _kept(folder) for row in rows}
    progress = Progress(len(records), "reading", "clips" if clips else "images")
    found: list[tuple[int, int]] = []
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(records), AT_ONCE):
            some = records[start : start + AT_ONCE]
            rows, new = [], []
            for row, was_known in pool.map(lambda record: _row(record, known, clips), some):
                rows.append(row)
                new += [] if was_known else [row]
                progress.advance()
            found += [(content, frames if clips else size) for _, _, size, content, frames in rows]
            if new:
                write_whole(folder / f"{secrets.token_hex(8)}.npy", npy(np.array(new, ROW)))
    progress.close()
    return found


def _row(record: Record, known: dict[int, np.void], clips: bool) -> tuple[tuple[int, int, int, int, int], bool]:
    """What ROW holds of a record's file, and whether it was known."""
    image = number_of(record.source, record.image)
    try:
        stat = _patiently(record.path.stat, record.path)
        row = known.get(image)
        if row is not None and (row["changed"], row["size"]) == (stat.st_mtime_ns, stat.st_size):
            return (image, stat.st_mtime_ns, stat.st_size, int(row["content"]), int(row["frames"])), True
        content, size = hashed(record.path)
        frames = video.header(record.path).frames if clips else _no_frames(record.path)
    except (OSError, ValueError):
        return (image, 0, 0, number_of("unreadable", record.source, record.image), 0), True
    return (image, stat.st_mtime_ns, size, content, frames), False


def _no_frames(path: Path) -> int:
    """0, where it is an image; else a ValueError."""
    extension(beginning(path))
    return 0


def read(path: Path) -> bytes:
    """A file's bytes; OSError where that is for good, MachineError where the filesystem does not give them for now."""
    return _patiently(path.read_bytes, path)


def hashed(path: Path) -> tuple[int, int]:
    """xxh3-64 and size of a file, read in pieces, because a clip may be of gigabytes; errors as of `read`."""
    return _patiently(lambda: _hashed(path), path)


def pieces(path: Path) -> Iterator[bytes]:
    """A file's bytes, some megabytes at a time: a clip or a shard may have gigabytes."""
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _hashed(path: Path) -> tuple[int, int]:
    digest, size = xxhash.xxh3_64(), 0
    for piece in pieces(path):
        digest.update(piece)
        size += len(piece)
    return digest.intdigest(), size


def _patiently(ask: Callable[[], Answer], path: Path) -> Answer:
    waits = iter(WAITS_S)
    while True:
        try:
            return ask()
        except OSError as error:
            if error.errno in FOR_GOOD:
                raise
            wait = next(waits, None)
            if wait is None:
                fix = "look at the filesystem, then give the same command again: it goes on with what is missing"
                raise MachineError(f"{path}: cannot be read for now ({error.strerror})", fix) from None
        time.sleep(wait)


def there(path: Path) -> bool:
    """Whether a file is there; InputError where nobody may look."""
    try:
        return path.exists()
    except OSError as error:
        raise InputError(f"{path}: cannot be looked for ({error.strerror})", "ask its owner to let you") from None


def beginning(path: Path) -> bytes:
    """Enough of a file to tell what kind it is; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(132)
    except OSError:
        return b""


def _kept(folder: Path) -> Iterator[npt.NDArray[np.void]]:
    for path in sorted(folder.glob("*.npy")):
        rows = np.load(path, allow_pickle=False)
        if rows.dtype == ROW:
            yield rows
