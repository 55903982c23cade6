"""manifest.json of a packed dataset: what it says is proved by its checksum, and held against what lies beside it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrain.cli.commands.shards import verify_dataset
from medtrain.config.schema import DataConfig
from medtrain.core.errors import InputError
from medtrain.datasets.labels import PATHOLOGIES
from medtrain.datasets.record import Record
from medtrain.shards import mixture
from medtrain.shards.index import open_index
from medtrain.shards.pack import pack
from medtrain.shards.packed_dataset import PackedDataset, manifest_checksum
from medtrain.shards.plan import PackOptions
from medtrain.shards.verify import verify_shards

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(demo_shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_shards, tmp_path / "shards"))


def change(folder: Path, how: Change, sealed: bool) -> None:
    """Change the manifest, one with a checksum or one as medtrain wrote it before there were any."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if not sealed:
        del manifest["checksum"], manifest["task"]
    how(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def swap(manifest: dict[str, Any]) -> None:
    manifest["classes"][:2] = manifest["classes"][1::-1]


CHANGES: dict[str, tuple[Change, str]] = {
    "two class names swapped": (swap, "counts|classes, options or labels"),
    "a class renamed": (lambda m: m["classes"].__setitem__(0, "other"), "the split train"),
    "a count": (lambda m: m["splits"]["val"]["counts"][m["classes"][0]].update(positive=1), "counts 1 positive of"),
    "the encoding": (lambda m: m.update(encoding="tiff"), "says that the encoding is tiff"),
    "an option": (lambda m: m["options"].update(seed=7), "by plan.json"),
    "samples of a split": (lambda m: m["splits"]["test"].update(samples=3), "says that test has 3 samples"),
    "samples of a shard": (lambda m: m["splits"]["test"]["shards"][0].update(samples=3), "has 3, and its index"),
    "the dataset": (lambda m: m.update(dataset="mednist"), "there are samples of demo"),
    "the plan": (lambda m: m.update(plan="0"), "its plan"),
    "images called clips": (lambda m: m.update(clips={"side": 64, "channels": 1}), "clips"),
    "rejects": (lambda m: m.update(rejects=5), "counts 5 rejects"),
    "the labels' digest": (lambda m: m.update(labels_sha256="0"), "by plan.json"),
    "an entry's name": (lambda m: m.update(chacksum="0"), "'chacksum'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_manifest_with_a_checksum_is_read_by_nothing(folder: Path, name: str) -> None:
    change(folder, CHANGES[name][0], sealed=True)
    for read in (verify_shards, PackedDataset.open, lambda where: open_index(where, "train")):
        with pytest.raises(InputError, match="does not match its own checksum"):
            read(folder)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_manifest_without_a_checksum_is_held_against_the_indexes(folder: Path, name: str) -> None:
    change(folder, CHANGES[name][0], sealed=False)
    try:
        faults = verify_shards(folder, "quick")
    except InputError as error:
        faults = [error.problem]
    assert re.search(CHANGES[name][1], "; ".join(faults))


def test_every_flipped_bit_of_a_manifest_is_found(folder: Path) -> None:
    path = folder / "manifest.json"
    data = path.read_bytes()
    for position in np.random.default_rng(14).integers(0, 8 * len(data), 200).tolist():
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            faults = verify_shards(folder, "quick")
        except InputError as error:
            faults = [error.problem]
        assert faults and str(path) in faults[0], (position, flipped[position // 8 - 9 : position // 8 + 9])


def test_the_checksum_does_not_depend_on_the_layout(folder: Path) -> None:
    manifest = PackedDataset.open(folder).manifest
    (folder / "manifest.json").write_text(json.dumps(manifest, sort_keys=True))
    assert PackedDataset.open(folder).manifest == manifest
    assert manifest["checksum"] == manifest_checksum(manifest)


def test_verify_says_that_an_older_manifest_has_no_checksum(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_dataset(folder, "quick", 1, json=False) == 0
    assert "checksum" not in capsys.readouterr().out
    change(folder, lambda manifest: None, sealed=False)
    assert verify_dataset(folder, "quick", 1, json=False) == 0
    assert "no checksum" in capsys.readouterr().out
    assert verify_dataset(folder, "quick", 1, json=True) == 0
    assert "no checksum" in json.loads(capsys.readouterr().out)["notes"][0]


def test_a_run_knows_its_classes_and_an_older_one_goes_on(folder: Path) -> None:
    data = DataConfig(shards=str(folder))
    now = mixture.fingerprint(data)
    splits = PackedDataset.open(folder).splits
    before = f"{splits['train']['digest']}/{splits['val']['digest']}"  # as runs of 2026-11-22 have it
    for recorded in (now, before):
        mixture.ensure_same_shards(data, {"fingerprints": {"data": recorded}}, "mine")
    change(folder, lambda m: m.update(classes=m["classes"][::-1]), sealed=False)
    mixture.ensure_same_shards(data, {"fingerprints": {"data": before}}, "mine")
    with pytest.raises(InputError, match="its classes have other names now"):
        mixture.ensure_same_shards(data, {"fingerprints": {"data": now}}, "mine")


@pytest.mark.parametrize(("classes", "task"), [(PATHOLOGIES, "multilabel"), (("elbow", "hand"), "abnormality")])
def test_a_table_of_chest_x_rays_is_multilabel_whatever_its_rows_know(
    classes: tuple[str, ...], task: str, demo_tree: Path, tmp_path: Path
) -> None:
    """One finding known in each row, of a source that is no dataset: only labels of one's own can be study types."""
    files = sorted(demo_tree.rglob("*.jpeg"))[:20] or sorted(demo_tree.rglob("*.jpg"))[:20]
    records = [
        Record(
            "clinic",
            path.name,
            path,
            {**dict.fromkeys(classes), classes[number % 2]: number % 3 % 2},
            patient=str(number),
        )
        for number, path in enumerate(files)
    ]
    assert len(records) == 20
    assert pack(records, classes, tmp_path / "out", PackOptions(), workers=1)["task"] == task
