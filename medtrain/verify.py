"""Prove that a packed dataset is whole: sizes, every byte, every image, and no leak between splits."""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from medtrain.console import Progress
from medtrain.decode import decode
from medtrain.errors import InputError
from medtrain.index import ShardIndex, check_size, open_index, read_manifest
from medtrain.shards import file_sha256

Level = Literal["quick", "crc", "decode"]


def verify_shards(folder: Path, level: Level = "quick", workers: int = 0) -> list[str]:
    """Every fault of a packed dataset, one sentence each; empty when it is whole.

    `quick` compares sizes and index digests and looks for patients or identical images in two splits; `crc` reads
    all bytes (crc32 of every image, sha256 of every shard); `decode` decodes every image besides.
    """
    manifest = read_manifest(folder)
    faults: list[str] = []
    indexes: list[ShardIndex] = []
    for split, entry in manifest["splits"].items():
        for shard in entry["shards"]:
            try:
                check_size(folder / shard["name"], shard["bytes"])
            except InputError as error:
                faults.append(error.problem)
        if not any(f"{split}-" in fault for fault in faults):
            try:
                indexes.append(open_index(folder, split))
            except InputError as error:
                faults.append(error.problem)
    faults += leaks(indexes)
    if level != "quick":
        faults += _read_all(indexes, decode_too=level == "decode", workers=workers or len(os.sched_getaffinity(0)))
    return faults


def leaks(indexes: list[ShardIndex]) -> list[str]:
    """Patients (or groups) and byte-identical images that stand in two splits."""
    found = []
    for one, other in combinations(indexes, 2):
        for column, what in (("group", "patients"), ("content", "byte-identical images")):
            shared = np.intersect1d(one.samples[column], other.samples[column])
            if len(shared):
                found.append(f"{len(shared)} {what} stand in both {one.split} and {other.split}")
    return found


def _read_all(indexes: list[ShardIndex], decode_too: bool, workers: int) -> list[str]:
    tasks = [(index, number) for index in indexes for number in range(len(index.shards))]
    progress = Progress(sum(len(index) for index in indexes), "verifying", "images")
    faults: list[str] = []
    with ThreadPoolExecutor(workers) as pool:
        for (index, number), found in zip(tasks, pool.map(lambda t: _read_shard(*t, decode_too), tasks), strict=True):
            faults += found
            progress.advance(index.shards[number].samples)
    progress.close()
    return faults


def _read_shard(index: ShardIndex, number: int, decode_too: bool) -> list[str]:
    path = index.shard_path(number)
    faults = []
    with path.open("rb") as file:
        for row in index.samples[index.samples["shard"] == number]:
            data = os.pread(file.fileno(), int(row["size"]), int(row["offset"]))
            name = f"{path}: sample {row['key'].decode()} at byte {row['offset']}"
            if zlib.crc32(data) != row["crc32"]:
                faults.append(f"{name}: the bytes do not match their checksum")
            elif decode_too:
                try:
                    decode(data)
                except ValueError as error:
                    faults.append(f"{name}: {error}")
    if not faults and file_sha256(path) != index.shards[number].sha256:
        faults.append(f"{path}: bytes outside the images (tar headers or labels) do not match the shard's sha256")
    return faults
