"""What is told where a folder of shards is asked for and another is given; a network for few images."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_images import class_tree, draw, table_of

from medtrain.core.errors import InputError
from medtrain.shards.compatibility import FEW, recipe_of
from medtrain.shards.packed_dataset import PackedDataset


def refused(folder: Path) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        PackedDataset.open(folder)
    return caught.value.problem, caught.value.fix


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def packed(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").touch()
    return folder


def test_raw_images_are_packed_beside_their_folder(here: Path) -> None:
    class_tree(here / "my photos")
    problem, fix = refused(here / "my photos")
    assert problem.endswith("it holds 6 images in the folders cat, dog")
    out = "--out 'my photos_shards'   then: --shards 'my photos_shards'"
    assert fix == f"pack them: medtrain shard folder --root 'my photos' {out}"
    packed(here / "my photos_shards")
    assert refused(here / "my photos")[1] == "give --shards 'my photos_shards'", "they are packed already"


def test_a_table_with_its_images_is_named(here: Path) -> None:
    draw(here / "raw" / "a.jpg", 1)
    table_of(here / "raw" / "t.csv", "file,dark", "a.jpg,1")
    line = "medtrain shard csv --table raw/t.csv --image file --labels dark --out raw_shards"
    assert line in refused(here / "raw")[1]
    table_of(here / "raw" / "t.csv", "file,dark", "elsewhere/a.jpg,1")
    assert "medtrain shard DATASET --root DIR --out raw_shards" in refused(here / "raw")[1], "its images are not there"


def test_a_dataset_that_is_known_by_name_is_named(here: Path) -> None:
    class_tree(here / "MedNIST", ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT"), each=1)
    assert "medtrain shard mednist --root MedNIST --out MedNIST_shards" in refused(here / "MedNIST")[1]


def test_packed_datasets_close_by_are_named(here: Path) -> None:
    for name in ("spots", "cells"):
        packed(here / "shards" / name)
    problem, fix = refused(here / "shards")
    assert "but in cells, spots below it" in problem and "--shards shards/cells   --shards shards/spots" in fix
    problem, fix = refused(here / "shards" / "spot")
    assert "(did you mean spots?)" in problem
    assert fix.endswith("--shards shards/spots   --shards shards/cells"), "the likely one is first"
    table_of(here / "t.csv", "a")
    assert "it is a file" in refused(here / "t.csv")[0]


def test_a_folder_that_is_not_there_is_where_one_may_pack(here: Path) -> None:
    assert refused(here / "new")[1] == "pack it: medtrain shard DATASET --root DIR --out new   then --shards new"
    (here / "empty").mkdir()
    assert "--out empty_shards" in refused(here / "empty")[1]
    assert f"--out {here}_shards" in refused(Path())[1] and "--out /images_shards" in refused(Path("/"))[1]


@pytest.mark.parametrize(
    ("dataset", "task", "clips", "samples", "line"),
    [
        ("csv", "multilabel", False, FEW - 1, "chest --backbone resnet18"),
        ("csv", "multilabel", False, FEW, "chest"),
        ("chest", "multilabel", False, 10, "chest"),
        ("csv", "multiclass", False, 10, "mednist"),
        ("csv", "multilabel", True, 10, "echo"),
    ],
)
def test_few_images_are_for_a_small_network(dataset: str, task: str, clips: bool, samples: int, line: str) -> None:
    assert recipe_of(dataset, lambda: task, clips, samples, rgb=False) == line
