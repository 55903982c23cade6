"""ReXGradient-160K: a tree drawn in its layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medtrain.core.errors import InputError
from medtrain.datasets.labels import ABSENT, PRESENT, UNCERTAIN, UNMENTIONED
from medtrain.datasets.sources import rexgradient

HEADER = (
    "id,AccessionNumber,StudyInstanceUid,PatientSex,PatientAge,StudyDate,StudyDescription,Indication,Comparison,"
    "Findings,Impression"
)


def tree(root: Path) -> Path:
    folder = root / "metadata"
    folder.mkdir()
    for split, number in (("train", 1), ("valid", 2), ("test", 3)):
        rows = [
            f'p{number}_a,1,u{number},F,002D,20120101,XR,Mass?,None,"No effusion, possible pneumonia.",Cardiomegaly.',
            f"p{number}_b,2,v{number},M,095Y,20120101,XR,Cough,None,,",
        ]
        (folder / f"{split}_metadata.csv").write_text("\n".join((HEADER, *rows, "")))
        path = f"../deid_png/{number}/1/studies/u{number}/series/s/instances"
        study = {
            "PatientID": str(number), "StudyInstanceUid": f"u{number}", "ImagePath": [f"{path}/x.png", f"{path}/y.png"],
            "ImageViewPosition": ["POSTERO_ANTERIOR", None],
        }  # fmt: skip
        (folder / f"{split}_metadata_view_position.json").write_text(json.dumps({f"p{number}_a": study}))
    return root


def test_the_labels_of_a_report_go_to_each_of_its_images(tmp_path: Path) -> None:
    records = rexgradient.records(tree(tmp_path))
    assert [record.split for record in records] == ["train", "train", "val", "val", "test", "test"]
    first, second = records[:2]
    assert first.labels == second.labels
    named = {name: state for name, state in first.labels.items() if state != UNMENTIONED}
    assert named == {"Cardiomegaly": PRESENT, "Effusion": ABSENT, "Pneumonia": UNCERTAIN}, "and none of the indication"
    assert first.path == tmp_path / "deid_png/1/1/studies/u1/series/s/instances/x.png"
    assert (first.patient, first.study) == ("1", "u1")
    assert rexgradient.left_out(tmp_path) == {"studies without a text": 3}
    assert (first.meta, second.meta["view"]) == ({"view": "PA", "sex": "F", "age": 0}, "")


def test_a_study_without_paths(tmp_path: Path) -> None:
    file = tree(tmp_path) / "metadata" / "train_metadata_view_position.json"
    told = json.loads(file.read_text())
    told["p1_a"]["ImagePath"] = None
    file.write_text(json.dumps(told))
    with pytest.raises(InputError, match="not every study has ImagePath"):
        rexgradient.records(tmp_path)


def test_views_that_are_missing(tmp_path: Path) -> None:
    file = tree(tmp_path) / "metadata" / "train_metadata_view_position.json"
    told = json.loads(file.read_text())
    told["p1_a"]["ImageViewPosition"] = None
    file.write_text(json.dumps(told))
    assert [record.meta["view"] for record in rexgradient.records(tmp_path)[:2]] == ["", ""]
    told["p1_a"]["ImageViewPosition"] = ["ANTERO_POSTERIOR"]
    file.write_text(json.dumps(told))
    with pytest.raises(InputError, match="line 2: p1_a has 2 images with 1 views"):
        rexgradient.records(tmp_path)


def test_a_folder_called_images_that_is_another(tmp_path: Path) -> None:
    (tree(tmp_path) / "images").mkdir()
    assert rexgradient.records(tmp_path)[0].path.is_relative_to(tmp_path / "deid_png")
    (tmp_path / "images" / "deid_png").mkdir()
    assert rexgradient.records(tmp_path)[0].path.is_relative_to(tmp_path / "images" / "deid_png")


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no train_metadata\.csv"):
        rexgradient.records(tmp_path)
    tree(tmp_path)
    (tmp_path / "metadata" / "valid_metadata_view_position.json").write_text("{}")
    with pytest.raises(InputError, match=r"valid_metadata\.csv, line 2: p2_a is not in the JSON file"):
        rexgradient.records(tmp_path)
    for strange in ("[]", '{"p2_a": {"PatientID": "2"}}'):
        (tmp_path / "metadata" / "valid_metadata_view_position.json").write_text(strange)
        with pytest.raises(InputError, match="not every study has ImagePath, PatientID, StudyInstanceUid"):
            rexgradient.records(tmp_path)
    (tmp_path / "metadata" / "valid_metadata_view_position.json").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        rexgradient.records(tmp_path)
