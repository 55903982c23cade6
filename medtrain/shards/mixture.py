"""Several packed datasets as one: their indexes joined, and what one tests on kept out of what another trains on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from medtrain.config.rules import PER_DATASET
from medtrain.config.schema import Config, DataConfig
from medtrain.core.errors import InputError, nearest
from medtrain.shards.index import ShardIndex, load_index, open_index
from medtrain.shards.packed_dataset import CHANNELS, MANIFEST, SPLITS, PackedDataset

EXTERNAL = "external"  # the split that a dataset held out is: all of its images
TOGETHER = ("", "combined")  # the study types that stand for all
NAMES = "/names="  # before the digest of the labels' names in a fingerprint
RGB = "/rgb"  # before that, of images in color
KEY_TAIL = 17  # what follows the dataset's name in a sample's key, see sample_keys.sample_key


def open_split(data: DataConfig, split: str) -> ShardIndex:
    """The samples of a split of all the run's datasets, at most `data.max_samples` of them.

    An image stays in the last of train, val, test and external that it stands in anywhere, byte for byte, and with it
    all images of its patient. "external" is the whole of the dataset that is held out. Raises InputError as
    `open_index` does, and where no dataset has the split.
    """
    if not data.datasets:
        return _of_type(open_index(data.shards, split), data.study_type)
    parts = [_of_type(part, data.study_type) for part in _parts(data, split)]
    if not parts:
        named = f"no dataset of {', '.join(data.datasets)}" if split != EXTERNAL else "no dataset is held out: none"
        raise InputError(f"{named} has a split {split!r}", "choose one of " + ", ".join(SPLITS))
    later = [part.samples for after in _later(split) for part in _parts(data, after, load_index)]
    contents, groups = (_column(later, name) for name in ("content", "group"))
    parts = [replace(part, samples=_without(part.samples, contents, groups)) for part in parts]
    return _joined(data, split, [replace(part, samples=part.samples[: _share(data, part, parts)]) for part in parts])


def _of_type(index: ShardIndex, study_type: str) -> ShardIndex:
    """The samples that a label speaks of; InputError where there is no such label."""
    if study_type in TOGETHER:
        return index
    ensure_study_type(study_type, index.classes)
    told = index.samples["labels"][:, index.classes.index(study_type)] >= 0
    return replace(index, samples=index.samples[told])


def ensure_study_type(study_type: str, known: Sequence[str]) -> None:
    """InputError where there is no such study type."""
    if study_type not in known:
        raise InputError(
            f"there is no study type {study_type!r}{nearest(study_type.upper(), list(known))}",
            "choose of " + ", ".join(known),
        )


def classes(data: DataConfig) -> tuple[str, ...]:
    """The labels that all the run's datasets have; InputError where they differ, or one is not there."""
    for folder in folders(data) if data.datasets else ():
        if not folder.is_dir():
            raise InputError(
                f"{folder}: no packed dataset is there{_holding(Path(data.shards), folder.name)}",
                "--datasets and --holdout take the names of folders in --shards",
            )
    found = {folder: PackedDataset.open(folder).classes for folder in folders(data)}
    first, *others = found
    for other in others:
        if found[other] != found[first]:
            raise InputError(
                f"{other}: its labels are {', '.join(found[other])}; those of {first} are {', '.join(found[first])}",
                "train together only what has the same labels",
            )
    return found[first]


def ensure_one_color_mode(channels: Mapping[Path, int]) -> None:
    """InputError where some of these folders are packed in color and some in gray; `channels` are those of each."""
    gray, rgb = (
        ", ".join(folder.name for folder, own in channels.items() if own == wanted) for wanted in CHANNELS.values()
    )
    if gray and rgb:
        raise InputError(
            f"{gray}: packed in gray; {rgb}: packed in color",
            "pack them all alike: medtrain shard with --color_mode rgb, or gray, into a new --out",
        )


