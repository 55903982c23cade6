"""The drawn bone X-rays: MURA's layout, the same each time, and damage that can be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.core.errors import InputError
from medtrain.datasets.sources import mura, mura_demo
from medtrain.imaging.decode import decode


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "bones"
    mura_demo.download(folder, samples=120)
    return folder


def test_records(root: Path) -> None:
    records = mura_demo.records(root)
    assert len(records) == 120
    assert {record.source for record in records} == {"mura_demo"}
    assert {record.split for record in records} == {"train+val", "test"}
    assert all(decode(record.path.read_bytes()).shape[0] == mura_demo.SIZE for record in records)
    about = mura_demo.about(root, records)
    assert set(about["study_types"]) == set(mura.STUDY_TYPES) and about["layout"] == "folders and tables"  # type: ignore[arg-type]
    assert about["conflicts_of_labels"] == [] and mura_demo.told(about).startswith("MURA-v1.1, by its folders")


def test_the_same_bytes_each_time_and_a_small_set_is_part_of_a_large_one(root: Path, tmp_path: Path) -> None:
    mura_demo.download(tmp_path / "again", samples=50)
    for record in mura_demo.records(tmp_path / "again"):
        assert record.path.read_bytes() == (root / "MURA-v1.1" / record.image).read_bytes()


def test_a_folder_that_holds_something_is_left_alone(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        mura_demo.download(root)
    with pytest.raises(InputError, match="10 samples are too few"):
        mura_demo.download(tmp_path / "few", samples=10)
    assert not (tmp_path / "few").exists()
