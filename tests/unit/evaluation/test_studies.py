"""Studies: which images are of one, and what is counted of all its images together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xxhash
from command import medtrain
from numpy.lib import recfunctions as structured
from sklearn.metrics import roc_auc_score

from medtrain.datasets.record import Record
from medtrain.datasets.sources import chest_demo
from medtrain.evaluation.evaluate import Scores, by_study
from medtrain.loading.loader import Loader
from medtrain.shards.index import load_index, open_index
from medtrain.shards.npy import npy
from medtrain.shards.pack import PackOptions, pack
from medtrain.shards.plan import number_studies
from medtrain.shards.verify import verify_shards
from medtrain.tasks.multilabel import Multilabel


def record(patient: str, study: str, source: str = "a") -> Record:
    return Record(source, "x.png", Path("x.png"), {}, patient, study)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chests") / "raw"
    chest_demo.download(folder, samples=80)
    return folder


@pytest.fixture(scope="module")
def shards(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn chests, each patient's images one study."""
    records = [replace(record, study=record.patient) for record in chest_demo.records(raw)]
    folder = tmp_path_factory.mktemp("packed") / "shards"
    pack(records, chest_demo.CLASSES, folder, PackOptions(shard_mb=0.5), 1)
    return folder


@pytest.fixture
def loader(shards: Path) -> Iterator[Loader]:
    made = Loader(open_index(shards, "train"), global_batch=1, image_size=32, workers=1)
    yield made
    made.close()


def test_the_images_of_a_study_have_one_number() -> None:
    records = [record("p", "1"), record("p", "1"), record("p", "2"), record("q", "1"), record("p", "1", "b")]
    one, two, *others = number_studies([*records, record("p", "")], [11, 12, 13, 14, 15, 16])
    assert one == two
    assert others == [13, 14, 15, 16], "a study of one image, and an image of none, have its content"
    turned = number_studies(records[1::-1], [12, 11])
    assert turned == [one, one], "whatever the order"
    assert number_studies(records[:2], [21, 22]) != [one, one]
    same = number_studies([record("p", "1"), record("p", "2"), record("p", "2")], [5, 5, 6])
    assert same[0] != same[1] == same[2], "a copy in another study does not join the two"


def test_a_packed_index_knows_the_studies(raw: Path, shards: Path) -> None:
    patients = {}
    for own in chest_demo.records(raw):
        patients.setdefault(own.patient, []).append(own.image)
    sizes = sorted(map(len, patients.values()))
    studies = np.concatenate([load_index(shards, split).samples["study"] for split in ("train", "val", "test")])
    assert sorted(np.unique(studies, return_counts=True)[1].tolist()) == sizes
    assert sizes[-1] > 1


def test_the_numbers_are_those_of_the_means(loader: Loader) -> None:
    rng = np.random.default_rng(0)
    values = rng.random((len(loader.index), len(chest_demo.CLASSES)))
    samples = np.arange(len(values))
    report = by_study(Scores(values, samples), Multilabel(chest_demo.CLASSES, 2.0), loader)["per_study"]
    studies = loader.index.samples["study"]
    means, truth = [], []
    for study in np.unique(studies):
        means.append(values[studies == study].mean(0))
        truth.append((loader.labels[studies == study] == 1).any(0))
    assert report["samples"] == len(means) < len(values)
    for i, name in enumerate(chest_demo.CLASSES):
        own = np.array(truth)[:, i]
        found = report["per_class"][name]
        assert found["positives"] == own.sum()
        if own.any() and not own.all():
            assert found["auroc"] == pytest.approx(roc_auc_score(own, np.array(means)[:, i]), abs=1e-9)


def test_a_label_of_a_study_is_known_where_any_image_tells(loader: Loader) -> None:
    studies, counts = np.unique(loader.index.samples["study"], return_counts=True)
    some = loader.index.samples["study"] == studies[counts > 1][0]
    own = np.flatnonzero(some)[:2]
    loader.labels = np.zeros_like(loader.labels)
    loader.labels[own[0], :4] = [-1, -1, 1, -1]
    loader.labels[own[1], :4] = [-1, 0, 0, 1]
    loader.labels[np.setdiff1d(np.flatnonzero(some), own)] = -1
    scores = Scores(np.full((len(own), len(chest_demo.CLASSES)), 0.5), own)
    rows = by_study(scores, Multilabel(chest_demo.CLASSES, 0.0), loader)["per_study"]["per_class"]
    assert [(rows[name]["known"], rows[name]["positives"]) for name in chest_demo.CLASSES[:4]] == [
        (0, 0), (1, 0), (1, 1), (1, 1),
    ]  # fmt: skip


def test_a_run_reports_them(shards: Path, raw: Path, tmp_path: Path) -> None:
    options = ("--runs", tmp_path, "--epochs", "1", "--image_size", "32", "--tracker", "none", "--workers", "1")
    medtrain("train", "chest_demo", "--shards", shards, "--run", "studies", *options)
    report = json.loads((tmp_path / "studies" / "evaluation" / "test.json").read_text())
    studies = len(np.unique(load_index(shards, "test").samples["study"]))
    assert report["per_study"]["samples"] == studies < report["samples"]
    assert "auroc_interval" in report["per_study"]["per_class"]["Effusion"]
    log = (tmp_path / "studies" / "train.log").read_text()
    assert "per study: mean AUROC" in log and f"on {studies} studies" in log

    pack(chest_demo.records(raw), chest_demo.CLASSES, tmp_path / "images", PackOptions(shard_mb=0.5), 1)
    medtrain("train", "chest_demo", "--shards", tmp_path / "images", "--run", "images", *options)
    assert "per_study" not in json.loads((tmp_path / "images" / "evaluation" / "test.json").read_text())


def as_before(shards: Path, old: Path) -> Path:
    """A copy as it was packed before there were studies."""
    shutil.copytree(shards, old)
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["checksum"], manifest["task"]
    for file in old.glob("*.idx"):
        data = npy(structured.repack_fields(structured.drop_fields(np.load(file), "study")))
        file.write_bytes(data)
        if file.stem in manifest["splits"]:
            manifest["splits"][file.stem]["digest"] = xxhash.xxh3_128_hexdigest(data)
    (old / "manifest.json").write_text(json.dumps(manifest))
    return old


def test_an_index_from_before_is_read(shards: Path, tmp_path: Path) -> None:
    old = as_before(shards, tmp_path / "old")
    for split in ("train", "val", "test"):
        before, now = load_index(old, split).samples, load_index(shards, split).samples
        assert before["study"].tolist() == now["content"].tolist()
        for name in ("key", "labels", "group", "offset"):
            assert before[name].tolist() == now[name].tolist()
    assert verify_shards(old, "full") == []
    part = sorted(old.glob("train-*.idx"))[0]
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    assert "is damaged at sample" in verify_shards(old, "quick")[0]


def test_a_packing_from_before_goes_on(raw: Path, shards: Path, tmp_path: Path) -> None:
    old = as_before(shards, tmp_path / "old")
    for name in ("train-000000.tar", "train-000000.idx", "manifest.json"):
        (old / name).unlink()
    records = [replace(record, study=record.patient) for record in chest_demo.records(raw)]
    pack(records, chest_demo.CLASSES, old, PackOptions(shard_mb=0.5), 1)
    assert verify_shards(old, "full") == []
