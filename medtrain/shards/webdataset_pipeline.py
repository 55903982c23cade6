"""A packed split as a pipeline of the webdataset library, decoded as training decodes it, for loops of one's own."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtrain.core.errors import InputError, MachineError
from medtrain.imaging.decode import decode
from medtrain.shards.index import open_index

if TYPE_CHECKING:
    import webdataset

IMAGES = ("jpg", "png", "tif")


def open_webdataset(
    folder: Path | str, split: str, shuffle: int = 0, seed: int = 0, colour: bool | None = None
) -> webdataset.WebDataset:
    """A webdataset pipeline over a split ("train", "val", "test") of a packed dataset.

    Its samples are dicts: `__key__` and `image`, uint8 [H, W] or, where they are packed in color or with `colour`,
    [H, W, 3]; of clips [T, H, W] or [T, H, W, 3]; `labels` int8 [L] in the order of the manifest's classes, and `known`
    bool [L]: a label that is not known is neither present nor absent, and must not count in a loss; `meta` (sex, age,
    view, where they are known). With `shuffle` the shards, and the samples in a buffer of that many, are shuffled by
    `seed`. Nodes and the workers of a DataLoader share the shards.

    InputError as `open_index` has it; MachineError where webdataset is not installed. Unlike `Loader` it has no exact
    order and no exact resume, and does not verify checksums.
    """
    try:
        import webdataset
    except ImportError:
        raise MachineError("webdataset is not installed", "pip install webdataset") from None
    if shuffle < 0:
        raise InputError(f"shuffle is {shuffle}", "give 0 (in the order of the shards) or the size of a buffer")
    index = open_index(folder, split)
    paths = [str(index.shard_path(number)) for number in range(len(index.shards))]
    pipeline = webdataset.WebDataset(
        paths,
        shardshuffle=len(paths) if shuffle else False,
        seed=seed,
        nodesplitter=webdataset.split_by_node,
        empty_check=False,  # a worker without a shard has nothing to say
    )
    if shuffle:
        pipeline = pipeline.shuffle(shuffle, seed=seed)
    colour = index.channels == 3 if colour is None else colour
    return pipeline.map(lambda sample: _sample(sample, index.clips is not None, colour))


def _sample(sample: dict[str, Any], clips: bool, colour: bool) -> dict[str, Any]:
    """What webdataset has read of one sample, decoded."""
    data = next(sample[kind] for kind in IMAGES if kind in sample)
    told = json.loads(sample["json"])
    labels = np.array(told["labels"], np.int8)
    return {
        "image": _frames(data) if clips else decode(data, colour=colour),
        "labels": labels,
        "known": labels >= 0,
        "meta": told["meta"],
    }


def _frames(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    import tifffile

    return np.asarray(tifffile.imread(io.BytesIO(data)), np.uint8)
