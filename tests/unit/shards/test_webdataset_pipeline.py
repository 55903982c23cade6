"""A packed split as a pipeline of webdataset: pixels, labels and what is known are those of index and loader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from own_images import class_tree, table_of

from medtrain import Loader, datasets, open_index, open_webdataset
from medtrain.core.errors import InputError
from medtrain.datasets.own_data import OwnData
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions

SIDE = 24  # of the images of own_images


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images with two labels, some of which are unknown, in several shards."""
    root = tmp_path_factory.mktemp("webdataset")
    class_tree(root / "photos", each=20)
    lines = [f"cat/{n}.jpg,1,{'' if n % 3 else 0}" for n in range(20)] + [f"dog/{n}.jpg,0,1" for n in range(20)]
    table = table_of(root / "t.csv", "file,fur,wet", *lines)
    own = OwnData(table=table, image="file", labels=("fur", "wet"))
    source, records = datasets.open_dataset("csv", root / "photos", None, own)
    pack(records, source.classes, root / "shards", PackOptions(shard_mb=0.01), workers=1)
    return root / "shards"


def test_samples_are_those_of_the_index_and_the_loader(shards: Path) -> None:
    index = open_index(shards, "train")
    loader = Loader(index, global_batch=8, image_size=SIDE, workers=1)
    pixels = torch.cat([batch.inputs for batch in loader.every_sample(8)]).squeeze(1).numpy()
    loader.close()
    samples = list(open_webdataset(shards, "train"))
    assert [sample["__key__"].encode() for sample in samples] == index.samples["key"].tolist()
    for sample, row, picture in zip(samples, index.samples, pixels, strict=True):
        assert np.array_equal(sample["image"], picture) and sample["image"].dtype == np.uint8
        assert np.array_equal(sample["labels"], row["labels"])
        assert np.array_equal(sample["known"], row["labels"] >= 0)
    assert not all(sample["known"].all() for sample in samples)


def keys(shards: Path, **options: int) -> list[str]:
    return [sample["__key__"] for sample in open_webdataset(shards, "train", **options)]


def test_a_seed_decides_how_it_is_shuffled(shards: Path) -> None:
    once, again, other = (keys(shards, shuffle=20, seed=seed) for seed in (1, 1, 2))
    assert once == again and once != other and sorted(once) == sorted(other) == sorted(keys(shards))


def test_workers_of_a_dataloader_share_the_shards(shards: Path) -> None:
    loader = torch.utils.data.DataLoader(open_webdataset(shards, "train"), batch_size=None, num_workers=2)
    assert sorted(sample["__key__"] for sample in loader) == sorted(keys(shards))


def test_what_cannot_be_opened_is_told(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no split"):
        open_webdataset(shards, "tset")
    with pytest.raises(InputError, match="no packed dataset"):
        open_webdataset(tmp_path, "train")
    with pytest.raises(InputError, match="shuffle is -1"):
        open_webdataset(shards, "train", shuffle=-1)


def test_a_loader_is_iterated_epoch_by_epoch(shards: Path) -> None:
    loader = Loader(open_index(shards, "train"), global_batch=8, image_size=SIDE, workers=1)
    assert loader and len(loader) == loader.steps == 4
    epochs = [[batch.samples.tolist() for batch in loader] for _ in range(2)]
    assert epochs == [[batch.samples.tolist() for batch in loader.batches(epoch)] for epoch in (0, 1)]
    assert epochs[0] != epochs[1] and len(epochs[0]) == 4
    loader.close()
