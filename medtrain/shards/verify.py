"""Prove that a packed dataset is whole: sizes, every byte, every image, and no leak between splits."""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib import recfunctions as structured

from medtrain.core.counts import are, counted
from medtrain.core.errors import InputError
from medtrain.core.files import file_sha256
from medtrain.core.progress import Progress
from medtrain.imaging.decode import decode
from medtrain.shards.index import ShardIndex, check_size, load_index, read_rows
from medtrain.shards.manifest_check import manifest_faults
from medtrain.shards.npy import npy
from medtrain.shards.packed_dataset import PackedDataset
from medtrain.shards.tar_writer import rest_crc32

Level = Literal["quick", "crc", "decode"]


def verify_shards(folder: Path, level: Level = "quick", workers: int = 0) -> list[str]:
    """Every fault of a packed dataset, one sentence each with the shard and sample; empty when it is whole.

    `quick` compares sizes, indexes and the manifest, and looks for patients or identical images in two splits; `crc`
    reads all bytes (crc32 of every image and of what lies between, sha256 of every shard); `decode` decodes every image
    besides.
    """
    faults: list[str] = []
    indexes: list[ShardIndex] = []
    packed = PackedDataset.open(folder)
    for split in packed.splits:
        try:
            index = load_index(folder, split)
        except InputError as error:
            where = _index_difference(folder, split, [shard.name for shard in packed.shards(split)])
            faults.append(f"{error.problem}{where}; the images of this split were not checked")
            continue
        indexes.append(index)
        for number in range(len(index.shards)):
            faults += _size_fault(index, number) + _part_fault(index, number)
    faults += manifest_faults(packed, indexes) + leaks(indexes)
    if level != "quick":
        faults += _read_all(indexes, decode_too=level == "decode", workers=workers or len(os.sched_getaffinity(0)))
    return faults


def notes(folder: Path) -> list[str]:
    """What a packed dataset lacks that newer ones have, which is no fault of it."""
    sealed = PackedDataset.open(folder).sealed
    return [] if sealed else ["manifest.json has no checksum (packed by an older medtrain): compared with the indexes"]


def leaks(indexes: list[ShardIndex]) -> list[str]:
    """Patients and byte-identical images that stand in two splits, with the first of them."""
    found = []
    for one, other in combinations(indexes, 2):
        for column, what in (("group", "patients"), ("content", "byte-identical images")):
            shared, first, second = np.intersect1d(one.samples[column], other.samples[column], return_indices=True)
            if len(shared):
                example = f"{_name(one, one.samples[first[0]])} and {_name(other, other.samples[second[0]])}"
                found.append(f"{len(shared)} {what} stand in both {one.split} and {other.split}: first {example}")
    return found


# ---- indexes and sizes ----------------------------------------------------------------------------------------------


def _rows(index: ShardIndex, number: int) -> npt.NDArray[Any]:
    return index.samples[index.samples["shard"] == number]  # type: ignore[no-any-return]


def _name(index: ShardIndex, row: Any) -> str:
    return f"{index.shard_path(int(row['shard']))}: sample {row['key'].decode()} at byte {row['offset']}"


def _size_fault(index: ShardIndex, number: int) -> list[str]:
    path = index.shard_path(number)
    try:
        check_size(path, index.shards[number].bytes)
    except InputError as error:
        rows = _rows(index, number)
        lost = rows[rows["offset"] + rows["size"] > (path.stat().st_size if path.exists() else 0)]
        return [
            error.problem
            + (
                f"; {counted(len(lost), 'images')} {are(len(lost))} lost: first {_name(index, lost[0])}"
                if len(lost)
                else ""
            )
        ]
    return []


def _part_fault(index: ShardIndex, number: int) -> list[str]:
    """A shard's own .idx is read again when another shard must be packed again, so it has to be right too."""
    rows = _rows(index, number)
    rows["shard"] = 0
    path = index.shard_path(number).with_suffix(".idx")
    found = _unlike(path, rows)
    return [f"{path}: {found}"] if found else []


def _index_difference(folder: Path, split: str, names: list[str]) -> str:
    """Where a split's index, which does not match its digest, differs from the shards' own; empty where unknown."""
    try:
        parts = [read_rows((folder / name).with_suffix(".idx"), writable=True) for name in names]
    except (OSError, ValueError, EOFError):
        return ""
    for number, rows in enumerate(parts):
        rows["shard"] = number
    merged = np.concatenate(parts)
    found = _unlike(folder / f"{split}.idx", merged)
    return f" ({found})" if found else ""


def _unlike(path: Path, rows: npt.NDArray[Any]) -> str:
    """How an .idx differs from the one that holds `rows`; empty where it does not, or is not there."""
    expected = npy(rows)
    actual = path.read_bytes() if path.exists() else expected
    if b"'study'" not in actual[:512]:  # written before there were studies
        rows = structured.repack_fields(structured.drop_fields(rows, "study"))
        expected = npy(rows)
    if actual == expected:
        return ""
    if len(actual) != len(expected):
        return f"has {len(actual):,} bytes instead of {len(expected):,}"
    position = int(np.flatnonzero(np.frombuffer(actual, np.uint8) != np.frombuffer(expected, np.uint8))[0])
    row = (position - (len(expected) - rows.nbytes)) // rows.itemsize
    return f"is damaged at sample {rows[row]['key'].decode()}" if row >= 0 else "is damaged in its header"


# ---- bytes and images -----------------------------------------------------------------------------------------------


def _read_all(indexes: list[ShardIndex], decode_too: bool, workers: int) -> list[str]:
    tasks = [(index, number) for index in indexes for number in range(len(index.shards))]
    progress = Progress(sum(len(index) for index in indexes), "verifying", "images")
    faults: list[str] = []
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda task: _read_shard(task[0], task[1], decode_too), tasks)
        for (index, number), found in zip(tasks, results, strict=True):
            faults += found
            progress.advance(index.shards[number].samples)
    progress.close()
    return faults


def _read_shard(index: ShardIndex, number: int, decode_too: bool) -> list[str]:
    """Faults of one shard's bytes. Where it is missing or cut off, `_size_fault` has told of the samples lost."""
    path = index.shard_path(number)
    if not path.exists():
        return []
    rows = _rows(index, number)
    rows = rows[rows["offset"] + rows["size"] <= path.stat().st_size]
    faults = []
    with path.open("rb") as file:
        for row, rest in zip(rows, rest_crc32(file, rows), strict=True):
            data = os.pread(file.fileno(), int(row["size"]), int(row["offset"]))
            if zlib.crc32(data) != row["crc32"]:
                faults.append(f"{_name(index, row)}: the bytes do not match their checksum")
            elif rest != row["rest_crc32"]:
                faults.append(f"{_name(index, row)}: its tar headers or labels do not match their checksum")
            elif decode_too:
                try:
                    decode(data)  # of a clip the first frame: the others have no codec that could fail
                except ValueError as error:
                    faults.append(f"{_name(index, row)}: {error}")
    if not faults and path.stat().st_size == index.shards[number].bytes:
        faults += _sha256_fault(path, index.shards[number].sha256)
    return faults


def _sha256_fault(path: Path, expected: str) -> list[str]:
    return [] if file_sha256(path) == expected else [f"{path}: does not match the sha256 in manifest.json"]
