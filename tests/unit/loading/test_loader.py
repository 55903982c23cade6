"""loading.loader: the same batches at any number of ranks and workers, from any step on, and no damaged pixel."""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medtrain.config.schema import AugmentConfig
from medtrain.core.errors import InputError
from medtrain.datasets.sources import demo
from medtrain.imaging.decode import decode
from medtrain.loading.batch import Batch
from medtrain.loading.loader import Loader, RankShare
from medtrain.shards.index import ShardIndex, open_index
from medtrain.shards.pack import PackOptions, pack

AUGMENT = AugmentConfig(rotate_deg=15, flip_p=0.5, zoom_min=0.9, zoom_max=1.1)
GLOBAL_BATCH = 24
Trace = list[list[tuple[int, str]]]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ShardIndex:
    """192 training images in 5 shards."""
    folder = tmp_path_factory.mktemp("loader")
    demo.download(folder / "raw", samples=240)
    pack(demo.records(folder / "raw"), demo.CLASSES, folder / "shards", PackOptions(shard_mb=0.17), workers=1)
    found = open_index(folder / "shards", "train")
    assert (len(found), len(found.shards)) == (192, 5)
    return found


@pytest.fixture
def copy(index: ShardIndex, tmp_path: Path) -> ShardIndex:
    """The same in a folder of its own, to be damaged."""
    shutil.copytree(index.folder, tmp_path / "shards")
    return open_index(tmp_path / "shards", "train")


def make(index: ShardIndex, **options: Any) -> Loader:
    return Loader(index, **{"global_batch": GLOBAL_BATCH, "image_size": 32, "seed": 3, "augment": AUGMENT, **options})


def taken(batches: Iterator[Batch]) -> Trace:
    """(sample, hash of its pixels and labels), batch by batch."""
    return [
        [
            (sample, hashlib.sha256(image.numpy().tobytes() + labels.numpy().tobytes()).hexdigest())
            for sample, image, labels in zip(batch.samples.tolist(), batch.inputs, batch.labels, strict=True)
        ]
        for batch in batches
    ]


def global_batches(index: ShardIndex, world: int, workers: int, epoch: int = 0, first_step: int = 0) -> Trace:
    """What all ranks together train on, step by step."""
    ranks = []
    for rank in range(world):
        loader = make(index, share=RankShare(rank, world), workers=workers)
        ranks.append(taken(loader.batches(epoch, first_step)))
        loader.close()
    assert len({len(rank) for rank in ranks}) == 1
    return [list(chain(*parts)) for parts in zip(*ranks, strict=True)]


@pytest.fixture(scope="module")
def reference(index: ShardIndex) -> Trace:
    return global_batches(index, 1, 1)


@pytest.mark.parametrize("world, workers", [(1, 1), (1, 2), (1, 4), (2, 4), (3, 2), (4, 1), (8, 2)])
def test_global_batches_are_the_same_at_any_number_of_ranks_and_workers(
    index: ShardIndex, reference: Trace, world: int, workers: int
) -> None:
    assert global_batches(index, world, workers) == reference


def test_an_epoch_takes_each_sample_once_and_leaves_out_the_last_partial_batch(index: ShardIndex) -> None:
    loader = make(index, global_batch=50)
    samples = [sample for batch in loader.batches(0) for sample in batch.samples.tolist()]
    assert loader.steps == 3 and len(samples) == len(set(samples)) == 150
    loader.close()


def test_epochs_differ_in_order_and_in_pixels(index: ShardIndex, reference: Trace) -> None:
    first, second = dict(chain(*reference)), dict(chain(*global_batches(index, 1, 1, epoch=1)))
    assert list(first) != list(second)
    assert set(first) == set(second)
    assert sum(first[sample] != second[sample] for sample in first) > 0.9 * len(first)


