"""The hash of every file of a dataset, kept until it is packed: to read a terabyte twice takes a night."""

from __future__ import annotations

import errno
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import xxhash

from medtrain.core.errors import InputError, MachineError
from medtrain.core.files import pieces, write_whole
from medtrain.core.isolated_processes import Ended, Pool, Work, announce
from medtrain.core.progress import Progress
from medtrain.core.regular_files import opened, whole_file
from medtrain.datasets.record import Record, number_of
from medtrain.imaging import pixel_limit
from medtrain.imaging.decode import extension
from medtrain.imaging.dicom import is_dicom
from medtrain.imaging.video import dicom_clip, reader
from medtrain.shards.npy import npy

Answer = TypeVar("Answer")
Row = tuple[int, int, int, int, int]
ROW = np.dtype([("image", "<u8"), ("changed", "<i8"), ("size", "<u8"), ("content", "<u8"), ("frames", "<u8")])
# Of a file that is not there, is a folder, or is not for us. Any other error may pass: a stale handle, a busy server.
FOR_GOOD = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL,
)  # fmt: skip
WAITS_S = (0.5, 2.0)  # before another try
VIDEOS_AT_ONCE = 16  # whose headers a process reads in one go
ASK = -1  # in place of the frames of a video, whose header C code reads
AT_ONCE = 5_000  # files whose hashes are kept together: at most what a killed packer reads again


def hash_files(records: list[Record], folder: Path, pool: Pool, clips: bool = False) -> list[tuple[int, int]]:
    """xxh3-64 and size of the file of each record; of `clips` their frames instead of a size. What `folder` knows of a
    file that did not change is not read again.

    What is no image (nothing, a page that says that one must log in) ties nobody to anybody: it counts as a content of
    its own, and is rejected when it is packed. MachineError where a file cannot be read for now.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    known = {int(row["image"]): row for rows in _kept(folder) for row in rows}
    progress = Progress(len(records), "reading", "clips" if clips else "images")
    found: list[tuple[int, int]] = []
    with ThreadPoolExecutor(pool.workers) as threads:
        for start in range(0, len(records), AT_ONCE):
            some = records[start : start + AT_ONCE]
            rows, new = [], []
            for row, was_known in threads.map(lambda record: _row(record, known, clips), some):
                rows.append(row)
                new += [] if was_known else [len(rows) - 1]
                progress.advance()
            _ask(some, rows, pool)
            found += [(content, frames if clips else size) for _, _, size, content, frames in rows]
            if new:
                write_whole(folder / f"{secrets.token_hex(8)}.npy", npy(np.array([rows[place] for place in new], ROW)))
    progress.close()
    return found


def _row(record: Record, known: dict[int, np.void], clips: bool) -> tuple[Row, bool]:
    """What ROW holds of a record's file, and whether it was known."""
    image = number_of(record.source, record.image)
    try:
        stat = _patiently(record.path.stat, record.path)
        row = known.get(image)
        if row is not None and (row["changed"], row["size"]) == (stat.st_mtime_ns, stat.st_size):
            return (image, stat.st_mtime_ns, stat.st_size, int(row["content"]), int(row["frames"])), True
        content, size = hashed(record.path)
        frames = _frames_told(record.path) if clips else _no_frames(record.path)
    except (OSError, ValueError, MemoryError):
        return _unreadable(record), True
    return (image, stat.st_mtime_ns, size, content, frames), False


def _unreadable(record: Record) -> Row:
    image = number_of(record.source, record.image)
    return image, 0, 0, number_of("unreadable", record.source, record.image), 0


def _no_frames(path: Path) -> int:
    """0, where it is an image; else a ValueError."""
    extension(beginning(path))
    return 0


def _frames_told(path: Path) -> int:
    """By the header of a DICOM clip; ASK for a video."""
    return dicom_clip.header(path).frames if is_dicom(beginning(path)) else ASK


def _ask(records: list[Record], rows: list[Row], pool: Pool) -> None:
    """Put the frames of the videos among the rows in the place of ASK."""
    asked = [number for number, row in enumerate(rows) if row[-1] == ASK]
    tasks = [asked[start : start + VIDEOS_AT_ONCE] for start in range(0, len(asked), VIDEOS_AT_ONCE)]
    for task, counts in pool.run(
        COUNTING, [Videos([records[number].path for number in numbers], pixel_limit.most()) for numbers in tasks]
    ):
        for number, frames in zip(tasks[task], counts, strict=True):
            rows[number] = (*rows[number][:-1], frames) if frames else _unreadable(records[number])


class Videos(NamedTuple):
    """Whose headers a process reads in one go, with the pixels that their frames may have."""

    paths: list[Path]
    max_pixels: int


def _counts(videos: Videos, ended: Ended) -> list[int]:
    return [0 if number in ended else _count(videos, number) for number in range(len(videos.paths))]


def _count(videos: Videos, number: int) -> int:
    """The frames that a video's header tells; 0 where it cannot be read."""
    announce(number)
    try:
        with pixel_limit.allowed(videos.max_pixels):
            return reader.header(videos.paths[number]).frames
    except (OSError, ValueError, MemoryError):
        return 0


COUNTING = Work(_counts, _count)


def read(path: Path) -> bytes:
    """A file's bytes; OSError where that is for good, MachineError where the filesystem does not give them for now."""
    return _patiently(lambda: whole_file(path), path)


def hashed(path: Path) -> tuple[int, int]:
    """xxh3-64 and size of a file, read in pieces, because a clip may be of gigabytes; errors as of `read`."""
    return _patiently(lambda: _hashed(path), path)


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
                fix = "check the filesystem, then give the same command again: it continues with what is missing"
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
        with opened(path) as file:
            return file.read(132)
    except OSError:
        return b""


def _kept(folder: Path) -> Iterator[npt.NDArray[np.void]]:
    for path in sorted(folder.glob("*.npy")):
        rows = np.load(path, allow_pickle=False)
        if rows.dtype == ROW:
            yield rows
