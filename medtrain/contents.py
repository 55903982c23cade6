"""The hash of every file of a dataset, kept until it is packed: to read a terabyte twice takes a night."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from medtrain.console import Progress
from medtrain.durable import write_whole
from medtrain.index import npy
from medtrain.record import Record, number_of

ROW = np.dtype([("image", "<u8"), ("changed", "<i8"), ("size", "<u8"), ("content", "<u8")])
AT_ONCE = 5_000  # files whose hashes are kept together: what a killed packer reads again at the most


def contents(records: list[Record], folder: Path, workers: int) -> list[tuple[int, int]]:
    """xxh3-64 and size of the file of each record. What `folder` knows of a file that did not change is not read again.

    An unreadable file counts as its own content, and is rejected when it is packed.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = {int(row["image"]): row for rows in _kept(folder) for row in rows}
    progress = Progress(len(records), "reading", "images")
    found: list[tuple[int, int]] = []
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(records), AT_ONCE):
            some = records[start : start + AT_ONCE]
            rows, new = [], []
            for row, was_known in pool.map(lambda record: _row(record, known), some):
                rows.append(row)
                new += [] if was_known else [row]
                progress.advance()
            found += [(content, size) for _, _, size, content in rows]
            if new:
                write_whole(folder / f"{secrets.token_hex(8)}.npy", npy(np.array(new, ROW)))
    progress.close()
    return found


def _row(record: Record, known: dict[int, np.void]) -> tuple[tuple[int, int, int, int], bool]:
    """(image, time of the last change, size, content) of a record's file, and whether it was known."""
    image = number_of(record.source, record.image)
    try:
        stat = record.path.stat()
        row = known.get(image)
        if row is not None and (row["changed"], row["size"]) == (stat.st_mtime_ns, stat.st_size):
            return (image, stat.st_mtime_ns, stat.st_size, int(row["content"])), True
        data = record.path.read_bytes()
    except OSError:
        return (image, 0, 0, number_of("unreadable", record.source, record.image)), True
    return (image, stat.st_mtime_ns, len(data), xxhash.xxh3_64_intdigest(data)), False


def _kept(folder: Path) -> Iterator[npt.NDArray[np.void]]:
    for path in sorted(folder.glob("*.npy")):
        rows = np.load(path, allow_pickle=False)
        if rows.dtype == ROW:
            yield rows
