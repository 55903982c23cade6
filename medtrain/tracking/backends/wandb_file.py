"""W&B's offline file read back, to know that it holds every step: W&B itself is silent when the disk is full."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

# A log in LevelDB's format (https://github.com/google/leveldb/blob/main/doc/log_format.md), with CRC-32 and a header.
FILE_HEADER = 7
BLOCK = 32 * 1024
CHUNK_HEADER = 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def history(file: Path) -> Iterator[Any]:
    """The logged steps as W&B's `HistoryRecord`s, in order, as far as the file is sound."""
    for record in records(file):
        if record.WhichOneof("record_type") == "history":
            yield record.history


def records(file: Path) -> Iterator[Any]:
    """All that W&B has written as its `Record`s, in order, as far as the file is sound."""
    # Chosen at run time by the version of protobuf, so the type checker does not see it.
    record_type = import_module("wandb.proto.wandb_internal_pb2").Record
    yield from map(record_type.FromString, payloads(file))


def payloads(file: Path) -> Iterator[bytes]:
    """The payloads of the file up to its end or the first damage."""
    data = memoryview(file.read_bytes())
    position, payload = FILE_HEADER, b""
    while position + CHUNK_HEADER <= len(data):
        room = BLOCK - position % BLOCK
        if room < CHUNK_HEADER:  # a chunk's header never crosses blocks
            position += room
            continue
        crc = int.from_bytes(data[position : position + 4], "little")
        size = int.from_bytes(data[position + 4 : position + 6], "little")
        kind = data[position + 6]
        end = position + CHUNK_HEADER + size
        if end > len(data) or zlib.crc32(data[position + 6 : end]) != crc:
            return
        chunk = bytes(data[position + CHUNK_HEADER : end])
        payload = chunk if kind in (WHOLE, FIRST) else payload + chunk
        if kind in (WHOLE, LAST):
            yield payload
        position = end
