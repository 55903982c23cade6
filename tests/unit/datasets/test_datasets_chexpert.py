"""CheXpert: trees drawn in its layouts, and what each kind of cell means."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from medtrain.core.errors import InputError
from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN, UNMENTIONED
from medtrain.datasets.sources import chexpert

HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,"
    "Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
ROWS = (
    "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0",
    "CheXpert-v1.0/train/patient00002/study2/view1_frontal.jpg,Male,87,Frontal,PA,,,-1.0,1.0,,-1.0,-1.0,,-1.0,,1.0,,,",
    "CheXpert-v1.0/train/patient00002/study1/view2_lateral.jpg,Unknown,0,Lateral,,,1.0,,1.0,1.0,0.0,,,,,,1.0,,",
)
AIMI = "chexpertchestxrays-u20210408/CheXpert-v1.0"
VALID = (
    "CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,0.0,1.0,1.0,1.0,0.0,0.0,0.0,0.0,0.0,"
    "0.0,0.0,0.0,0.0,0.0"
)


def tables(folder: Path, valid: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.csv").write_text("\n".join((HEADER, *ROWS, "")))
    if valid:
        (folder / "valid.csv").write_text("\n".join((HEADER, VALID, "")))
    return folder


def touch(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("view1_frontal.jpg", "view2_lateral.jpg"):
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("base", "train", "valid"),
    [
        (".", "train", "valid"),
        ("CheXpert-v1.0", "CheXpert-v1.0/train", "CheXpert-v1.0/valid"),
        ("CheXpert-v1.0-small", "CheXpert-v1.0-small/train", "CheXpert-v1.0-small/valid"),
        (
            "CheXpert-v1.0 batch 1 (validate & csv)",
            "CheXpert-v1.0 batch 2 (train 1)",
            "CheXpert-v1.0 batch 1 (validate & csv)/valid",
        ),
        (".", "CheXpert-v1.0/train", "CheXpert-v1.0/valid"),
        (
            "chexpertchestxrays-u20210408/CheXpert-v1.0 batch 1 (validate & csv)",
            "chexpertchestxrays-u20210408/CheXpert-v1.0 batch 2 (train 1)",
            "chexpertchestxrays-u20210408/CheXpert-v1.0 batch 1 (validate & csv)/valid",
        ),
        (AIMI, f"{AIMI}/train", f"{AIMI}/valid"),
    ],
)
def test_every_layout(base: str, train: str, valid: str, tmp_path: Path) -> None:
    tables(tmp_path / base)
    for study in ("patient00001/study1", "patient00002/study2", "patient00002/study1"):
        touch(tmp_path / train / study)
    touch(tmp_path / valid / "patient64541/study1")
    records = chexpert.records(tmp_path)
    assert all(record.path.exists() for record in records)
    assert [record.split for record in records] == ["train", "train", "train", "val"]
    assert len({record.image for record in records}) == 4, "the same file name stands for many images"


def test_patients_on_two_batches(tmp_path: Path) -> None:
    tables(tmp_path / "CheXpert-v1.0 batch 1 (validate & csv)", valid=False)
    touch(tmp_path / "CheXpert-v1.0 batch 2 (train 1)" / "patient00001/study1")
    touch(tmp_path / "CheXpert-v1.0 batch 3 (train 2)" / "patient00002/study1")
    assert [record.path.exists() for record in chexpert.records(tmp_path)] == [True, False, True]


def test_the_folder_of_the_first_zip_is_enough(tmp_path: Path) -> None:
    first = tables(tmp_path / "CheXpert-v1.0 batch 1 (validate & csv)", valid=False)
    touch(tmp_path / "CheXpert-v1.0 batch 2 (train 1)" / "patient00001/study1")
    assert [record.path.exists() for record in chexpert.records(first)] == [True, False, False]


@pytest.mark.parametrize("base", [".", "CheXpert-v1.0"])
def test_tables_that_are_packed(base: str, tmp_path: Path) -> None:
    for table in tables(tmp_path / base).glob("*.csv"):
        table.with_suffix(".csv.gz").write_bytes(gzip.compress(table.read_bytes()))
        table.unlink()
    assert [record.split for record in chexpert.records(tmp_path)] == ["train", "train", "train", "val"]


def test_from_inside_the_folder_of_a_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tables(tmp_path / "CheXpert-v1.0 batch 1 (validate & csv)", valid=False))
    touch(tmp_path / "CheXpert-v1.0 batch 2 (train 1)" / "patient00001/study1")
    assert [record.path.exists() for record in chexpert.records(Path())] == [True, False, False]


def test_ages_that_are_none(tmp_path: Path) -> None:
    table = tables(tmp_path) / "train.csv"
    table.write_text(table.read_text().replace("Female,68", "Female,nan").replace("Male,87", "Male,-1"))
    assert [record.meta["age"] for record in chexpert.records(tmp_path)] == [None, None, 0, 73]


def test_of_two_copies_the_one_with_the_tables_counts(tmp_path: Path) -> None:
    for name in ("CheXpert-v1.0", "CheXpert-v1.0-small"):
        touch(tables(tmp_path / name) / "train/patient00001/study1")
    assert chexpert.records(tmp_path)[0].path.is_relative_to(tmp_path / "CheXpert-v1.0")


def test_the_experts_test_set(tmp_path: Path) -> None:
    tables(tmp_path)
    names = HEADER.split(",")[5:]
    row = [
        "CheXpert-v1.0/test/patient64741/study1/view2_lateral.jpg",
        *(str(float(name == "Edema")) for name in names),
    ]
    (tmp_path / "test_labels.csv").write_text("\n".join((",".join(("Path", *names)), ",".join(row), "")))
    touch(tmp_path / "test/patient64741/study1")
    test = chexpert.records(tmp_path)[-1]
    assert (test.split, test.path.exists()) == ("test", True)
    assert (test.labels["Edema"], test.labels["Effusion"]) == (PRESENT, ABSENT)
    assert test.meta == {"view": "lateral", "sex": "", "age": None}


def test_four_kinds_of_cell(tmp_path: Path) -> None:
    _, second, third, valid = chexpert.records(tables(tmp_path))
    assert {name: state for name, state in second.labels.items() if state is not None} == {
        "Atelectasis": UNCERTAIN,
        "Cardiomegaly": UNCERTAIN,
        "Consolidation": UNCERTAIN,
        "Edema": UNCERTAIN,
        "Effusion": PRESENT,
        "Pneumonia": UNMENTIONED,
        "Pneumothorax": UNMENTIONED,
    }
    assert third.labels["Edema"] == ABSENT
    assert [name for name in PATHOLOGIES if valid.labels[name] == PRESENT] == ["Cardiomegaly"]


def test_what_the_labeller_does_not_know_is_never_known(tmp_path: Path) -> None:
    """Lung Opacity is no Infiltration, Enlarged Cardiomediastinum no Cardiomegaly, Lung Lesion no Mass or Nodule."""
    for record in chexpert.records(tables(tmp_path)):
        for name in ("Emphysema", "Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening"):
            assert record.labels[name] is None
    third = chexpert.records(tmp_path)[2]
    assert third.labels["Cardiomegaly"] == UNMENTIONED
    assert third.raw == {
        "Enlarged Cardiomediastinum": "1.0", "Lung Opacity": "1.0", "Lung Lesion": "1.0", "Edema": "0.0",
        "Pleural Other": "1.0",
    }  # fmt: skip


def test_no_finding_denies_what_is_not_mentioned(tmp_path: Path) -> None:
    first = chexpert.records(tables(tmp_path))[0]
    known = {name: state for name, state in first.labels.items() if state is not None}
    assert known == dict.fromkeys(chexpert.OBSERVATIONS.values(), ABSENT)


def test_patients_studies_and_views(tmp_path: Path) -> None:
    first, second, third, _ = chexpert.records(tables(tmp_path))
    assert (second.patient, second.study, third.study) == ("patient00002", "patient00002/study2", "patient00002/study1")
    assert [record.meta["view"] for record in (first, second, third)] == ["AP", "PA", "lateral"]
    assert [record.meta["sex"] for record in (first, second, third)] == ["F", "M", ""]
    assert [record.meta["age"] for record in (first, second, third)] == [68, 87, 0]


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no train\.csv"):
        chexpert.records(tmp_path)
    tables(tmp_path)
    strange = ROWS[0].replace("AP,1.0,,,", "AP,,,2,")
    (tmp_path / "train.csv").write_text("\n".join((HEADER, strange)))
    with pytest.raises(InputError, match=r"train\.csv, line 2: Cardiomegaly is '2'"):
        chexpert.records(tmp_path)
    (tmp_path / "train.csv").write_text("\n".join((HEADER, ROWS[0].replace("patient00001", "p1"))))
    with pytest.raises(InputError, match="names no patient and study"):
        chexpert.records(tmp_path)