def ensure_monitor(config: Config) -> None:
    """InputError where the mean over datasets is watched and validation is of one."""
    if config.monitor.startswith(PER_DATASET):
        names = sources(open_split(config.data, "val").samples)[0]
        if len(names) < 2:
            raise InputError(
                f"monitor is {config.monitor!r}, a mean over datasets, and validation is of one ({', '.join(names)})",
                f"write --monitor {config.monitor.removeprefix(PER_DATASET)}",
            )


def _holding(shards: Path, name: str) -> str:
    """Which folders of a folder of packed datasets hold which, where one is requested that is none of them."""
    manifests = sorted(shards.glob(f"*/{MANIFEST}"))
    holds = [f"{path.parent.name} holds {PackedDataset.open(path.parent).name}" for path in manifests]
    near = nearest(name, [path.parent.name for path in manifests])
    return f"{near}; {', '.join(holds)}" if holds else ""


def fingerprint(data: DataConfig) -> str:
    """Pins the samples that training and validation see, and the names of their labels in order."""
    own = classes(data)
    if data.datasets:
        samples = _digest(data, "")
    else:
        splits = PackedDataset.open(data.shards).splits
        samples = "/".join(splits[split]["digest"] for split in ("train", "val") if split in splits)
    if any(packed.channels == 3 and not packed.clips for packed in map(PackedDataset.open, folders(data))):
        samples += RGB  # a copy of the same files may be read in gray
    return f"{samples}{NAMES}{xxhash.xxh3_128_hexdigest(json.dumps(own).encode())}"


def is_of(recorded: str, data: DataConfig) -> bool:
    """Whether a fingerprint is of these data; one from before names were in it, by the samples alone."""
    now = fingerprint(data)
    return recorded == (now if NAMES in recorded else now.partition(NAMES)[0])


def ensure_same_shards(data: DataConfig, manifest: dict[str, Any], run: str) -> None:
    """InputError where the data are not those that a run's checkpoint was made with, by its manifest."""
    if manifest and not is_of(manifest["fingerprints"]["data"], data):
        raise InputError(
            f"{data.shards}: was made with other shards than run {run}, or its classes have other names now",
            "restore what it was trained on, or start a new run with another --run",
        )


def folders(data: DataConfig) -> list[Path]:
    """The folders of the run's packed datasets, the one that is held out last."""
    if not data.datasets:
        return [Path(data.shards)]
    held_out = [data.holdout] if data.holdout else []
    return [Path(data.shards) / name for name in (*(name for name in data.datasets if name not in held_out), *held_out)]


def tested(data: DataConfig) -> str:
    """The split that a run is tested on at its end: test, or val where no dataset that it trains on has a test."""
    own = [folder for folder in folders(data) if folder.name != data.holdout]
    return "test" if any("test" in PackedDataset.open(folder).splits for folder in own) else "val"


def seen(data: DataConfig, samples: npt.NDArray[Any]) -> int:
    """How many of these images a run on `data` has trained or validated on, byte for byte."""
    known = [open_split(data, split).samples["content"] for split in ("train", "val")]
    return int(np.isin(samples["content"], np.concatenate(known)).sum())


