"""What shards tell of their samples besides pixels and labels: sex, age, view, where a source has them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.shards.index import ShardIndex
from medtrain.shards.tar_writer import sidecar

READERS = 16  # reading from a shared filesystem is waiting


def metadata_of(index: ShardIndex, rows: npt.NDArray[Any]) -> list[dict[str, Any]]:
    """The `meta` of some rows of an index, in their order."""
    about: list[dict[str, Any]] = [{}] * len(rows)
    with ThreadPoolExecutor(READERS) as pool:
        for shard in np.unique(rows["shard"]).tolist():
            with index.shard_path(shard).open("rb") as file:
                own = np.flatnonzero(rows["shard"] == shard)
                found = pool.map(sidecar, [file] * len(own), rows[own])
                for i, told in zip(own.tolist(), found, strict=True):
                    about[i] = told["meta"]
    return about
