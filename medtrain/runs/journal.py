"""metrics.jsonl, the truth about the curve: one JSON object a line, and in each checkpoint a proof of all before it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from medtrain.core.files import sync_folder, whole
from medtrain.runs.step_times import KEYS

PIECE_BYTES = 1 << 22
SUSPENDED = "suspended_seconds"  # in a line: how much of the time since the line before its rank was stopped
NOT_COMPUTED = ("time", SUSPENDED, *KEYS.values())  # what differs between two runs of the same numbers


@dataclass(frozen=True)
class Claim:
    """The journal up to a checkpoint: so many bytes with that xxh3, which a manifest holds."""

    bytes: int
    xxh3: str
    descriptor: int = -1  # of the open file
    error: OSError | None = None  # where not all of it could be written

    def made_durable(self) -> dict[str, Any]:
        """The entry for the manifest, once the bytes are on the disk; for any thread. Raises OSError."""
        if self.error is not None:
            raise self.error
        os.fsync(self.descriptor)
        return {"journal": {"bytes": self.bytes, "xxh3": self.xxh3}}


class Journal:
    """Appends lines and never changes one. A full disk delays lines and loses none."""

    def __init__(self, path: Path) -> None:
        """Go on behind what is there; `cut` has left no half a line."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._digest, self._bytes = _hashed(path)
        self._pending = b""

    def write(self, row: dict[str, Any]) -> None:
        """Add a line; one that does not fit on the disk now is written with the next."""
        self._pending += json.dumps(row).encode() + b"\n"
        with contextlib.suppress(OSError):
            self._drain()

    def claim(self) -> Claim:
        """What a checkpoint may say of the lines up to now; to be taken by the thread that writes them."""
        error = None
        try:
            self._drain()
        except OSError as failure:
            error = failure
        return Claim(self._bytes, self._digest.hexdigest(), self._descriptor, error)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _drain(self) -> None:
        while self._pending:
            written = os.write(self._descriptor, self._pending)
            self._digest.update(self._pending[:written])
            self._bytes += written
            self._pending = self._pending[written:]


def find_corruption(path: Path, entry: dict[str, Any]) -> str:
    """How the journal differs from what a checkpoint's manifest says of it, in words; empty where it does not."""
    there = path.stat().st_size if path.exists() else 0
    if there < entry["bytes"]:
        return f"{path.name} has {there:,} bytes, and {entry['bytes']:,} were written by then"
    if _hashed(path, entry["bytes"])[0].hexdigest() != entry["xxh3"]:
        return f"{path.name} is not what had been written by then"
    return ""


def free_name(path: Path) -> Path:
    """metrics.jsonl.damaged-N, the first that is not there."""
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in range(1, 10_000))
    return next(name for name in names if not name.exists())


def keep_damaged(path: Path) -> Path:
    """A copy of a damaged journal beside it: nothing of it is lost."""
    kept = free_name(path)
    with path.open("rb") as file, whole(kept, 0o640) as copy:
        shutil.copyfileobj(file, copy)
    return kept


def rows(path: Path, kind: str = "") -> Iterator[dict[str, Any]]:
    """The lines of a journal, of one `kind` where one is given; a damaged line, or one that is cut off, is left out."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        yield from (row for row in map(parsed, file) if row and row["kind"] == (kind or row["kind"]))


def cut(path: Path, entry: dict[str, Any] | None, step: int, epoch: int) -> int:
    """Drop what came after a checkpoint, in place: behind the bytes of its `entry`, which must have been verified;
    where it has none, behind the last line that is of it (steps up to `step`, epochs up to `epoch`).

    Returns how many lines in what stays are damaged, which only the latter can leave.
    """
    if not path.exists():
        return 0
    end, damaged = (entry["bytes"], 0) if entry else _end_of(path, step, epoch)
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)
    return damaged


def _end_of(path: Path, step: int, epoch: int) -> tuple[int, int]:
    """Where the last line of a checkpoint ends, and how many damaged ones lie before."""
    end = place = damaged = unsure = 0
    with path.open("rb") as file:
        for line in file:
            place += len(line)
            row = parsed(line)
            if not row:
                unsure += 1
            elif (row["step"] > step) if row["kind"] == "step" else (row["epoch"] > epoch):
                break
            else:
                end, damaged = place, unsure
    return end, damaged


def parsed(line: bytes) -> dict[str, Any]:
    """What a whole line says: its kind, step, epoch and time at least. `{}` where it is damaged or cut off."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        return {}
    kinds = {"step": (int,), "epoch": (int,), "time": (int, float)}
    sound = isinstance(row, dict) and all(type(row.get(name)) in kind for name, kind in kinds.items())
    return row if sound and row.get("kind") in ("step", "epoch") else {}


def _hashed(path: Path, most: int | None = None) -> tuple[Any, int]:
    """The running xxh3-128 of the first `most` bytes (None: of all), and how many they are."""
    digest, size = xxhash.xxh3_128(), 0
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        while piece := file.read(PIECE_BYTES if most is None else min(PIECE_BYTES, most - size)):
            digest.update(piece)
            size += len(piece)
    return digest, size
