"""Folders of sites above class folders, and what file names tell of patients."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_images import class_tree, draw

from medtrain import datasets
from medtrain.core.errors import InputError
from medtrain.datasets.own_data import OwnData
from medtrain.datasets.patient_names import UNKNOWN, hint
from medtrain.datasets.record import Record
from medtrain.datasets.source import Source

SITES = ("north", "south")


def opened(root: Path, **own: object) -> tuple[Source, list[Record]]:
    return datasets.open_dataset("folder", root, None, OwnData(**own))  # type: ignore[arg-type]


def refused(root: Path, **own: object) -> str:
    with pytest.raises(InputError) as caught:
        opened(root, **own)
    return f"{caught.value.problem} | {caught.value.fix}"


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    for site in SITES:
        class_tree(tmp_path / "sites" / site, ("benign", "malignant"))
    return tmp_path / "sites"


def test_sites_above_classes_are_asked_about(sites: Path) -> None:
    said = "which of them are the classes? | add --class_level 2 (benign, malignant), or --class_level 1 (north, south)"
    assert said in refused(sites)
    source, found = opened(sites, class_level=2)
    assert source.classes == ("benign", "malignant") and len(found) == 12
    assert found[0].image == "north/benign/0.jpg" and found[-1].labels == {"benign": 0, "malignant": 1}
    assert "--patient_from '/(P[0-9]+)_'" in source.warned(found), "no folder is left that could be a patient"
    assert opened(sites, class_level=1)[0].classes == SITES
    (sites / "south" / "benign").rename(sites / "south" / "other")
    assert opened(sites, class_level=2)[0].classes == ("benign", "malignant", "other")


def test_splits_may_lie_above_the_sites(sites: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for site in SITES:
            class_tree(tmp_path / "split" / split / site, ("benign", "malignant"))
    assert "--class_level 2 (benign, malignant)" in refused(tmp_path / "split")
    source, found = opened(tmp_path / "split", class_level=2)
    assert source.classes == ("benign", "malignant") and {record.split for record in found} == {"train+val", "test"}
    assert "there is no val: of train, 1 image in 9 is kept for validation" in source.warned(found)


def test_grades_are_classes_and_ids_are_patients(tmp_path: Path) -> None:
    for site in SITES:
        class_tree(tmp_path / "grades" / site, ("0", "1", "2"))
        class_tree(tmp_path / "patients" / site, ("P01", "P02"))
    assert "--class_level 2 (0, 1, 2)" in refused(tmp_path / "grades")
    source, found = opened(tmp_path / "patients")
    assert source.classes == SITES and "are the folders below the classes patients?" in source.warned(found)


def test_folders_that_are_no_sites(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        class_tree(tmp_path / "own" / kind, (f"{kind}_left", f"{kind}_right"))
    assert opened(tmp_path / "own")[0].classes == ("cat", "dog")
    for kind in ("cat", "dog"):
        class_tree(tmp_path / "mixed" / kind, ("left", "right"))
        draw(tmp_path / "mixed" / kind / "a.jpg", 1 + len(kind))
    assert opened(tmp_path / "mixed")[0].classes == ("cat", "dog")


def test_slips_with_levels(sites: Path) -> None:
    assert "1 level, and --class_level is 2 | give --class_level 1" in refused(sites / "north", class_level=2)
    assert "--class_level is -1" in refused(sites, class_level=-1)
    draw(sites / "north" / "stray.jpg", 5)
    assert f"{sites / 'north'} holds stray.jpg beside the class folders" in refused(sites, class_level=2)


def test_train_alone_is_said(tmp_path: Path) -> None:
    class_tree(tmp_path / "train")
    source, found = opened(tmp_path)
    assert "there is train alone: 10 % of it are kept for validation, and 10 % for the test" in source.warned(found)
    draw(tmp_path / "train" / "stray.jpg", 9)
    assert f"{tmp_path / 'train'} holds stray.jpg beside the class folders" in refused(tmp_path)


@pytest.mark.parametrize(
    ("names", "expression"),
    [
        (("P1_a", "P1_b", "P2_a"), "'/(P[0-9]+)_'"),
        (("a/P1_1", "b/P1_2", "b/P3_2"), "'/(P[0-9]+)_'"),
        (("pat-01 x", "pat-01 y", "pat-2 x"), "'/(pat-[0-9]+) '"),
        (("0012-l", "0012-r", "13-l"), "'/([0-9]+)-'"),
        (("a1_1", "b2_1", "b2-2"), "'/([A-Za-z]+[0-9]+)[-_ ]'"),
        (("train/P1_x/P2_1", "train/P1_x/P2_2", "train/P1_x/P3_1"), "'/(P[0-9]+)_[^/]*$'"),
    ],
)
def test_patients_are_guessed_from_file_names(names: tuple[str, ...], expression: str) -> None:
    paths = [f"cat/{name}.jpg" if "/" not in name else f"{name}.jpg" for name in names]
    told = hint(paths, paths[0].count("/"))
    assert told.startswith("is ") and told.endswith(f"the patient? --patient_from {expression}")


@pytest.mark.parametrize(
    "names", [("1", "2"), ("img_1", "img_2"), ("P1_a", "P2_a"), ("P1_a", "P1_b"), ("x", "P1_a", "P1_b")]
)
def test_names_that_tell_no_patient(names: tuple[str, ...]) -> None:
    assert hint([f"cat/{name}.jpg" for name in names], 1) == UNKNOWN


def test_the_guessed_expression_works(tmp_path: Path) -> None:
    for number in range(8):
        draw(tmp_path / ("cat", "dog")[number % 2] / f"P{number // 2}_{number}.jpg", number)
    source, found = opened(tmp_path)
    expression = source.warned(found).rpartition("--patient_from ")[2].strip("'")
    assert sorted({record.patient for record in opened(tmp_path, patient_from=expression)[1]}) == [
        "P0",
        "P1",
        "P2",
        "P3",
    ]
