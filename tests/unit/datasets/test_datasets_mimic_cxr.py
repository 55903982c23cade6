"""MIMIC-CXR-JPG: a tree drawn in its layout."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from medtrain.core.errors import InputError
from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN, UNMENTIONED
from medtrain.datasets.sources import chexpert, mimic_cxr

METADATA = """dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning
aa-1,10000032,50414267,CHEST (PA AND LAT),PA,3056,2544,21800506,213014.531,CHEST,postero-anterior,Erect
aa-2,10000032,50414267,CHEST (PA AND LAT),,3056,2544,21800506,213014.531,CHEST,left lateral,Erect
aa-3,11000011,50000001,CHEST,LL,3056,2544,21800506,213014.531,CHEST,,Erect
aa-4,19000011,50000002,CHEST,,3056,2544,21800506,213014.531,CHEST,,Erect
aa-5,19000011,50000002,CHEST,,3056,2544,21800506,213014.531,CHEST,right lateral,Erect
aa-6,19000011,50000002,CHEST,,3056,2544,21800506,213014.531,CHEST,left anterior oblique,Erect
"""  # noqa: E501
SPLIT = """dicom_id,study_id,subject_id,split
aa-1,50414267,10000032,train
aa-2,50414267,10000032,train
aa-3,50000001,11000011,validate
aa-4,50000002,19000011,test
aa-5,50000002,19000011,test
aa-6,50000002,19000011,test
"""
LABELS = """subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices
10000032,50414267,1.0,-1.0,,,,,,1.0,,0.0,,,0.0,
11000011,50000001,,,,,,,,,1.0,,,,,
"""  # noqa: E501


def tree(base: Path, packed: bool = True) -> Path:
    base.mkdir(parents=True, exist_ok=True)
    for name, text in ((mimic_cxr.METADATA, METADATA), (mimic_cxr.SPLIT, SPLIT), (mimic_cxr.LABELS, LABELS)):
        if packed:
            (base / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (base / name).write_text(text)
    folder = base / "files/p10/p10000032/s50414267"
    folder.mkdir(parents=True)
    (folder / "aa-1.jpg").write_bytes(b"")
    return base


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("base", [".", "physionet.org/files/mimic-cxr-jpg/2.1.0"])
def test_the_tables_packed_or_not_and_where_wget_puts_them(packed: bool, base: str, tmp_path: Path) -> None:
    tree(tmp_path / base, packed)
    records = mimic_cxr.records(tmp_path)
    assert [record.path.exists() for record in records] == [True, *[False] * 5]
    assert [record.split for record in records] == ["train", "train", "val", "test", "test", "test"]
    assert [record.patient for record in records[:4]] == ["10000032", "10000032", "11000011", "19000011"]
    assert [record.meta["view"] for record in records] == ["PA", "lateral", "lateral", "", "lateral", "other"]


def test_labels_belong_to_the_study(tmp_path: Path) -> None:
    first, second, healthy, unlabelled, *_ = mimic_cxr.records(tree(tmp_path))
    assert first.labels == second.labels
    assert (first.labels["Atelectasis"], first.labels["Cardiomegaly"]) == (PRESENT, UNCERTAIN)
    assert (first.labels["Effusion"], first.labels["Edema"]) == (ABSENT, UNMENTIONED)
    assert first.labels["Infiltration"] is None, "Lung Opacity is none"
    assert healthy.labels["Edema"] == ABSENT
    assert unlabelled.labels == dict.fromkeys(PATHOLOGIES)
    assert first.raw["Lung Opacity"] == "1.0"


def test_what_it_never_tells() -> None:
    assert mimic_cxr.TELLS == chexpert.TELLS


def test_an_image_without_a_split(tmp_path: Path) -> None:
    tree(tmp_path, packed=False)
    (tmp_path / mimic_cxr.SPLIT).write_text(SPLIT.replace("aa-3", "aa-5"))
    with pytest.raises(InputError, match="line 4: aa-3 has no split"):
        mimic_cxr.records(tmp_path)


def test_a_table_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no mimic-cxr-2\.0\.0-split\.csv"):
        mimic_cxr.records(tmp_path)