def sources(samples: npt.NDArray[Any]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """The datasets that rows of an index are from, in alphabetical order, and for each row [N] which one it is."""
    names, of = np.unique([key[:-KEY_TAIL] for key in samples["key"].tolist()], return_inverse=True)
    return tuple(name.decode() for name in names.tolist()), of


def times_of(data: DataConfig) -> dict[str, float]:
    """dataset -> how often an epoch has each of its samples, for those that are not drawn once."""
    return {name: float(often) for name, often in (entry.split("=") for entry in data.sampling)}


def parts_and_times(
    samples: npt.NDArray[Any], times: dict[str, float]
) -> tuple[npt.NDArray[np.int64], tuple[float, ...]]:
    """Which source each sample is of, and how often samples of each source come; InputError for a source not there."""
    if not times:
        return np.zeros(len(samples), np.int64), (1.0,)
    names, of = sources(samples)
    for name in times:
        if name not in names:
            raise InputError(
                f"--sampling names {name}{nearest(name, list(names))}, of which there is nothing to train on"
                " (it takes the names of the datasets that were packed, whatever their folders are called)",
                f"choose of {', '.join(names)}",
            )
    often = tuple(times.get(name, 1.0) for name in names)
    if not any(often):
        raise InputError("--sampling leaves nothing to train on", "give at least one dataset more than 0 times")
    return of, often


def _parts(data: DataConfig, split: str, opened: Callable[[Path, str], ShardIndex] = open_index) -> list[ShardIndex]:
    """The indexes of a split in the order of the datasets; of the one that is held out all splits."""
    held_out = Path(data.shards) / data.holdout if data.holdout else None
    wanted = SPLITS if split == EXTERNAL else (split,)
    return [
        opened(folder, own)
        for folder in folders(data)
        if (folder == held_out) == (split == EXTERNAL)
        for own in wanted
        if own in PackedDataset.open(folder).splits
    ]


def _later(split: str) -> Iterable[str]:
    order = (*SPLITS, EXTERNAL)
    return order[order.index(split) + 1 :]


def _column(parts: list[npt.NDArray[Any]], name: str) -> npt.NDArray[np.uint64]:
    """A column of the rows of several indexes."""
    return np.concatenate([np.empty(0, np.uint64), *(rows[name] for rows in parts)])


def _without(
    samples: npt.NDArray[Any], contents: npt.NDArray[np.uint64], groups: npt.NDArray[np.uint64]
) -> npt.NDArray[Any]:
    """The samples whose group (a patient's images) is none of these and has none of these contents."""
    shared = np.isin(samples["content"], contents) | np.isin(samples["group"], groups)
    return samples[~np.isin(samples["group"], samples["group"][shared])] if shared.any() else samples


def _share(data: DataConfig, part: ShardIndex, parts: list[ShardIndex]) -> int:
    """How many samples of a part stay, so that all together are at most `max_samples`."""
    total = sum(map(len, parts))
    return len(part) * data.max_samples // total if 0 < data.max_samples < total else len(part)


def _joined(data: DataConfig, split: str, parts: list[ShardIndex]) -> ShardIndex:
    clips = {part.clips for part in parts}
    if len(clips) > 1:
        raise InputError(f"{names_of(parts)} hold clips of several shapes, or images too", "pack them all alike")
    ensure_one_color_mode({part.folder: part.channels for part in parts})
    if len({part.samples.dtype.names for part in parts}) > 1:
        raise InputError(f"of {names_of(parts)} some have scores and some have none", "pack them all alike")
    longest = max((part.samples.dtype for part in parts), key=lambda dtype: dtype["key"].itemsize)
    samples = np.concatenate([part.samples.astype(longest) for part in parts])
    first = np.cumsum([0, *(len(part.shards) for part in parts)])
    samples["shard"] += np.repeat(first[:-1], [len(part) for part in parts]).astype(np.uint32)
    shards = tuple(replace(shard, name=f"{part.folder.name}/{shard.name}") for part in parts for shard in part.shards)
    return replace(
        parts[0], folder=Path(data.shards), dataset=names_of(parts), split=split, classes=classes(data), shards=shards,
        samples=samples, digest=_digest(data, split),
    )  # fmt: skip


def names_of(parts: list[ShardIndex]) -> str:
    """Of the datasets, each once."""
    return "+".join(dict.fromkeys(part.dataset for part in parts))


def _digest(data: DataConfig, split: str) -> str:
    """Pins the samples of a joined split: what is in it depends on all splits of all datasets."""
    entries = [
        f"{folder.name}/{own}={entry['digest']}"
        for folder in folders(data)
        for own, entry in PackedDataset.open(folder).splits.items()
    ]
    return xxhash.xxh3_128_hexdigest(" ".join([split, data.holdout, *entries]).encode())
