"""The drawn dataset of the tests, packed into several small shards."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from medtrain.datasets.record import Record
from medtrain.datasets.sources import demo
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions

SMALL = PackOptions(shard_mb=0.1)


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file, hidden ones too."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*")}


def packed(records: list[Record], out: Path, options: PackOptions = SMALL, **more: Any) -> dict[str, Any]:
    return pack(records, demo.CLASSES, out, options, **{"workers": 1, **more})
