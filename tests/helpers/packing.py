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
LOSSLESS = PackOptions(shard_mb=0.01, encoding="tiff")


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file, hidden ones too."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*")}


def packed(records: list[Record], out: Path, options: PackOptions = SMALL, **more: Any) -> dict[str, Any]:
    return pack(records, demo.CLASSES, out, options, **{"workers": 1, **more})


def pack_files(raw: Path, out: Path) -> dict[str, Any]:
    """The image files of a folder, decoded, as a dataset of two labels; none may be rejected."""
    records = [
        Record("somewhere", path.name, path, {"a": number % 2, "b": 1 - number % 2})
        for number, path in enumerate(sorted(raw.iterdir()))
    ]
    return pack(records, ("a", "b"), out, LOSSLESS, workers=1, max_rejects=0)
