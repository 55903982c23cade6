"""datasets and its mednist: how sources are found, and one folder a class read into Records.

The real MedNIST is read by test_data.py, through `medtrain check`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from medtrain import datasets
from medtrain.core.errors import InputError
from medtrain.datasets.sources import mednist


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """MedNIST in small: three images a class."""
    for i, label in enumerate(mednist.CLASSES):
        folder = tmp_path / "MedNIST" / label
        folder.mkdir(parents=True)
        for number in range(3):
            pixels = np.full((64, 64, 1), 40 * i + number, np.uint8)
            (folder / f"{number:06d}.jpeg").write_bytes(simplejpeg.encode_jpeg(pixels, colorspace="GRAY"))
    return tmp_path / "MedNIST"


def refusal(root: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        mednist.records(root)
    return caught.value


def test_sources_are_found_by_file_name_without_importing_them() -> None:
    code = "import sys; from medtrain import datasets; assert 'demo' in datasets.names(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"medtrain.datasets.sources.demo", "medtrain.datasets.sources.mednist", "torch"}.isdisjoint(loaded)
    files = {path.stem for path in (Path(datasets.__file__).parent / "sources").glob("*.py")} - {"__init__"}
    assert datasets.names() == sorted(files)


@pytest.mark.parametrize("name", datasets.names())
def test_every_source_keeps_the_contract(name: str, tmp_path: Path) -> None:
    source = datasets.source(name)
    assert source.title.endswith(".")
    assert "\n" not in source.title
    assert len(set(source.classes)) == len(source.classes) > (-1 if source.opened else 0)
    own = source.opened or name in ("metadata", "echo")
    assert source.images > 0 or own, "nobody knows how many a table of one's own has"
    assert set(source.tells) <= set(source.classes)
    assert source.licence
    with pytest.raises(InputError) as caught:
        source.records(tmp_path / "nothing")
    assert source.access in caught.value.fix


def test_an_unknown_source_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"there is no dataset 'mednits' \(did you mean mednist\?\)"):
        datasets.source("mednits")


def test_records(root: Path) -> None:
    records = mednist.records(root)
    first = [f"AbdomenCT/00000{i}.jpeg" for i in range(3)] + ["BreastMRI/000000.jpeg"]
    assert [record.image for record in records[:4]] == first
    assert len(records) == 18
    for record in records:
        label = record.image.split("/")[0]
        assert record.labels == {name: int(name == label) for name in mednist.CLASSES}
        assert record.path == root / record.image
        assert (record.source, record.patient, record.study, record.split) == ("mednist", "", "", "")


def test_the_parent_folder_will_do(root: Path) -> None:
    assert mednist.records(root.parent) == mednist.records(root)


def test_the_order_does_not_hang_on_that_of_the_disk(root: Path) -> None:
    for name in ("b.PNG", "a.jpg", "000001.png"):
        (root / "Hand" / name).write_bytes((root / "Hand" / "000000.jpeg").read_bytes())
    hands = [record.image for record in mednist.records(root) if record.labels["Hand"]]
    assert hands == [f"Hand/{n}" for n in ("000000.jpeg", "000001.jpeg", "000001.png", "000002.jpeg", "a.jpg", "b.PNG")]


def test_what_is_no_image_is_left_out(root: Path) -> None:
    whole = mednist.records(root)
    for name in ("._000000.jpeg", ".DS_Store", "Thumbs.db", "notes.txt"):
        (root / "CXR" / name).write_bytes(b"x")
    (root / "CXR" / "folder.jpeg").mkdir()
    (root / "._CXR").write_bytes(b"x")
    assert mednist.records(root) == whole


def test_a_broken_link_is_kept_to_be_reported(root: Path) -> None:
    (root / "CXR" / "000009.jpeg").symlink_to("gone.jpeg")
    assert len(mednist.records(root)) == 19


def test_labels_are_not_shared_between_records(root: Path) -> None:
    first, second, *_ = mednist.records(root)
    assert first.labels is not second.labels


def test_missing_classes_are_all_named_with_what_is_there(root: Path) -> None:
    (root / "HeadCT").rename(root / "HeadTC")
    (root / "CXR").rename(root / "elsewhere")
    error = refusal(root)
    assert error.problem == (
        f"{root} has no folder CXR, HeadCT (did you mean HeadTC?); "
        "it holds AbdomenCT, BreastMRI, ChestCT, Hand, HeadTC, elsewhere"
    )
    assert error.fix == mednist.ACCESS


def test_an_absent_root(tmp_path: Path) -> None:
    error = refusal(tmp_path / "absent")
    assert error.problem == f"{tmp_path / 'absent'} does not exist; it should hold the mednist images"
    assert "tar xf MedNIST.tar.gz" in error.fix


def test_an_archive_as_root_or_in_root_says_how_to_unpack(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    archive = folder / "MedNIST.tar.gz"
    archive.write_bytes(b"")
    command = f"unpack it: tar xf '{archive}' -C '{folder}'   then use --root '{folder}'"
    assert refusal(archive).problem == f"{archive} is a file; give the folder with the mednist images"
    assert refusal(archive).fix == refusal(folder).fix == command


def test_an_empty_folder_and_empty_classes(tmp_path: Path) -> None:
    assert refusal(tmp_path).problem.endswith("it holds nothing")
    for label in mednist.CLASSES:
        (tmp_path / label).mkdir()
    assert refusal(tmp_path).problem == f"the class folders of {tmp_path} hold no images (.dcm, .jpeg, .jpg, .png)"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_locked_folder(root: Path) -> None:
    (root / "CXR").chmod(0)
    try:
        assert refusal(root).problem == f"{root / 'CXR'} cannot be read (Permission denied)"
    finally:
        (root / "CXR").chmod(0o700)
