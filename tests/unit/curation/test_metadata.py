"""data metadata: a table of two drawn datasets, written and packed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from medtrain.cli.commands import metadata as cli_commands_metadata
from medtrain.core.errors import InputError
from medtrain.datasets.labels import PATHOLOGIES, UNCERTAIN
from medtrain.datasets.sources import chest_demo, chexpert, nih
from medtrain.datasets.sources import metadata as source
from medtrain.shards.pack import pack


@pytest.fixture
def root(tmp_path: Path) -> Path:
    chest_demo.download(tmp_path / "data" / "nih", samples=30)
    openi = tmp_path / "data" / "openi"
    openi.mkdir()
    header = "uid,MeSH,Problems,image,indication,comparison,findings,impression"
    (openi / "indiana_reports.csv").write_text(f"{header}\n1,Cardiomegaly;Opacity/lung,,,,,,\n")
    (openi / "indiana_projections.csv").write_text("uid,filename,projection\n1,1.png,Frontal\n")
    return tmp_path / "data"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_image(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli_commands_metadata.data_metadata(root=root, out=tmp_path / "all.csv", json=True)
    assert json.loads(capsys.readouterr().out)["records"] == {"nih": 30, "openi": 1}
    written = rows(tmp_path / "all.csv")
    assert list(written[0]) == [
        "Image Index",
        "Processed Image Path",
        "Harmonized Labels",
        "Dataset",
        "Patient",
        "View",
        "Split",
        "Study",
        "Sex",
        "Age",
    ]
    assert (tmp_path / "all.csv").stat().st_mode & 0o077 == 0, "it names patients"
    for row, record in zip(written, nih.records(root / "nih"), strict=False):
        assert row["Harmonized Labels"].split() == [str(record.labels[name]) for name in PATHOLOGIES]
        assert (row["Patient"], row["Split"]) == (record.patient, record.split)
        assert Path(row["Processed Image Path"]) == record.path
        assert (row["Image Index"], row["Sex"], row["Age"]) == (
            record.path.name,
            record.meta["sex"],
            str(record.meta["age"]),
        )
    vector = dict(zip(PATHOLOGIES, written[-1]["Harmonized Labels"].split(), strict=True))
    assert (vector["Cardiomegaly"], vector["Infiltration"], vector["Edema"]) == ("1", "nan", "0")


def test_policies(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "rexgradient"
    folder.mkdir(parents=True)
    study = {"PatientID": "1", "StudyInstanceUid": "1.2", "ImagePath": ["../deid_png/1.png"]}
    for split in ("train", "valid", "test"):
        text = "id,Findings,Impression\n" + ('a,Possible pneumonia.,""\n' if split == "train" else "")
        (folder / f"{split}_metadata.csv").write_text(text)
        told = {"a": study} if split == "train" else {}
        (folder / f"{split}_metadata_view_position.json").write_text(json.dumps(told))
    for policy, written in (("zero", "0"), ("one", "1"), ("soft", "0.7")):
        cli_commands_metadata.data_metadata(("rexgradient",), folder.parent, tmp_path / "one.csv", uncertain=policy)  # type: ignore[arg-type]
        vector = rows(tmp_path / "one.csv")[0]["Harmonized Labels"].split()
        assert vector[PATHOLOGIES.index("Pneumonia")] == written
    assert source.records(tmp_path / "one.csv")[0].labels["Pneumonia"] == UNCERTAIN


def test_images_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "chexpert"
    folder.mkdir(parents=True)
    others = chexpert.COLUMNS[1:]
    head, cells = f"Path,Sex,Age,Frontal/Lateral,AP/PA,{','.join(others)}", "," * len(others)
    lines = [f"CheXpert-v1.0/train/patient0000{i}/study1/view1_frontal.jpg,Female,68,Frontal,AP{cells}" for i in (1, 2)]
    (folder / "train.csv").write_text("\n".join((head, *lines, "")))
    cli_commands_metadata.data_metadata(("chexpert",), folder.parent, tmp_path / "all.csv")
    written = rows(tmp_path / "all.csv")
    assert len({row["Image Index"] for row in written}) == 2
    assert all(row["Image Index"].endswith("study1/view1_frontal.jpg") for row in written)


def test_a_table_is_packed_as_its_datasets_are(root: Path, tmp_path: Path) -> None:
    cli_commands_metadata.data_metadata(("nih",), root, tmp_path / "all.csv")
    records = source.records(tmp_path / "all.csv")
    assert [record.meta for record in records] == [record.meta for record in nih.records(root / "nih")]
    manifest = pack(records, PATHOLOGIES, tmp_path / "shards", workers=1)
    original = pack(nih.records(root / "nih"), PATHOLOGIES, tmp_path / "nih", workers=1)
    for name in PATHOLOGIES:
        assert sum(entry["counts"][name]["positive"] for entry in manifest["splits"].values()) == sum(
            entry["counts"][name]["positive"] for entry in original["splits"].values()
        )
    assert manifest["splits"]["test"]["samples"] == original["splits"]["test"]["samples"]


def test_a_table_that_people_already_have(tmp_path: Path) -> None:
    """No patients, relative paths, numbers with a point."""
    vector = " ".join(["1.0", "0.0", "nan", *["0"] * 11])
    (tmp_path / "old.csv").write_text(
        f"Image Index,Processed Image Path,Harmonized Labels,Dataset\nview1.jpg,a/view1.jpg,{vector},CheXpert\n"
        f"view1.jpg,b/view1.jpg,{vector},CheXpert\n"
    )
    first, second = source.records(tmp_path / "old.csv")
    assert first.path == tmp_path / "a" / "view1.jpg"
    assert first.image != second.image
    assert [first.labels[name] for name in PATHOLOGIES[:4]] == [1, 0, None, 0]
    assert (first.patient, first.split) == ("", "")


def test_names_splits_and_patients_as_people_write_them(tmp_path: Path) -> None:
    vector = " ".join(["0"] * 14)
    lines = [
        ("MIMIC-CXR", "p10/p10000032/s50414267/02aa804e.jpg", "train // will be split later"),
        ("ChestX-ray14", "images/00000001_000.png", "Validation"),
        ("CheXpert", "train/patient00002/study1/view1_frontal.jpg", "test"),
        ("VinDr-CXR", "a.png", ""),
    ]
    rows = [f"x,{path},{vector},{dataset},{split}" for dataset, path, split in lines]
    head = "Image Index,Processed Image Path,Harmonized Labels,Dataset,Split"
    (tmp_path / "old.csv").write_text("\n".join((head, *rows, "")))
    records = source.records(tmp_path / "old.csv")
    assert [(record.source, record.patient, record.split) for record in records] == [
        ("MIMIC_CXR", "p10000032", "train"),
        ("ChestX_ray14", "00000001", "val"),
        ("CheXpert", "patient00002", "test"),
        ("VinDr_CXR", "", ""),
    ]


@pytest.mark.parametrize(
    ("vector", "split", "problem"),
    [("1 0", "", "line 2: 2 labels instead of 14"), ("x " * 14, "", "line 2: a label is 'x'"),
     ("0 " * 14, "dev", "line 2: the split is 'dev'"), ("0 " * 14, ",old", "line 2: the age is 'old'")],
)  # fmt: skip
def test_faults_of_a_table(vector: str, split: str, problem: str, tmp_path: Path) -> None:
    head = "Image Index,Processed Image Path,Harmonized Labels,Dataset,Split,Age"
    (tmp_path / "bad.csv").write_text(f"{head}\na.png,a.png,{vector},nih,{split}\n")
    with pytest.raises(InputError) as error:
        source.records(tmp_path / "bad.csv")
    assert problem in error.value.problem


def test_faults_of_the_call(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mednist: no dataset with the 14 pathologies"):
        cli_commands_metadata.data_metadata(("mednist",), root)
    with pytest.raises(InputError, match="has no folder of a chest dataset"):
        cli_commands_metadata.data_metadata(root=tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no file"):
        source.records(tmp_path)
