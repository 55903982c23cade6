"""What each file of a raw dataset turns out to be, looked at by several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import xxhash

from medtrain import video
from medtrain.console import Progress
from medtrain.decode import decode, header
from medtrain.errors import MachineError
from medtrain.orphan import end_with
from medtrain.record import Record

CHUNK, CLIPS_CHUNK = 64, 4  # images and clips that a process gets at a time
PIECE = 2**22  # bytes of a clip that are hashed at a time: a clip may have gigabytes


class Look(NamedTuple):
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


def look_at(records: list[Record], quick: bool, workers: int, quiet: bool, clips: bool = False) -> Iterator[Look]:
    """A Look at the file of each record, in order; `quiet` keeps the progress lines off standard output.

    With `quick`, images are not decoded, and of clips the header alone is read: they then have no digest.
    """
    kind, size = ("clips", CLIPS_CHUNK) if clips else ("images", CHUNK)
    progress = Progress(len(records), "checking", kind, every_seconds=float("inf") if quiet else 30.0)
    chunks = [[record.path for record in records[i : i + size]] for i in range(0, len(records), size)]
    processes = min(workers or len(os.sched_getaffinity(0)), len(chunks))
    try:
        with ProcessPoolExecutor(processes, get_context("spawn"), end_with, (os.getpid(),)) as pool:
            for looks in pool.map(_looks, chunks, repeat(quick), repeat(clips)):
                yield from looks
                progress.advance(len(looks))
    except (BrokenExecutor, MemoryError):
        raise MachineError("a process that checks was killed (out of memory?)", "choose fewer --workers") from None
    finally:
        progress.close()


def _looks(paths: list[Path], quick: bool, clips: bool) -> list[Look]:
    return [(_look_at_clip if clips else _look)(path, quick) for path in paths]


def _look(path: Path, quick: bool) -> Look:
    try:
        data = path.read_bytes()
    except OSError as error:
        return _out_of_reach(error)
    try:
        found = header(data)
        if not quick:
            decode(data)
    except ValueError as error:
        return Look(reason=str(error))
    return Look(True, "", xxhash.xxh3_128_intdigest(data), *found)


def _look_at_clip(path: Path, quick: bool) -> Look:
    """Of a clip that has gigabytes no more than a frame or a piece is in memory."""
    digest = xxhash.xxh3_128()
    try:
        with path.open("rb") as file:
            while not quick and (piece := file.read(PIECE)):
                digest.update(piece)
    except OSError as error:
        return _out_of_reach(error)
    try:
        told = video.header(path)
        if not quick:
            for _ in video.frames(path):  # raises for a frame that cannot be decoded
                pass
    except ValueError as error:
        return Look(reason=str(error))
    return Look(True, "", digest.intdigest(), told.width, told.height, told.colour, told.frames, told.frame_ms)


def _out_of_reach(error: OSError) -> Look:
    return Look(there=not isinstance(error, FileNotFoundError), reason=error.strerror or str(error))
