"""VinDr-CXR: trees drawn in the layouts of PhysioNet and Kaggle."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from medtrain.core.errors import InputError
from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN
from medtrain.datasets.sources import vindr_cxr

FINDINGS = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation", "Edema",
    "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst", "Mediastinal shift",
    "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis", "Rib fracture",
    "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis",
)  # fmt: skip


def row(image: str, reader: str, *named: str, blank: str = "") -> str:
    cells = ["" if name == blank else str(int(name in named)) for name in (*FINDINGS, "Other diseases", "No finding")]
    return ",".join(filter(None, [image, reader])) + "," + ",".join(cells)


def physionet(folder: Path) -> None:
    folder.mkdir(parents=True)
    votes = {"R1": ("Cardiomegaly", "Edema", "Lung Opacity"), "R2": ("Cardiomegaly", "Nodule/Mass"), "R3": ()}
    train = [row("a", reader, *named) for reader, named in votes.items()]
    train += [row("b", reader, "No finding", blank="Emphysema") for reader in votes]
    header = ",".join((*FINDINGS, "Other diseases", "No finding"))
    (folder / "image_labels_train.csv").write_text("\n".join((f"image_id,rad_id,{header}", *train, "")))
    test = row("c", "", "Pneumonia", "Nodule/Mass", blank="Edema")
    (folder / "image_labels_test.csv").write_text(f"image_id,{header.replace('diseases', 'disease')}\n{test}\n")


@pytest.mark.parametrize("folder", [".", "annotations", "physionet.org/files/vindr-cxr/1.0.0/annotations"])
def test_physionet(folder: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    physionet(root / folder)
    base = root / folder.removesuffix("annotations").rstrip("/")
    (base / "train").mkdir()
    (base / "train" / "a.dicom").write_bytes(b"")
    records = vindr_cxr.records(root)
    assert [record.image for record in records] == ["train/a.dicom", "train/b.dicom", "test/c.dicom"]
    assert [record.path.exists() for record in records] == [True, False, False]
    assert [record.split for record in records] == ["train+val", "train+val", "test"]


def test_tables_beside_the_images(tmp_path: Path) -> None:
    physionet(tmp_path / "train")
    (tmp_path / "test").mkdir()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train" / "image_labels_test.csv").rename(tmp_path / "test" / "image_labels_test.csv")
    assert [record.split for record in vindr_cxr.records(tmp_path)] == ["train+val", "train+val", "test"]


def test_two_of_three_readers_decide(tmp_path: Path) -> None:
    physionet(tmp_path / "annotations")
    seen, healthy, test = vindr_cxr.records(tmp_path)
    assert (seen.labels["Cardiomegaly"], seen.labels["Edema"], seen.labels["Effusion"]) == (PRESENT, UNCERTAIN, ABSENT)
    assert (seen.labels["Nodule"], seen.labels["Mass"]) == (None, None), "which of the two, nobody says"
    assert seen.labels["Infiltration"] == ABSENT, "Lung Opacity is none"
    assert (healthy.labels["Nodule"], healthy.labels["Mass"], healthy.labels["Emphysema"]) == (ABSENT, ABSENT, None)
    assert (test.labels["Pneumonia"], test.labels["Edema"], test.labels["Mass"]) == (PRESENT, None, None)
    assert {record.labels["Hernia"] for record in (seen, healthy, test)} == {None}
    votes = {"Nodule/Mass": 1, "Cardiomegaly": 2, "Edema": 1, "Lung Opacity": 1}
    assert seen.raw == {"votes": votes}, "of all that was asked"


def test_what_two_readers_settle_a_blank_leaves(tmp_path: Path) -> None:
    physionet(tmp_path / "annotations")
    votes = {"R1": ("Edema", "Pneumonia"), "R2": ("Edema",)}
    lines = [row("a", reader, *named) for reader, named in votes.items()]
    lines.append(row("a", "R3", blank="Edema"))
    lines += [row("b", reader, *named, blank="Pneumonia") for reader, named in (*votes.items(), ("R3", ()))]
    table = tmp_path / "annotations" / "image_labels_train.csv"
    table.write_text("\n".join((table.read_text().splitlines()[0], *lines, "")))
    settled, open_, _ = vindr_cxr.records(tmp_path)
    assert (settled.labels["Edema"], settled.raw) == (PRESENT, {"votes": {"Edema": 2, "Pneumonia": 1}})
    assert (open_.labels["Edema"], open_.labels["Pneumonia"]) == (PRESENT, None)


def test_kaggle(tmp_path: Path) -> None:
    boxes = [
        "x,Cardiomegaly,3,R9,691,1375,1653,1831", "x,Cardiomegaly,3,R9,700,1300,1600,1800",
        "x,Cardiomegaly,3,R8,700,1300,1600,1800", "x,Pleural effusion,10,R10,1,2,3,4",
        "y,No finding,14,R1,,,,", "y,No finding,14,R2,,,,", "y,No finding,14,R3,,,,",
    ]  # fmt: skip
    header = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
    (tmp_path / "train.csv").write_text("\n".join((header, *boxes, "")))
    seen, healthy = vindr_cxr.records(tmp_path)
    assert (seen.labels["Cardiomegaly"], seen.labels["Effusion"]) == (PRESENT, UNCERTAIN), "a reader counts once"
    assert [name for name in PATHOLOGIES if healthy.labels[name] is None] == [
        "Edema", "Emphysema", "Hernia", "Pneumonia"
    ]  # fmt: skip
    assert {seen.split, healthy.split} == {""}
    packed = tmp_path / "all" / vindr_cxr.KAGGLE_FOLDER
    packed.mkdir(parents=True)
    (packed / "train.csv.gz").write_bytes(gzip.compress((tmp_path / "train.csv").read_bytes()))
    again = vindr_cxr.records(tmp_path / "all")
    assert [(record.labels, record.path) for record in again] == [
        (record.labels, packed / record.image) for record in (seen, healthy)
    ]
    (tmp_path / "train.csv").write_text("\n".join((header, *boxes[:-1], "")))
    with pytest.raises(InputError, match=r"1 image has not 3 readers \(the first: y\)"):
        vindr_cxr.records(tmp_path)


def test_columns_that_are_no_findings(tmp_path: Path) -> None:
    physionet(tmp_path / "annotations")
    table = tmp_path / "annotations" / "image_labels_train.csv"
    head, *lines = table.read_text().splitlines()
    table.write_text("\n".join((f"{head},fold", *(f"{line},3" for line in lines), "")))
    assert "fold" not in vindr_cxr.records(tmp_path)[0].raw["votes"]


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no image_labels_train\.csv"):
        vindr_cxr.records(tmp_path)
    physionet(tmp_path / "annotations")
    table = tmp_path / "annotations" / "image_labels_train.csv"
    table.write_text(table.read_text().replace("b,R1,0,0,0,0", "b,R1,0,0,0,7"))
    with pytest.raises(InputError, match="line 5: Cardiomegaly is '7'"):
        vindr_cxr.records(tmp_path)
