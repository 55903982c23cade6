"""PadChest: a tree drawn in its layout, and what its terms mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.cli.commands import check as cli_commands_check
from medtrain.core.errors import InputError
from medtrain.datasets.labels import ABSENT, PRESENT
from medtrain.datasets.sources import padchest

HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "MethodLabel,Labels"
)
ROWS = (
    """0,2-041_04-014-084.png,0,20140915,s1,p1,1930.0,F,POST,PA,Physician,"['pleural effusion', ' pneumonia', '']\"""",
    """1,2-041_04-014-085.png,13.0,20140915,s1,p1,1930.0,F,LAT,L,RNN_model,['normal']""",
    """2,2-041_04-014-086.png,54,20140915,s2,p2,,M,,AP_horizontal,RNN_model,"['cardiomegaly', 'unchanged']\"""",
    """3,2-041_04-014-087.png,54,20140915,s3,p3,1980.0,M,,PA,RNN_model,""",
    """4,2-041_04-014-088.png,54,20140915,s4,p4,1980.0,M,,PA,RNN_model,['exclude']""",
    """5,2-041_04-014-089.png,54,20140915,s5,p5,1980.0,O,,COSTAL,RNN_model,['suboptimal study']""",
)


def tree(root: Path, rows: tuple[str, ...] = ROWS) -> Path:
    (root / padchest.TABLE).write_text("\n".join((HEADER, *rows, "")))
    return root


def test_folders_and_their_numbers(tmp_path: Path) -> None:
    for folder, name in (("0", "2-041_04-014-084.png"), ("13", "2-041_04 - 014 - 085.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"")
    first, second, third = padchest.records(tree(tmp_path))
    assert [record.path.exists() for record in (first, second, third)] == [True, True, False]
    assert third.path == tmp_path / "54" / "2-041_04-014-086.png"
    (tmp_path / "2-041_04-014-086.png").write_bytes(b"")
    assert padchest.records(tmp_path)[2].path.exists(), "all in one folder, as many people have it"
    (tmp_path / "54").mkdir()
    (tmp_path / "54" / "2-041_04-014-084.png").write_bytes(b"")
    assert padchest.records(tmp_path)[0].path == tmp_path / "0" / "2-041_04-014-084.png", "of two the one that is told"
    (tmp_path / "0" / "2-041_04-014-084.png").unlink()
    assert padchest.records(tmp_path)[0].path == tmp_path / "54" / "2-041_04-014-084.png"


def test_rows_that_say_nothing_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [record.patient for record in padchest.records(tree(tmp_path))] == ["p1", "p1", "p2"]
    cli_commands_check.check("padchest", tmp_path, metadata_only=True)
    told = capsys.readouterr().out
    assert "records     3 " in told
    assert "left out    without labels (1), marked as excluded or suboptimal (2)" in told


def test_labels_views_and_people(tmp_path: Path) -> None:
    first, second, third = padchest.records(tree(tmp_path))
    assert (first.labels["Effusion"], first.labels["Pneumonia"], first.labels["Mass"]) == (PRESENT, PRESENT, ABSENT)
    assert set(second.labels.values()) == {ABSENT}
    assert third.labels["Cardiomegaly"] == PRESENT
    assert third.labels["Effusion"] is None, "unchanged says nothing of what is not named"
    assert [record.meta["view"] for record in (first, second, third)] == ["PA", "lateral", "AP"]
    assert [record.meta["age"] for record in (first, second, third)] == [84, 84, None]
    assert first.meta["labelled_by"] == "Physician"
    assert first.raw == {"labels": ["pleural effusion", "pneumonia"]}


@pytest.mark.parametrize(
    ("term", "label"),
    [
        ("pericardial effusion", "Effusion"),
        ("subcutaneous emphysema", "Emphysema"),
        ("pseudonodule", "Nodule"),
        ("nipple shadow", "Nodule"),
        ("end on vessel", "Nodule"),
        ("minor fissure thickening", "Pleural_Thickening"),
        ("abnormal foreign body", "Mass"),
    ],
)
def test_words_that_only_look_alike(term: str, label: str) -> None:
    assert padchest.term_labels([term])[label] == ABSENT


def test_terms_that_leave_a_label_open() -> None:
    assert padchest.term_labels(["COPD signs"])["Emphysema"] is None
    assert padchest.term_labels(["COVID 19 uncertain"])["Pneumonia"] is None
    assert padchest.term_labels(["COVID 19"])["Pneumonia"] == PRESENT
    assert padchest.term_labels(["COPD signs", "emphysema"])["Emphysema"] == PRESENT
    assert padchest.term_labels(["breast mass"])["Mass"] is None
    assert padchest.term_labels(["consolidation"])["Infiltration"] == PRESENT
    assert padchest.term_labels(["hydropneumothorax"])["Pneumothorax"] == PRESENT


def test_odd_cells(tmp_path: Path) -> None:
    rows = (
        ROWS[0].replace(".png,0,", ".png,nan,").replace("1930.0", "2016.0"),
        ROWS[1].replace(".png,13.0,", ".png, ,"),
        *(ROWS[1].replace("['normal']", cell) for cell in ("[]", "['']", "[nan]", "\"['', ' ']\"")),
    )
    first, second = padchest.records(tree(tmp_path, rows))
    assert (first.path.parent, second.path.parent) == (tmp_path, tmp_path)
    assert first.meta["age"] is None, "born after the X-ray"


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no PADCHEST_chest"):
        padchest.records(tmp_path)
    tree(tmp_path, (ROWS[1].replace("['normal']", "['normal'"),))
    with pytest.raises(InputError, match="line 2: the labels are"):
        padchest.records(tmp_path)
