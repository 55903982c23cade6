"""data label-reports: a drawn set, and the real OpenI reports against their manual labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from places import SHARED
from sklearn import metrics as reference

from medtrain.cli.commands import label_reports
from medtrain.core.errors import InputError
from medtrain.datasets.labels import PATHOLOGIES

DATA = SHARED / "openi"
REPORTS = {"1": "Cardiomegaly. No effusion.", "2": "Small effusion, possible pneumonia.", "3": "Clear lungs."}
GOLD = "filename,Cardiomegaly,Effusion,Pneumonia,Hernia,normal\nCXR1,1,1,0,0,0\nCXR2,0,1,1,0,0\nCXR3,0,0,0,0,1\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows = [f"{study},,,,,,{text}," for study, text in REPORTS.items()]
    header = "uid,MeSH,Problems,image,indication,comparison,findings,impression"
    quoted = [row.replace(REPORTS[row[0]], f'"{REPORTS[row[0]]}"') for row in rows]
    (tmp_path / "indiana_reports.csv").write_text("\n".join((header, *quoted, "")))
    (tmp_path / "indiana_projections.csv").write_text("uid,filename,projection\n")
    (tmp_path / "gold.csv").write_text(GOLD)
    return tmp_path


def test_scores(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label_reports.data_label_reports("openi", root, root / "gold.csv", json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["reports"], found["scored"]) == (3, 3)
    assert list(found["labels"]) == ["Cardiomegaly", "Effusion", "Pneumonia"], "nobody looked for Hernia"
    truth, read = [1, 1, 0, 0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 1, 0, 0, 0, 0]  # report by report
    for name, number in (("precision", reference.precision_score), ("recall", reference.recall_score),
                         ("f1", reference.f1_score)):  # fmt: skip
        assert found["micro"][name] == pytest.approx(number(truth, read))


def test_words_and_a_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label_reports.data_label_reports("openi", root, root / "gold.csv", root / "labels.csv")
    assert "against 3 reports of" in capsys.readouterr().out
    head, *rows = (root / "labels.csv").read_text().splitlines()
    assert head == ",".join(("study", *PATHOLOGIES))
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3"]
    assert rows[0].split(",")[1 + PATHOLOGIES.index("Effusion")] == "0"
    assert rows[1].split(",")[1 + PATHOLOGIES.index("Pneumonia")] == "", "unknown"


def test_faults(root: Path) -> None:
    with pytest.raises(InputError, match="mednist has no reports"):
        label_reports.data_label_reports("mednist", root)
    (root / "gold.csv").write_text(GOLD + "CXR9,0,0,0,0,0\n")
    with pytest.raises(InputError, match="1 report of the gold file is not in the dataset"):
        label_reports.data_label_reports("openi", root, root / "gold.csv")
    (root / "gold.csv").write_text("filename,Effusion\nCXR1,yes\n")
    with pytest.raises(InputError, match="line 2: no labels of 0 and 1"):
        label_reports.data_label_reports("openi", root, root / "gold.csv")


@pytest.mark.skipif(
    not DATA.exists(), reason="!!! NOT TESTED on real data: no OpenI reports here (../shared/data/openi)"
)
def test_the_manual_labels_of_openi(openi_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label_reports.data_label_reports("openi", openi_root, DATA / "labels_dev.csv", json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["reports"], found["scored"], len(found["labels"])) == (3955, 3080, 13)
    assert found["micro"]["f1"] >= 0.93, found["micro"]
    assert found["labels"]["Effusion"]["precision"] >= 0.95
    assert found["labels"]["Pneumothorax"]["precision"] >= 0.95
