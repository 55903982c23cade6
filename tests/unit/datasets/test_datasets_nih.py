"""NIH ChestX-ray14: trees drawn in its layouts, and the real metadata."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image
from places import SHARED

from medtrain.cli.commands import check as cli_commands_check
from medtrain.core.errors import InputError
from medtrain.datasets.labels import PATHOLOGIES
from medtrain.datasets.record import labels_sha256
from medtrain.datasets.sources import nih
from medtrain.shards.plan import assign_splits, group_linked

REAL = SHARED / "nih"
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
ROWS = (
    "00000001_000.png,Cardiomegaly|Emphysema,0,1,58,M,PA,2894,2729,0.143,0.143",
    "00000001_001.png,No Finding,1,1,95,M,AP,2894,2729,0.143,0.143",
    "00000002_000.png,Pleural_Thickening,0,2,414,F,PA,2500,2048,0.168,0.168",
)
# Of Data_Entry_2017_v2020.csv, counted with cut, tr and uniq.
REAL_COUNTS = {
    "Atelectasis": 11559, "Cardiomegaly": 2776, "Consolidation": 4667, "Edema": 2303, "Effusion": 13317,
    "Emphysema": 2516, "Fibrosis": 1686, "Hernia": 227, "Infiltration": 19894, "Mass": 5782, "Nodule": 6331,
    "Pleural_Thickening": 3385, "Pneumonia": 1431, "Pneumothorax": 5302,
}  # fmt: skip


def tree(
    root: Path, folder: str = "images", rows: tuple[str, ...] = ROWS, name: str = "Data_Entry_2017_v2020.csv"
) -> Path:
    images = root / folder
    images.mkdir(parents=True, exist_ok=True)
    for row in rows:
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(images / row.split(",")[0])
    (root / name).write_text("\n".join((HEADER, *rows, "")))
    return root


@pytest.mark.parametrize("folder", [".", "images", "images_001/images", "images_012/images"])
def test_every_layout(folder: str, tmp_path: Path) -> None:
    records = nih.records(tree(tmp_path, folder))
    assert [record.image for record in records] == [row.split(",")[0] for row in ROWS]
    assert all(record.path.exists() for record in records)
    assert [record.patient for record in records] == ["1", "1", "2"]


def test_labels_are_known_for_all_fourteen(tmp_path: Path) -> None:
    first, second, third = nih.records(tree(tmp_path))
    assert [name for name in PATHOLOGIES if first.labels[name]] == ["Cardiomegaly", "Emphysema"]
    assert set(second.labels.values()) == {0}
    assert [name for name in PATHOLOGIES if third.labels[name]] == ["Pleural_Thickening"]
    assert list(first.labels) == list(PATHOLOGIES)
    assert first.raw == {"findings": "Cardiomegaly|Emphysema"}


def test_an_age_that_would_identify_or_cannot_be_is_not_kept(tmp_path: Path) -> None:
    assert [record.meta["age"] for record in nih.records(tree(tmp_path))] == [58, 90, None]


def test_the_table_of_2017_with_its_ages_and_empty_column(tmp_path: Path) -> None:
    rows = tuple(row.replace(",58,", ",058Y,") + "," for row in ROWS)
    tree(tmp_path, rows=rows, name="Data_Entry_2017.csv")
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join((HEADER + ",", *rows, "")))
    assert nih.records(tmp_path)[0].meta["age"] == 58


def test_an_image_that_is_not_there_keeps_its_row(tmp_path: Path) -> None:
    (tree(tmp_path) / "images" / "00000002_000.png").unlink()
    assert [record.path.exists() for record in nih.records(tmp_path)] == [True, True, False]


def test_the_official_split_has_no_newline_at_its_end(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "train_val_list.txt").write_text("00000001_000.png\n00000001_001.png")
    (tmp_path / "test_list.txt").write_text("00000002_000.png")
    records = nih.records(tmp_path)
    assert [record.split for record in records] == ["train+val", "train+val", "test"]
    assert assign_splits(records, group_linked(records, [1, 2, 3]), seed=0)[2] == "test"
    (tmp_path / "test_list.txt").write_text("")
    with pytest.raises(InputError, match="are in none of train_val_list"):
        nih.records(tmp_path)
    (tmp_path / "train_val_list.txt").unlink()
    with pytest.raises(InputError, match=r"has no train_val_list\.txt, but the other list"):
        nih.records(tmp_path)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("00000001_000.png,Infiltrate,0,1,58,M,PA,1,1,1,1", "line 2: the findings are 'Infiltrate'"),
        ("00000001_000.png,No Finding|Mass,0,1,58,M,PA,1,1,1,1", "line 2: the findings are 'No Finding|Mass'"),
        ("00000001_000.png,Mass,0,2,58,M,PA,1,1,1,1", "line 2: 00000001_000.png is not of patient 2"),
        ("00000001_000.png,Mass,0", "line 2: the line is cut off"),
    ],
)
def test_a_table_that_cannot_be_right(row: str, problem: str, tmp_path: Path) -> None:
    tree(tmp_path, rows=(row,))
    with pytest.raises(InputError) as error:
        nih.records(tmp_path)
    assert problem in error.value.problem


def test_no_table_and_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no Data_Entry_2017_v2020"):
        nih.records(tmp_path)
    packed = gzip.compress("\n".join((HEADER, *ROWS, "")).encode())
    (tmp_path / "Data_Entry_2017_v2020.csv.gz").write_bytes(packed)
    assert len(nih.records(tmp_path)) == 3
    (tmp_path / "Data_Entry_2017_v2020.csv.gz").write_bytes(packed[:60])
    with pytest.raises(InputError, match="is damaged"):
        nih.records(tmp_path)
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column Image Index, Finding Labels"):
        nih.records(tmp_path)


def test_check_tells_missing_from_unreadable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(tmp_path)
    (tmp_path / "images" / "00000002_000.png").unlink()
    (tmp_path / "images" / "00000001_001.png").write_bytes(simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))[:60])
    cli_commands_check.check("nih", tmp_path, json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["records"], found["patients"]) == (3, 1), "the other one's image is not there"
    assert (found["images"]["found"], found["images"]["missing"]) == (2, 1)
    assert [each["image"] for each in found["images"]["unreadable"]] == ["00000001_001.png"]
    cli_commands_check.check("nih", tmp_path)
    out, err = capsys.readouterr()
    assert "images      2 found, 1 missing, 1 unreadable" in out
    assert "images that are not there (1); packing leaves them out:\n  00000002_000.png" in err


@pytest.mark.skipif(not REAL.exists(), reason="!!! NOT TESTED on real data: no NIH metadata here (../shared/data/nih)")
def test_the_real_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    cli_commands_check.check("nih", REAL, metadata_only=True, json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["records"], found["patients"]) == (112_120, 30_805)
    assert found["images"]["found"] is None
    assert found["labels"] == {
        name: {"positive": count, "negative": 112_120 - count, "unknown": 0} for name, count in REAL_COUNTS.items()
    }
    records = nih.records(REAL)
    assert Counter(record.meta["view"] for record in records) == {"PA": 67_310, "AP": 44_810}
    assert sum(record.path.exists() for record in records) == 98
    assert labels_sha256(records) == nih.LABELS_SHA256