def test_200_stops_lose_and_repeat_nothing(index: ShardIndex) -> None:
    """Three epochs of 8 steps, stopped at a random step again and again; the batches fetched ahead are thrown away."""
    loader = make(index, workers=2)
    steps = loader.steps
    whole = [batch.samples.tolist() for epoch in range(3) for batch in loader.batches(epoch)]
    rng, stops = np.random.default_rng(0), 0
    while stops < 200:
        seen: list[list[int]] = []
        while len(seen) < len(whole):
            epoch, step = divmod(len(seen), steps)
            batches = loader.batches(epoch, first_step=step)
            for _ in range(min(int(rng.integers(1, 4)), steps - step)):
                seen.append(next(batches).samples.tolist())
            batches.close()  # type: ignore[attr-defined]
            stops += 1
        assert seen == whole
    loader.close()


def test_a_resume_on_another_number_of_ranks_goes_on_with_the_same_pixels(index: ShardIndex, reference: Trace) -> None:
    for world, step in ((2, 3), (3, 5), (4, 1), (8, 7)):
        assert reference[:step] + global_batches(index, world, 2, first_step=step) == reference


def test_after_a_resume_no_skipped_sample_is_read(copy: ShardIndex, reference: Trace) -> None:
    """Every sample of the steps before is destroyed, and nobody notices."""
    for sample, _ in chain(*reference[:6]):
        row = copy.samples[sample]
        with copy.shard_path(row["shard"]).open("r+b") as file:
            file.seek(int(row["offset"]))
            file.write(bytes(int(row["size"])))
    loader = make(copy)
    assert taken(loader.batches(0, first_step=6)) == reference[6:]
    with pytest.raises(InputError, match="checksum"):
        taken(loader.batches(0, first_step=5))
    loader.close()


@pytest.mark.parametrize("world, max_samples", [(1, 0), (2, 33), (3, 1), (4, 0), (5, 33)])
def test_every_sample_gives_each_once_over_all_ranks(index: ShardIndex, world: int, max_samples: int) -> None:
    alone = make(index, augment=None, max_samples=max_samples)
    whole = list(chain(*taken(alone.every_sample(10))))
    found: list[tuple[int, str]] = []
    for rank in range(world):
        loader = make(index, share=RankShare(rank, world), max_samples=max_samples)  # with augmentation for training
        found += chain(*taken(loader.every_sample(10)))
        loader.close()
    alone.close()
    assert [sample for sample, _ in whole] == list(range(max_samples or len(index)))
    assert sorted(found) == whole


