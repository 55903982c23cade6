"""Read the index of a packed dataset: sample -> shard, offset, size, checksum, labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from medtrain.core.errors import InputError
from medtrain.datasets.labels import ABSENT, PRESENT
from medtrain.imaging.video.clip_tiff import Shape
from medtrain.shards.packed_dataset import STATES, PackedDataset, ShardInfo


def sample_dtype(labels: int, key_length: int, clips: bool = False, scored: bool = False) -> np.dtype[Any]:
    """One row of an index: where a sample lies, how to check it, what it shows.

    `shard` counts in the manifest's list; `offset` and `size` are the image's bytes in the tar, `crc32` their checksum
    (zlib), `rest_crc32` that of the sample's other bytes (tar headers, padding, labels); `content` is the xxh3-64 of
    the source image's bytes; `group` is one number for all images tied by a patient or by identical bytes, which a
    split never cuts apart; `study` is one for all images of a study; `labels` holds 1, 0, -1 (unknown), or a state of
    datasets.labels below that. One of a clip has `frames`, `frame_ms` (0: unknown), the `score` that it was given
    (NaN: none), and `mean` and `deviation` of its pixels in red, green and blue; one of an image that is `scored` has
    the `score`.
    """
    of_a_clip = [
        ("frames", "<u4"), ("frame_ms", "<f4"), ("score", "<f4"), ("mean", "<f4", (3,)), ("deviation", "<f4", (3,))
    ]  # fmt: skip
    return np.dtype(
        [
            ("offset", "<u8"),
            ("group", "<u8"),
            ("study", "<u8"),
            ("content", "<u8"),
            ("size", "<u4"),
            ("crc32", "<u4"),
            ("rest_crc32", "<u4"),
            ("shard", "<u4"),
            ("key", f"S{key_length}"),
            ("labels", "i1", (labels,)),
            *(of_a_clip if clips else [("score", "<f4")] if scored else []),
        ]
    )


@dataclass(frozen=True)
class ShardIndex:
    """The samples of one split. `samples` is a read-only structured array (see `sample_dtype`), mapped from disk."""

    folder: Path
    dataset: str
    split: str
    classes: tuple[str, ...]
    shards: tuple[ShardInfo, ...]
    samples: npt.NDArray[Any]
    digest: str
    clips: Shape | None = None  # of a dataset of clips
    channels: int = 1  # in which samples are read: 3 of RGB

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> npt.NDArray[np.int8]:
        """[N, L] of 1 (present), 0 (absent), negative (unknown, see medtrain.datasets.labels)."""
        return self.samples["labels"]  # type: ignore[no-any-return]

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """[N] scores, NaN where there is none; InputError where no sample has one."""
        if "score" not in (self.samples.dtype.names or ()):
            raise InputError(f"{self.folder} has no scores", "omit --task score, --score_threshold")
        return np.asarray(self.samples["score"], np.float32)

    def shard_path(self, shard: int) -> Path:
        """The tar file of a shard number."""
        return self.folder / self.shards[shard].name


def open_index(folder: Path | str, split: str) -> ShardIndex:
    """The index of one split ("train", "val", "test"), checked against the manifest's digest and the shards' sizes.

    Raises InputError for a missing split, an index that does not match its digest, a missing or truncated shard.
    """
    index = load_index(Path(folder), split)
    for number, shard in enumerate(index.shards):
        check_size(index.shard_path(number), shard.bytes)
    return index


def load_index(folder: Path, split: str) -> ShardIndex:
    """The index as in `open_index`, without a look at the shards themselves."""
    packed = PackedDataset.open(folder)
    if split not in packed.splits:
        raise InputError(f"{folder}: there is no split {split!r}", "choose " + ", ".join(packed.splits))
    index_file = folder / f"{split}.idx"
    digest = index_digest(index_file)
    if digest != packed.splits[split]["digest"]:
        raise InputError(f"{index_file}: its bytes do not match manifest.json", "pack again, or restore the file")
    samples = read_rows(index_file)
    shards, clips = packed.shards(split), packed.clips
    return ShardIndex(folder, packed.name, split, packed.classes, shards, samples, digest, clips, packed.channels)


def read_rows(index_file: Path, writable: bool = False) -> npt.NDArray[Any]:
    """The rows of an .idx, mapped from disk. In one from before there were studies each image is a study of its own."""
    rows = np.load(index_file, mmap_mode=None if writable else "r", allow_pickle=False)
    names = rows.dtype.names or ()
    if "study" in names:
        return rows  # type: ignore[no-any-return]
    found = np.zeros(len(rows), sample_dtype(rows["labels"].shape[1], rows.dtype["key"].itemsize))
    for name in names:
        found[name] = rows[name]
    found["study"] = rows["content"]
    return found


def label_counts(labels: npt.NDArray[np.int8], classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """class -> how many of labels [N, L] are in each of STATES."""
    states = (labels == PRESENT, labels == ABSENT, labels < 0)
    totals = zip(*(state.sum(0).tolist() for state in states), strict=True)
    return {name: dict(zip(STATES, each, strict=True)) for name, each in zip(classes, totals, strict=True)}


def index_digest(index_file: Path) -> str:
    """xxh3-128 of an index file: pins every sample's place, checksum and labels."""
    try:
        return xxhash.xxh3_128_hexdigest(index_file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{index_file}: is missing", "restore it, or pack again into a new folder") from None


def check_size(shard: Path, expected: int) -> None:
    """Raise InputError where a shard is missing or has another size than the manifest says."""
    actual = shard.stat().st_size if shard.exists() else None
    if actual == expected:
        return
    what = "is missing" if actual is None else f"has {actual:,} bytes instead of {expected:,}: truncated or overwritten"
    raise InputError(
        f"{shard}: {what}", f"copy it again, or delete {shard.name}, its .idx and manifest.json and pack again"
    )
