"""One tar shard and its .idx, written whole or not at all."""

from __future__ import annotations

import io
import json
import math
import os
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from medtrain.core.files import whole, write_whole
from medtrain.core.isolated_processes import NO_MEMORY, Ended, Work, announce
from medtrain.datasets.record import SCORE
from medtrain.imaging import pixel_limit
from medtrain.imaging.decode import decode, extension
from medtrain.imaging.encode import encode
from medtrain.imaging.strip_metadata import strip_metadata
from medtrain.imaging.video import clip_tiff
from medtrain.imaging.video.clip_frames import prepared
from medtrain.imaging.video.clip_tiff import Shape
from medtrain.shards.file_hashes import hashed, read
from medtrain.shards.npy import npy
from medtrain.shards.plan import PackOptions, PlannedSample

CHANGED = "the file changed while the dataset was packed"
IN_MEMORY = 32 << 20  # bytes of a clip; a longer one goes through a file


@dataclass(frozen=True)
class Shard:
    """A shard to be packed: where, of what, and with rows of which dtype in its index."""

    path: Path
    samples: list[PlannedSample]
    row: np.dtype[Any]
    options: PackOptions


def pack_shard(shard: Shard, ended: Ended) -> None:
    """Write one tar and its .idx. Both appear under their names only when whole and on the disk. The samples in `ended`
    are rejected, for the reason there."""
    path, samples, row, options = shard.path, shard.samples, shard.row, shard.options
    rows = np.zeros(len(samples), row)
    rejects: list[dict[str, str]] = []
    kept = 0
    with whole(path) as file:
        tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)
        for number, sample in enumerate(samples):
            try:
                if number in ended:
                    raise ValueError(ended[number])
                announce(number)
                packed = _packed(sample, options, path.parent)
                scores = (_score(sample),) if "score" in (row.names or ()) and not options.shape else ()
            except (ValueError, MemoryError) as error:
                reason = NO_MEMORY if isinstance(error, MemoryError) else str(error)
                rejects.append({"image": sample.image, "reason": reason})
                continue
            rows[kept] = (
                tar.offset + 512,
                sample.group,
                sample.study,
                sample.content,
                packed.size,
                packed.crc32,
                0,  # known when the end of the sample is
                0,
                sample.key,
                sample.labels,
                *packed.of_a_clip,
                *scores,
            )
            with packed.file:
                _add(tar, f"{sample.key}.{packed.extension}", packed.file, packed.size)
            told = _sidecar(sample)
            _add(tar, f"{sample.key}.json", io.BytesIO(told), len(told))
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


class Packed(NamedTuple):
    """An image or clip as it goes into a shard; `of_a_clip` is what the index tells of a clip besides."""

    file: BinaryIO
    extension: str
    size: int
    crc32: int
    of_a_clip: tuple[Any, ...] = ()


def _packed(sample: PlannedSample, options: PackOptions, folder: Path) -> Packed:
    with pixel_limit.allowed(options.max_pixels):
        return _clip(sample, options.shape, folder) if options.shape else _image(sample, options)


def _touch(shard: Shard, number: int) -> None:
    """Decode and encode one sample, and keep nothing of it."""
    _packed(shard.samples[number], shard.options, shard.path.parent).file.close()


PACKING = Work(pack_shard, _touch)


def _image(sample: PlannedSample, options: PackOptions) -> Packed:
    """A sample's image; ValueError says why it cannot be used."""
    try:
        data = read(Path(sample.path))
    except OSError as error:
        raise ValueError(error.strerror) from None
    pixels = decode(data, colour=options.rgb)
    if xxhash.xxh3_64_intdigest(data) != sample.content:
        raise ValueError(CHANGED)
    data = strip_metadata(data) if options.encoding == "copy" else encode(pixels, options.encoding, options.size)
    return Packed(io.BytesIO(data), extension(data), len(data), zlib.crc32(data))


def _clip(sample: PlannedSample, shape: Shape, folder: Path) -> Packed:
    """A sample's clip, of which one frame at a time is in memory, and what is packed of it up to IN_MEMORY bytes;
    ValueError says why it cannot be used."""
    path = Path(sample.path)
    try:
        content, _ = hashed(path)
    except OSError as error:
        raise ValueError(error.strerror) from None
    header, frames = prepared(path, shape)  # first: of what cannot be read nobody has kept the content
    if content != sample.content:
        raise ValueError(CHANGED)
    short = shape.file_bytes(header.frames) <= IN_MEMORY
    file: Any = io.BytesIO() if short else tempfile.TemporaryFile(dir=str(folder))
    try:
        written = clip_tiff.write(file, frames, header.frames, shape)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    told = (header.frames, header.frame_ms, _score(sample), written.mean, written.deviation)
    return Packed(file, "tif", written.size, written.crc32, told)


def _score(sample: PlannedSample) -> float:
    """NaN where it was given none."""
    score = sample.raw.get(SCORE)
    return math.nan if score is None else float(score)


def _sidecar(sample: PlannedSample) -> bytes:
    value = {"key": sample.key, "labels": sample.labels, "raw": sample.raw, "meta": sample.meta}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _add(tar: tarfile.TarFile, name: str, file: BinaryIO, size: int) -> None:
    """A member without time, owner or rights of its own, so that the bytes are the same each time."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o444
    tar.addfile(member, file)
