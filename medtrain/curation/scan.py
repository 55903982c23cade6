"""What each file of a raw dataset turns out to be, looked at by several processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import xxhash

from medtrain.core.errors import MachineError
from medtrain.core.files import pieces
from medtrain.core.isolated_processes import NO_MEMORY, Ended, Lost, Pool, Work, announce
from medtrain.core.progress import Progress
from medtrain.core.regular_files import whole_file
from medtrain.datasets.record import Record
from medtrain.imaging import pixel_limit
from medtrain.imaging.decode import decode, header
from medtrain.imaging.pixel_limit import MAX_PIXELS
from medtrain.imaging.video import reader

CHUNK, CLIPS_CHUNK = 64, 4  # images and clips that a process gets at a time


class FileScan(NamedTuple):
    """What one file turned out to be; `reason` says why it cannot be used, or is empty. `mode` is how colours are
    stored; an image has no `frames`, and a clip that does not tell its time between frames has 0 `frame_ms`."""

    there: bool = True
    reason: str = ""
    digest: int = 0
    width: int = 0
    height: int = 0
    mode: str = ""
    frames: int = 0
    frame_ms: float = 0.0


def scan_files(
    records: list[Record], quick: bool, workers: int, quiet: bool, clips: bool = False, max_pixels: int = MAX_PIXELS
) -> list[FileScan]:
    """A Look at the file of each record, in order; `quiet` keeps the progress lines off standard output.

    With `quick`, images are not decoded, and of clips the header alone is read: they then have no digest.
    """
    kind, size = ("clips", CLIPS_CHUNK) if clips else ("images", CHUNK)
    progress = Progress(len(records), "checking", kind, every_seconds=float("inf") if quiet else 30.0)
    paths = [record.path for record in records]
    tasks = [Task(paths[i : i + size], quick, clips, max_pixels) for i in range(0, len(paths), size)]
    found: list[list[FileScan]] = [[] for _ in tasks]
    try:
        with Pool(min(workers or len(os.sched_getaffinity(0)), len(tasks))) as pool:
            for number, looks in pool.run(LOOKING, tasks):
                found[number] = looks
                progress.advance(len(looks))
    except (Lost, MemoryError) as error:
        how = str(error) or "out of memory?"
        raise MachineError(f"a process that checks was killed ({how})", "choose fewer --workers") from None
    finally:
        progress.close()
    return [look for looks in found for look in looks]


class Task(NamedTuple):
    """The files that a process looks at in one go."""

    paths: list[Path]
    quick: bool
    clips: bool
    max_pixels: int


def _looks(task: Task, ended: Ended) -> list[FileScan]:
    return [
        FileScan(reason=ended[number]) if number in ended else _one(task, number) for number in range(len(task.paths))
    ]


def _one(task: Task, number: int) -> FileScan:
    announce(number)
    try:
        with pixel_limit.allowed(task.max_pixels):
            return (_look_at_clip if task.clips else _look)(task.paths[number], task.quick)
    except MemoryError:
        return FileScan(reason=NO_MEMORY)


LOOKING = Work(_looks, _one)


def _look(path: Path, quick: bool) -> FileScan:
    try:
        data = whole_file(path)
    except OSError as error:
        return _out_of_reach(error)
    try:
        found = header(data)
        pixel_limit.check(found.width, found.height)
        if not quick:
            decode(data)
    except ValueError as error:
        return FileScan(reason=str(error))
    return FileScan(True, "", xxhash.xxh3_128_intdigest(data), *found)


def _look_at_clip(path: Path, quick: bool) -> FileScan:
    """Of a clip that has gigabytes no more than a frame or a piece is in memory."""
    digest = xxhash.xxh3_128()
    try:
        for piece in () if quick else pieces(path):
            digest.update(piece)
        told = reader.header(path)
        if not quick:
            for _ in reader.frames(path):  # raises for a frame that cannot be decoded
                pass
    except OSError as error:
        return _out_of_reach(error)
    except ValueError as error:
        return FileScan(reason=str(error))
    return FileScan(True, "", digest.intdigest(), told.width, told.height, told.colour, told.frames, told.frame_ms)


def _out_of_reach(error: OSError) -> FileScan:
    return FileScan(there=not isinstance(error, FileNotFoundError), reason=error.strerror or str(error))
