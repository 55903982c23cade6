"""MURA: trees drawn in its layout, with what real ones hold besides images."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from command import medtrain

from medtrain.core.errors import InputError
from medtrain.datasets.labels import ABSENT, PRESENT
from medtrain.datasets.sources import mura
from medtrain.shards.index import open_index
from medtrain.shards.pack import pack

# split, study type, patient, study, positive?, images
STUDIES = [
    ("train", "XR_WRIST", 1, 1, True, 3), ("train", "XR_WRIST", 1, 2, False, 2), ("train", "XR_HAND", 1, 1, False, 1),
    ("train", "XR_WRIST", 2, 1, False, 4), ("train", "XR_HAND", 3, 1, True, 2), ("train", "XR_ELBOW", 4, 1, False, 1),
    ("valid", "XR_WRIST", 11185, 1, True, 1), ("valid", "XR_HAND", 11186, 1, False, 2),
]  # fmt: skip


def study_path(split: str, kind: str, patient: int, study: int, positive: bool) -> str:
    return f"{split}/{kind}/patient{patient:05}/study{study}_{'positive' if positive else 'negative'}"


def tree(base: Path, studies: Sequence[Any] = STUDIES) -> Path:
    """Images of mixed modes and sizes, and what macOS leaves between them."""
    random = np.random.default_rng(0)
    for *place, images in studies:
        folder = base / study_path(*place)
        folder.mkdir(parents=True)
        (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        for number in range(1, images + 1):
            shape = (int(random.integers(89, 200)), int(random.integers(89, 200)), *((3,) if number % 2 else ()))
            cv2.imwrite(str(folder / f"image{number}.png"), random.integers(0, 255, shape, dtype=np.uint8))
            (folder / f"._image{number}.png").write_bytes(b"\0\5\26\7")
    (base / "train" / ".DS_Store").write_bytes(b"")
    return base


def tables(base: Path) -> Path:
    base.mkdir(exist_ok=True)
    for split in ("train", "valid"):
        own = [(study_path(*place), place[4], images) for *place, images in STUDIES if place[0] == split]
        paths = [f"MURA-v1.1/{path}/image{i}.png" for path, _, images in own for i in range(1, images + 1)]
        (base / f"{split}_image_paths.csv").write_text("\n".join(paths) + "\n")
        studies = [f"MURA-v1.1/{path}/,{int(positive)}" for path, positive, _ in own]
        (base / f"{split}_labeled_studies.csv").write_text("\n".join(studies) + "\n")
    return base


def counted() -> dict[str, Any]:
    """The numbers of each study type and split, from the list above and nothing else."""
    found: dict[str, Any] = defaultdict(dict)
    for kind in sorted({study[1] for study in STUDIES}):
        for split in ("train", "valid"):
            own = [study for study in STUDIES if study[:2] == (split, kind)]
            normal = sum(images for *_, positive, images in own if not positive)
            abnormal = sum(images for *_, positive, images in own if positive)
            both = normal + abnormal
            found[kind][split] = {
                "studies": len(own), "images": both, "patients": len({study[2] for study in own}),
                "normal_images": normal, "abnormal_images": abnormal,
                "weight_positive": normal / both if both else 0.5, "weight_negative": abnormal / both if both else 0.5,
            }  # fmt: skip
    return dict(found)


@pytest.fixture(params=["folders", "tables", "both"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    base = tmp_path / "MURA-v1.1"
    if request.param != "tables":
        tree(base)
    if request.param != "folders":
        tables(base)
    return tmp_path


def test_counts_and_weights(root: Path) -> None:
    done = medtrain("check", "mura", "--root", root / "MURA-v1.1", "--metadata_only", "--json")
    found = json.loads(done.stdout)
    types = {
        name: {
            split: {key: value for key, value in own.items() if key != "views_per_study"}
            for split, own in splits.items()
        }
        for name, splits in found["study_types"].items()
    }
    assert types == counted()
    assert (found["records"], found["patients"], found["version"]) == (16, 6, "MURA-v1.1")
    assert found["study_types"]["XR_WRIST"]["train"]["views_per_study"] == {"2": 1, "3": 1, "4": 1}
    assert found["conflicts_of_labels"] == []
    assert found["labels"]["XR_WRIST"] == {"positive": 4, "negative": 6, "unknown": 6}


def test_the_folder_above_is_as_good(root: Path) -> None:
    records = mura.records(root)
    assert [record.image for record in records] == [record.image for record in mura.records(root / "MURA-v1.1")]
    assert {record.path.parent.parent.name for record in records} == {f"patient{study[2]:05}" for study in STUDIES}


def test_what_a_record_tells(tmp_path: Path) -> None:
    record = mura.records(tree(tmp_path / "MURA-v1.1"))[0]
    assert record.image == "train/XR_ELBOW/patient00004/study1_negative/image1.png"
    assert {name: state for name, state in record.labels.items() if state is not None} == {"XR_ELBOW": ABSENT}
    assert (record.patient, record.study) == ("patient00004", "XR_ELBOW/patient00004/study1_negative")
    assert record.path.exists()


def test_what_a_person_sees(tmp_path: Path) -> None:
    told = medtrain("check", "mura", "--root", tables(tree(tmp_path / "MURA-v1.1"))).stdout
    assert "MURA-v1.1, by its folders and tables" in told
    assert "XR_WRIST    train        3       9         2       6         3  0.666667  0.333333" in told, told
    assert "images in a study: 1 (3), 2 (3), 3 (1), 4 (1)" in told
    assert "16 found, 0 missing, 0 unreadable" in told


def test_where_folders_and_tables_differ(tmp_path: Path) -> None:
    base = tables(tree(tmp_path / "MURA-v1.1"))
    studies = base / "train_labeled_studies.csv"
    studies.write_text(
        studies.read_text().replace("patient00002/study1_negative/,0", "patient00002/study1_negative/,1")
    )
    paths = base / "train_image_paths.csv"
    paths.write_text(
        paths.read_text().replace("MURA-v1.1/train/XR_ELBOW/patient00004/study1_negative/image1.png\n", "")
    )
    (base / "train/XR_HAND/patient00003/study1_positive/image2.png").unlink()
    done = medtrain("check", "mura", "--root", base, "--json")
    found = json.loads(done.stdout)
    assert found["conflicts_of_labels"] == ["XR_WRIST/patient00002/study1_negative"]
    assert found["labels"]["XR_WRIST"]["unknown"] == 6 - 2 + 4, "one image is not in the tables, one not on the disk"
    assert found["left_out"] == {"images that the tables do not name": 1}
    assert found["images"]["missing"] == 1
    told = medtrain("check", "mura", "--root", base).stdout
    assert "LABEL ERROR: of 1 studies folder and table disagree" in told
    assert "unknown: XR_WRIST/patient00002/study1_negative" in told


def test_no_patient_is_in_two_splits_whatever_the_study_type(tmp_path: Path) -> None:
    kinds = ("XR_WRIST", "XR_HAND", "XR_ELBOW")
    studies = [("train", kind, patient, 1, patient % 2 > 0, 1) for patient in range(60) for kind in kinds]
    studies += [("valid", kind, patient, 1, patient % 2 > 0, 1) for patient in range(60, 70) for kind in kinds]
    manifest = pack(mura.records(tree(tmp_path / "MURA-v1.1", studies)), mura.CLASSES, tmp_path / "shards", workers=1)
    assert list(manifest["splits"]) == ["train", "val", "test"] and manifest["splits"]["test"]["samples"] == 30
    groups = [set(open_index(tmp_path / "shards", split).samples["group"].tolist()) for split in manifest["splits"]]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 70


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        mura.records(tmp_path / "MURA-v1.1")
    with pytest.raises(InputError, match=r"neither train/ and valid/ nor train_image_paths\.csv; it holds nothing"):
        mura.records(tmp_path)
    base = tables(tmp_path / "MURA-v1.1")
    (base / "train_labeled_studies.csv").write_text("MURA-v1.1/train/XR_WRIST/patient00001/study1_positive/,2\n")
    with pytest.raises(InputError, match=r"line 1: .* has no label of 0 or 1"):
        mura.records(base)
    (base / "train_image_paths.csv").write_text("MURA-v1.1/train/XR_KNEE/patient00001/study1_positive/image1.png\n")
    (base / "train_labeled_studies.csv").unlink()
    with pytest.raises(InputError, match="names no study of MURA"):
        mura.records(base)


def test_states_are_three() -> None:
    assert set(mura.LABELS.values()) == {PRESENT, ABSENT}
