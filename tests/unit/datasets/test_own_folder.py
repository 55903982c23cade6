"""The dataset `folder`: one folder a class, as new users have it, and what they get wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from own_images import class_tree, draw

from medtrain import datasets
from medtrain.core.errors import InputError
from medtrain.datasets.own_data import OwnData
from medtrain.datasets.record import Record


def records(root: Path, **own: object) -> list[Record]:
    return datasets.open_dataset("folder", root, None, OwnData(**own))[1]  # type: ignore[arg-type]


def refused(root: Path, **own: object) -> str:
    with pytest.raises(InputError) as caught:
        records(root, **own)
    return f"{caught.value.problem} | {caught.value.fix}"


def test_each_folder_is_a_class(tmp_path: Path) -> None:
    root = class_tree(tmp_path / "pets")
    (root / "cat" / ".hidden.jpg").touch()
    (root / "__MACOSX").mkdir()
    (root / "cat" / "notes.txt").touch()
    source, found = datasets.open_dataset("folder", root)
    assert (source.classes, source.task, source.clips) == (("cat", "dog"), "multiclass", False)
    assert [record.image for record in found] == [f"{name}/{n}.jpg" for name in ("cat", "dog") for n in range(3)]
    assert found[0].labels == {"cat": 1, "dog": 0} and found[0].path.is_file() and found[0].source == "folder"
    assert {record.split for record in found} == {""}
    assert source.left_out(root) == {".txt (not read)": 1}
    assert "the patients are unknown" in source.warned(found)


def test_what_medtrain_has_written_beside_the_classes_is_no_class(tmp_path: Path) -> None:
    """As of `medtrain shard folder --root .`, given again."""
    class_tree(tmp_path)
    for name, mark in (("shards", "plan.json"), ("runs", "config.yaml")):
        (tmp_path / name / "first").mkdir(parents=True)
        (tmp_path / name / "first" / mark).touch()
    assert {record.image.partition("/")[0] for record in records(tmp_path)} == {"cat", "dog"}
    class_tree(tmp_path, ("runs",), each=2)
    (tmp_path / "runs" / "first" / "config.yaml").unlink()
    assert "runs" in {record.image.partition("/")[0] for record in records(tmp_path)}, "a class that is called so"


def test_splits_lie_above_the_classes(tmp_path: Path) -> None:
    for split in ("Train", "valid", "test"):
        class_tree(tmp_path / split)
    found = records(tmp_path, name="pets")
    assert [record.split for record in found] == ["train"] * 6 + ["val"] * 6 + ["test"] * 6
    assert found[0].image == "Train/cat/0.jpg" and found[0].source == "pets"
    shutil.rmtree(tmp_path / "valid")
    assert {record.split for record in records(tmp_path)} == {"train+val", "test"}, "validation is cut from training"


def test_folders_below_a_class_may_be_patients(tmp_path: Path) -> None:
    for number in range(4):
        draw(tmp_path / ("cat", "dog")[number % 2] / f"P{number // 2}" / "a.jpg", number)
    source, found = datasets.open_dataset("folder", tmp_path)
    expression = "^[^/]+/([^/]+)/"
    assert f"--patient_from '{expression}'" in source.warned(found)
    assert {record.patient for record in found} == {""}
    assert [record.patient for record in records(tmp_path, patient_from=expression)] == ["P0", "P1", "P0", "P1"]


def test_what_a_link_leads_to_is_read_once(tmp_path: Path) -> None:
    class_tree(tmp_path / "raw", ("cat",))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "cat").symlink_to(tmp_path / "raw" / "cat")
    class_tree(tmp_path / "own", ("dog",))
    (tmp_path / "own" / "dog" / "round").symlink_to(tmp_path / "own" / "dog")
    assert len(records(tmp_path / "own")) == 6


def test_a_dicom_needs_no_suffix_and_clips_are_clips(tmp_path: Path) -> None:
    class_tree(tmp_path / "one")
    (tmp_path / "one" / "cat" / "IM0001").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "one" / "cat" / "LICENSE").write_bytes(b"text")
    assert len(records(tmp_path / "one")) == 7
    for name in ("good", "poor"):
        (tmp_path / "two" / name).mkdir(parents=True)
        (tmp_path / "two" / name / "a.mp4").write_bytes(b"clip")
    source, _ = datasets.open_dataset("folder", tmp_path / "two")
    assert source.clips and source.unit == "clips"
    draw(tmp_path / "two" / "good" / "b.jpg", 1)
    assert "clips and images (good/b.jpg)" in refused(tmp_path / "two")


def test_slips_with_folders(tmp_path: Path) -> None:
    assert "does not exist (did you mean photos?)" in refused(class_tree(tmp_path / "photos").parent / "photo")
    flat = tmp_path / "flat"
    draw(flat / "a.jpg", 1)
    assert "holds 1 image and no class folders" in refused(flat) and "medtrain shard csv" in refused(flat)
    assert "no class folders" in refused((tmp_path / "empty").mkdir() or tmp_path / "empty")
    (tmp_path / "empty" / "pets.tar.gz").touch()
    assert "tar xf" in refused(tmp_path / "empty")
    outer = class_tree(tmp_path / "outer" / "pets").parent
    assert f"give the folder of the class folders: --root {outer / 'pets'}" in refused(outer)
    assert "nothing can be told apart | add the images of another class" in refused(
        class_tree(tmp_path / "one", ("cat",))
    )
    bmp = class_tree(tmp_path / "bmp")
    (bmp / "fox").mkdir()
    (bmp / "fox" / "a.bmp").touch()
    assert "the class folder fox | convert .bmp to PNG" in refused(bmp)
    draw(bmp / "stray.jpg", 5)
    shutil.rmtree(bmp / "fox")
    assert "stray.jpg beside the class folders" in refused(bmp)
    assert "is a file" in refused(bmp / "stray.jpg")


def test_slips_with_splits(tmp_path: Path) -> None:
    class_tree(tmp_path / "train")
    class_tree(tmp_path / "test", ("cat", "dgo"))
    assert "the class dgo has no image in train (did you mean dog?)" in refused(tmp_path)
    (tmp_path / "extra").mkdir()
    assert "holds test, train, which are splits, beside extra" in refused(tmp_path)
    (tmp_path / "extra").rename(tmp_path / "testing")
    assert "which are the same split" in refused(tmp_path)
    shutil.rmtree(tmp_path / "train")
    (tmp_path / "testing").rmdir()
    assert "has no train beside test" in refused(tmp_path)


def test_slips_with_flags(tmp_path: Path) -> None:
    root = class_tree(tmp_path / "pets")
    assert "is no regular expression" in refused(root, patient_from="(")
    assert "has no group" in refused(root, patient_from="P[0-9]+")
    assert "does not fit cat/0.jpg" in refused(root, patient_from="(P[0-9]+)")
    assert "--table is not for folder" in refused(root, table=Path("t.csv"))
    assert "other characters than letters, digits and _ | give --name my_pets" in refused(root, name="my pets")
    with pytest.raises(InputError, match="needs the folder"):
        datasets.open_dataset("folder", None)
    with pytest.raises(InputError, match="--patient_from is not for mednist"):
        datasets.open_dataset("mednist", root, None, OwnData(patient_from="x"))


def test_pictures_that_are_not_read_are_told(tmp_path: Path) -> None:
    root = class_tree(tmp_path / "pets")
    for name in ("cat/1.bmp", "dog/2.bmp", "dog/3.WEBP", "dog/notes.txt"):
        (root / name).write_bytes(b"x")
    source, _ = datasets.open_dataset("folder", root, None, OwnData(patient_from="([0-9]+)"))
    told = source.warned(source.records(root))
    assert told == "2 .bmp files, 1 .webp file left out, which cannot be read: convert them to PNG"