@pytest.mark.parametrize("shard_mb", [0.01, 0.1, 100])
def test_every_rank_makes_the_same_number_of_steps(index: ShardIndex, tmp_path: Path, shard_mb: float) -> None:
    """20 ranks on one shard too: the classic hang of loaders that deal out shards."""
    records = demo.records(index.folder.parent / "raw")[::3]
    pack(records, demo.CLASSES, tmp_path / "shards", PackOptions(shard_mb=shard_mb), workers=1)
    small = open_index(tmp_path / "shards", "train")
    for world in (3, 20):
        steps = []
        for rank in range(world):
            loader = make(small, share=RankShare(rank, world), workers=1)
            steps.append(sum(1 for _ in loader.batches(0)))
            loader.close()
        assert steps == [len(small) // GLOBAL_BATCH] * world and steps[0] == 2


def test_max_samples_trains_on_the_first_ones(index: ShardIndex) -> None:
    loader = make(index, max_samples=60)
    samples = [sample for batch in loader.batches(0) for sample in batch.samples.tolist()]
    loader.close()
    assert loader.steps == 2 and len(set(samples)) == 48 and max(samples) < 60


def test_too_few_samples_for_a_batch(index: ShardIndex) -> None:
    loader = make(index, max_samples=GLOBAL_BATCH - 1)
    with pytest.raises(InputError, match="train split has 23 samples, too few for a batch of 24") as error:
        next(loader.batches(0))
    assert "--batch_size" in error.value.fix
    loader.close()


def test_without_augmentation_the_pixels_are_those_of_the_file(index: ShardIndex) -> None:
    loader = make(index, augment=None, image_size=64)
    rows = index.samples
    for batch in loader.batches(0):
        assert batch.inputs.dtype == torch.uint8 and batch.inputs.shape == (GLOBAL_BATCH, 1, 64, 64)
        for sample, image, labels in zip(batch.samples.tolist(), batch.inputs, batch.labels, strict=True):
            data = index.shard_path(rows["shard"][sample]).read_bytes()[int(rows["offset"][sample]) :]
            assert np.array_equal(image[0], decode(data[: rows["size"][sample]]))
            assert labels.tolist() == rows["labels"][sample].tolist()
        assert batch.global_known.tolist() == [GLOBAL_BATCH] * len(index.classes)
    loader.close()


def test_micro_batches_are_views_in_order(index: ShardIndex) -> None:
    loader = make(index)
    batch = next(loader.batches(0))
    parts = list(batch.split(10))
    loader.close()
    assert [len(part) for part in parts] == [10, 10, 4]
    assert np.concatenate([part.samples for part in parts]).tolist() == batch.samples.tolist()
    assert torch.equal(torch.cat([part.inputs for part in parts]), batch.inputs)


@pytest.mark.parametrize("where", [0, 1, -1])
def test_a_flipped_byte_stops_the_training_with_its_place_and_a_remedy(copy: ShardIndex, where: int) -> None:
    row = copy.samples[100]
    position = int(row["offset"]) + (where if where >= 0 else int(row["size"]) + where)
    shard = copy.shard_path(row["shard"])
    with shard.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))
    loader = make(copy, workers=2)
    with pytest.raises(InputError) as error:
        taken(loader.batches(0))
    loader.close()
    assert shard.name in error.value.problem and row["key"].decode() in error.value.problem
    assert "checksum" in error.value.problem and "medtrain verify" in error.value.fix


def test_an_image_that_does_not_decode_is_named(copy: ShardIndex) -> None:
    """Damage from before it was packed: the checksum is right."""
    samples = copy.samples.copy()
    row = samples[100]
    junk = b"\xff\xd8\xff" + bytes(int(row["size"]) - 3)
    with copy.shard_path(row["shard"]).open("r+b") as file:
        file.seek(int(row["offset"]))
        file.write(junk)
    row["crc32"] = zlib.crc32(junk)
    loader = make(replace(copy, samples=samples), workers=2)
    with pytest.raises(InputError, match=row["key"].decode()) as error:
        taken(loader.batches(0))
    loader.close()
    assert "damaged JPEG" in error.value.problem and "medtrain verify" in error.value.fix


def test_a_shard_cut_off_while_training_stops_it(copy: ShardIndex) -> None:
    """After the start, which compares sizes: the last image of the shard is not there any more."""
    loader = make(copy)
    last = copy.samples[copy.samples["shard"] == 2][-1]
    with copy.shard_path(2).open("r+b") as file:
        file.truncate(int(last["offset"]) + 10)
    with pytest.raises(InputError, match=last["key"].decode()):
        taken(loader.batches(0))
    loader.close()


@pytest.mark.parametrize("damage", ["missing", "truncated", "other index"])
def test_opening_damaged_shards_is_refused(copy: ShardIndex, damage: str) -> None:
    shard, index_file = copy.shard_path(1), copy.folder / "train.idx"
    if damage == "missing":
        shard.unlink()
    elif damage == "truncated":
        shard.write_bytes(shard.read_bytes()[:-512])
    else:
        index_file.write_bytes(index_file.read_bytes()[:-1] + b"\x07")
    with pytest.raises(InputError) as error:
        open_index(copy.folder, "train")
    assert (index_file if damage == "other index" else shard).name in error.value.problem
    assert "pack again" in error.value.fix
