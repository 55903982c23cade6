"""One tar shard and its .idx, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import xxhash

from medtrain.contents import read
from medtrain.decode import decode, extension
from medtrain.durable import whole, write_whole
from medtrain.encode import encode
from medtrain.index import npy
from medtrain.plan import PackOptions, Planned
from medtrain.texts import without_texts


def pack_shard(path: Path, samples: list[Planned], row: np.dtype[Any], options: PackOptions) -> None:
    """Write one tar and its .idx of such rows. Both appear under their names only when whole and on the disk."""
    rows = np.zeros(len(samples), row)
    rejects: list[dict[str, str]] = []
    kept = 0
    with whole(path) as file:
        tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)
        for sample in samples:
            data, reason = _image(sample, options)
            if reason:
                rejects.append({"image": sample.image, "reason": reason})
                continue
            rows[kept] = (
                tar.offset + 512,
                sample.group,
                sample.study,
                sample.content,
                len(data),
                zlib.crc32(data),
                0,  # known when the end of the sample is
                0,
                sample.key,
                sample.labels,
            )
            _add(tar, f"{sample.key}.{extension(data)}", data)
            _add(tar, f"{sample.key}.json", _sidecar(sample))
            kept += 1
        tar.close()
        file.flush()
        rows["rest_crc32"][:kept] = rest_crc32(file, rows[:kept])
    listed = path.with_suffix(".rejects.jsonl")
    if rejects:
        write_rejects(listed, rejects)
    else:
        listed.unlink(missing_ok=True)  # of an earlier try, when a file was not there
    write_whole(path.with_suffix(".idx"), npy(rows[:kept]))


def write_rejects(path: Path, rejects: list[dict[str, str]]) -> None:
    """Which images cannot be used, and why: for the owner alone, because a file's name may be that of a patient."""
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rejects).encode(), 0o600)


def sidecar(shard: BinaryIO, row: np.void) -> dict[str, Any]:
    """What a shard tells of the sample that a row of its index names: the JSON file behind the image."""
    header = int(row["offset"]) + -(-int(row["size"]) // 512) * 512
    size = int(os.pread(shard.fileno(), 12, header + 124).split(b"\0")[0], 8)
    found: dict[str, Any] = json.loads(os.pread(shard.fileno(), size, header + 512))
    return found


def rest_crc32(shard: BinaryIO, rows: npt.NDArray[Any]) -> list[int]:
    """For each sample of a shard, the crc32 of its bytes besides the image: tar headers, padding, labels.

    The tar's end counts to its last sample, so that every byte of the file is in one checksum.
    """
    file = shard.fileno()
    starts = [int(offset) - 512 for offset in rows["offset"]]
    ends = [*starts[1:], os.fstat(file).st_size][: len(starts)]
    sums = []
    for row, start, end in zip(rows, starts, ends, strict=True):
        after = start + 512 + int(row["size"])
        sums.append(zlib.crc32(os.pread(file, max(0, end - after), after), zlib.crc32(os.pread(file, 512, start))))
    return sums


def _image(sample: Planned, options: PackOptions) -> tuple[bytes, str]:
    """The bytes of a sample's image in the shard, and why it cannot be used (empty: it can)."""
    try:
        data = read(Path(sample.path))
        pixels = decode(data)
        if xxhash.xxh3_64_intdigest(data) != sample.content:
            return b"", "the file changed while the dataset was packed"
        return (
            without_texts(data) if options.encoding == "copy" else encode(pixels, options.encoding, options.size)
        ), ""
    except (OSError, ValueError) as error:
        return b"", str(error.strerror if isinstance(error, OSError) else error)


def _sidecar(sample: Planned) -> bytes:
    value = {"key": sample.key, "labels": sample.labels, "raw": sample.raw, "meta": sample.meta}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without time, owner or rights of its own, so that the bytes are the same each time."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o444
    tar.addfile(member, io.BytesIO(data))


def file_sha256(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()
