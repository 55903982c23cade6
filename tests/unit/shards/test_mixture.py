"""Several packed datasets as one: joined, nothing trained on that another tests on, drawn as often as asked."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import xxhash
from command import NETWORK, medtrain

from medtrain.config.schema import AugmentConfig, DataConfig
from medtrain.core.errors import InputError
from medtrain.datasets.labels import UNKNOWN
from medtrain.datasets.record import Record
from medtrain.datasets.sources import chest_demo, demo
from medtrain.loading.loader import Loader
from medtrain.shards import mixture
from medtrain.shards.index import open_index
from medtrain.shards.mixture import EXTERNAL, open_split
from medtrain.shards.pack import PackOptions, pack
from medtrain.shards.packed_dataset import SPLITS, PackedDataset
from medtrain.shards.verify import verify_shards

SMALL = (*NETWORK, "--image_size", "32", "--batch_size", "8", "--tracker", "none", "--workers", "1")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixture")
    for seed, name in enumerate(("one", "second", "third")):
        chest_demo.download(folder / "raw" / name, samples=40 + 20 * seed, seed=seed)
    return folder / "raw"


def named(raw: Path, name: str) -> list[Record]:
    """The records of a dataset; of `second`, every third image tells of the first label alone."""
    found = [replace(record, source=name) for record in chest_demo.records(raw / name)]
    if name == "second":
        few = dict.fromkeys(chest_demo.CLASSES[1:], UNKNOWN)
        found = [replace(record, labels={**record.labels, **few}) if i % 3 == 0 else record
                 for i, record in enumerate(found)]  # fmt: skip
    return found


@pytest.fixture(scope="module")
def shards(raw: Path) -> Path:
    """Packed apart; `second` tests on an image that `one` trains on, and `third` has one that `second` validates on."""
    folder = raw.parent / "shards"
    one, second, third = (named(raw, name) for name in ("one", "second", "third"))
    packed = pack(one, chest_demo.CLASSES, folder / "one", PackOptions(), 1)
    assert set(packed["splits"]) == set(SPLITS)
    second.append(copied(folder / "one", "train", one, "second", "test"))
    pack(second, chest_demo.CLASSES, folder / "second", PackOptions(), 1)
    third.append(copied(folder / "second", "val", second, "third", "train"))
    pack(third, chest_demo.CLASSES, folder / "third", PackOptions(), 1)
    return folder


def copied(packed: Path, split: str, records: list[Record], source: str, into: str) -> Record:
    """The record of the first image of a packed split, as another dataset has it in one of its own."""
    content = int(open_index(packed, split).samples["content"][0])
    found = next(record for record in records if xxhash.xxh3_64_intdigest(record.path.read_bytes()) == content)
    return replace(found, source=source, patient="copy", split=into)


def data(shards: Path, *names: str, **settings: object) -> DataConfig:
    return replace(DataConfig(shards=str(shards), datasets=names), **settings)


def test_one_dataset_is_what_it_is_alone(shards: Path) -> None:
    alone = open_index(shards / "third", "val").samples
    assert np.array_equal(open_split(data(shards, "third"), "val").samples, alone)


def test_every_image_of_all_is_there_once_and_can_be_read(shards: Path) -> None:
    joined = open_split(data(shards, "one", "second"), "test")
    parts = [open_index(shards / name, "test") for name in ("one", "second")]
    assert joined.samples["key"].tolist() == [key for part in parts for key in part.samples["key"].tolist()]
    assert mixture.sources(joined.samples)[0] == ("one", "second")
    loader = Loader(joined, global_batch=1, image_size=32, workers=1)
    shown = np.concatenate([batch.inputs for batch in loader.every_sample(8)])
    loader.close()
    own = [Loader(part, global_batch=1, image_size=32, workers=1) for part in parts]
    expected = np.concatenate([batch.inputs for each in own for batch in each.every_sample(8)])
    for each in own:
        each.close()
    assert np.array_equal(shown, expected)


def test_nothing_is_trained_on_that_another_dataset_tests_on(shards: Path) -> None:
    datasets = data(shards, "one", "second", "third")
    rows = {split: open_split(datasets, split).samples for split in SPLITS}
    for column in ("content", "group"):
        for split, other in (("train", "val"), ("train", "test"), ("val", "test")):
            assert not np.intersect1d(rows[split][column], rows[other][column]).size, (column, split, other)
    whole = sum(len(open_index(shards / name, "train")) for name in ("one", "second", "third"))
    copied_patient = open_index(shards / "one", "train").samples["group"]
    lost = (copied_patient == copied_patient[0]).sum() + 1  # that patient's of `one`, and the copy in `third`
    assert len(rows["train"]) == whole - lost


def test_a_dataset_held_out_is_tested_on_whole(shards: Path) -> None:
    datasets = data(shards, "one", "second", "third", holdout="third")
    external = open_split(datasets, EXTERNAL).samples
    assert len(external) == sum(len(open_index(shards / "third", split)) for split in SPLITS)
    assert set(mixture.sources(external)[0]) == {"third"}
    for split in SPLITS:
        own = open_split(datasets, split).samples
        assert "third" not in mixture.sources(own)[0]
        assert not np.intersect1d(own["content"], external["content"]).size
    unnamed = data(shards, "one", "second", holdout="third")
    assert np.array_equal(open_split(unnamed, EXTERNAL).samples, external)
    with pytest.raises(InputError, match="no dataset is held out"):
        open_split(data(shards, "one"), EXTERNAL)


def test_max_samples_takes_of_all(shards: Path) -> None:
    names, of = mixture.sources(open_split(data(shards, "one", "third", max_samples=30), "train").samples)
    assert names == ("one", "third")
    assert 28 <= len(of) <= 30
    assert 8 <= (of == 0).sum() <= 12


def test_what_does_not_fit_together(shards: Path, raw: Path) -> None:
    demo.download(raw.parent / "bones", samples=20)
    pack(demo.records(raw.parent / "bones"), demo.CLASSES, raw.parent / "strange" / "bones", PackOptions(), 1)
    (raw.parent / "strange" / "one").symlink_to(shards / "one")
    with pytest.raises(InputError, match="its labels are"):
        mixture.classes(data(raw.parent / "strange", "one", "bones"))
    with pytest.raises(InputError, match="no packed dataset"):
        mixture.classes(data(shards, "one", "nothing"))


def test_the_fingerprint_is_that_of_what_is_trained_on(shards: Path) -> None:
    found = {
        mixture.fingerprint(each)
        for each in (
            data(shards, "one"),
            data(shards, "one", "second"),
            data(shards, "one", "second", "third"),
            data(shards, "one", "second", holdout="third"),
        )
    }
    assert len(found) == 4


@pytest.mark.parametrize("times", [{"one": 2.5}, {"one": 0.25, "third": 1.5}, {"second": 0}])
def test_an_epoch_has_each_dataset_as_often_as_asked(shards: Path, times: dict[str, float]) -> None:
    joined = open_split(data(shards, "one", "second", "third"), "train")
    names, of = mixture.sources(joined.samples)
    loader = Loader(joined, global_batch=1, image_size=16, workers=1, times=times)
    for epoch in (0, 1):
        drawn = Counter(int(sample) for batch in loader.batches(epoch) for sample in batch.samples)
        for i, name in enumerate(names):
            own = np.array([drawn[int(sample)] for sample in np.flatnonzero(of == i)])
            often = times.get(name, 1.0)
            assert own.sum() == int(often) * len(own) + round((often - int(often)) * len(own)), name
            assert {int(often), int(np.ceil(often))} >= set(own.tolist()), name
    loader.close()


def test_what_is_drawn_twice_is_augmented_twice_and_all_have_their_turn(shards: Path) -> None:
    joined = open_split(data(shards, "one"), "train")
    turning = AugmentConfig(rotate_deg=30, rotate_p=1.0)
    loader = Loader(joined, global_batch=1, image_size=32, workers=1, augment=turning, times={"one": 2})
    shown: dict[int, list[np.ndarray]] = {}
    for batch in loader.batches(0):
        shown.setdefault(int(batch.samples[0]), []).append(batch.inputs.numpy())
    loader.close()
    assert all(len(images) == 2 and not np.array_equal(*images) for images in shown.values())
    quarter = Loader(joined, global_batch=1, image_size=16, workers=1, times={"one": 0.25})
    seen = [sample for epoch in range(4) for batch in quarter.batches(epoch) for sample in batch.samples.tolist()]
    quarter.close()
    assert len(set(seen)) == min(len(seen), len(joined))


def test_sampling_that_leaves_nothing(shards: Path) -> None:
    joined = open_split(data(shards, "one"), "train")
    with pytest.raises(InputError, match="leaves nothing to train on"):
        Loader(joined, global_batch=1, image_size=16, workers=1, times={"one": 0})
    with pytest.raises(InputError, match="--sampling names secnd"):
        Loader(joined, global_batch=1, image_size=16, workers=1, times={"secnd": 1})
    loader = Loader(joined, global_batch=1, image_size=16, workers=1, times={"one": 0.001})
    with pytest.raises(InputError, match="has 0 samples, too few"):
        next(loader.batches(0))
    loader.close()


def test_a_patient_in_two_official_splits_is_not_trained_on(raw: Path, tmp_path: Path) -> None:
    """Packed as the table says, which is told; of what is tested nobody is trained on, nor validated."""
    records = named(raw, "one")
    people = {record.patient: f"p{i // 4}" for i, record in enumerate(records)}
    torn = [
        replace(record, patient=people[record.patient], split=SPLITS[i % 4 % 3]) for i, record in enumerate(records)
    ]
    table = [replace(record, split="train", patient=f"alone{i}") for i, record in enumerate(named(raw, "second"))]
    manifest = pack(torn, chest_demo.CLASSES, tmp_path / "torn", PackOptions(), 1)
    assert manifest["patients_in_several_splits"] == len({record.patient for record in torn})
    pack(table, chest_demo.CLASSES, tmp_path / "sound", PackOptions(), 1)
    assert "patients_in_several_splits" not in PackedDataset.open(tmp_path / "sound").manifest
    both = data(tmp_path, "torn", "sound")
    groups = {split: set(open_split(both, split).samples["group"].tolist()) for split in ("train", "test")}
    assert groups["train"] and groups["test"] and not groups["train"] & groups["test"]
    with pytest.raises(InputError):
        len(open_split(replace(both, datasets=("sound",)), "test"))


def test_images_that_a_run_has_seen_are_counted(shards: Path) -> None:
    test = open_split(data(shards, "second"), "test").samples
    assert mixture.seen(data(shards, "one"), test) == 1, "second tests on an image that one trains on"
    assert mixture.seen(data(shards, "third"), test) == 0


def test_refusals() -> None:
    for flags, problem in (
        (("--datasets", "a", "a"), "name each once"),
        (("--datasets", "a", "--sampling", "a:2"), "NAME=TIMES"),
        (("--holdout", "a"), "holdout needs datasets"),
        (("--datasets", "a", "--holdout", "a"), "nothing is left to train on"),
    ):
        result = medtrain("train", "chest", *flags, check=False)
        assert (result.returncode, problem in result.stderr) == (2, True), result.stderr


def test_a_run_on_two_datasets_tested_on_a_third(shards: Path, tmp_path: Path) -> None:
    """Numbers of each dataset, and the thresholds of the validation for the external test too."""
    medtrain("train", "chest_demo", "--shards", shards, "--datasets", "one", "second", "--holdout", "third",
             "--sampling", "one=2", "--runs", tmp_path, "--run", "mixed", "--epochs", "2", *SMALL)  # fmt: skip
    reports = {
        split: json.loads((tmp_path / "mixed" / "evaluation" / f"{split}.json").read_text())
        for split in ("test", EXTERNAL)
    }
    assert set(reports["test"]["per_dataset"]) == {"one", "second"}
    each = reports["test"]["per_dataset"].values()
    assert sum(report["samples"] for report in each) == reports["test"]["samples"]
    assert reports["test"]["per_dataset_accuracy"] == pytest.approx(np.mean([report["accuracy"] for report in each]))
    assert "per_dataset" not in reports[EXTERNAL]
    assert reports[EXTERNAL]["samples"] == len(open_split(data(shards, "one", holdout="third"), EXTERNAL))
    chosen = [[row["threshold"] for row in report["per_class"].values()] for report in (*reports.values(), *each)]
    assert all(one == other for one, other in pairwise(chosen))
    epochs = [json.loads(line) for line in (tmp_path / "mixed" / "metrics.jsonl").read_text().splitlines()]
    assert any("val_per_dataset_macro_auroc" in row for row in epochs)
    told = (tmp_path / "mixed" / "train.log").read_text()
    assert "labels of the training split:\ndataset  label" in told
    known = json.loads((tmp_path / "mixed" / "labels.json").read_text())
    assert [(row["dataset"], row["label"]) for row in known] == list(product(("one", "second"), chest_demo.CLASSES))
    trained = open_split(data(shards, "one", "second", holdout="third"), "train").labels
    assert sum(row["positive"] for row in known) == (trained == 1).sum()
    assert {row["dataset"] for row in known if row["unknown"]} == {"second"}
    assert sum(row["unknown"] for row in known) == (trained == UNKNOWN).sum()
    assert "second: mean AUROC" in told
    again = medtrain("evaluate", "mixed", "--runs", tmp_path, "--split", EXTERNAL, "--json")
    assert json.loads(again.stdout) == reports[EXTERNAL]
    for ranks in (2, 3):  # all epochs are done: a resumed run only tests
        shutil.copytree(tmp_path / "mixed", tmp_path / f"{ranks}", symlinks=True)
        shutil.rmtree(tmp_path / f"{ranks}" / "evaluation")
        medtrain("resume", ranks, "--runs", tmp_path, "--tasks_per_node", ranks)
        for split, report in reports.items():
            assert json.loads((tmp_path / f"{ranks}" / "evaluation" / f"{split}.json").read_text()) == report, ranks


def test_shards_packed_together_are_told_apart(raw: Path, tmp_path: Path) -> None:
    records = [record for name in ("one", "second") for record in named(raw, name)]
    manifest = pack(records, chest_demo.CLASSES, tmp_path / "both", PackOptions(), 1)
    assert manifest["dataset"] == "one+second"
    assert mixture.sources(open_index(tmp_path / "both", "train").samples)[0] == ("one", "second")
    assert not verify_shards(tmp_path / "both", "crc", 1)
