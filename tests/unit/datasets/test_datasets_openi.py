"""OpenI: trees drawn in the layouts of NLM and Kaggle, and the real reports."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest
from places import SHARED

from medtrain.core.errors import InputError
from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT
from medtrain.datasets.sources import openi

DATA = SHARED / "openi"
XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="{study}"/><MedlineCitation><Article><Abstract>
<AbstractText Label="INDICATION">Mass seen elsewhere</AbstractText>
<AbstractText Label="FINDINGS">The heart is enlarged.</AbstractText>
<AbstractText Label="IMPRESSION">Cardiomegaly.</AbstractText>
</Abstract></Article></MedlineCitation>
<MeSH>{majors}<automatic>mass</automatic></MeSH>{images}</eCitation>
"""


def labels(*headings: str) -> dict[str, int | None]:
    """The labels that are not simply absent."""
    return {name: state for name, state in openi.mesh_labels(headings).items() if state != ABSENT}


@pytest.mark.parametrize(
    ("headings", "expected"),
    [
        (("normal",), {}),
        (("Cardiomegaly/mild", "Aorta/tortuous"), {"Cardiomegaly": PRESENT}),
        (("Opacity/lung/base/left",), {"Infiltration": None}),
        (("Airspace Disease/lung", "Infiltrate/lung/base/right"), {"Infiltration": PRESENT}),
        (("Infiltrate/lung/base/right", "Airspace Disease/lung"), {"Infiltration": PRESENT}),
        (("Cardiac Shadow/enlarged/mild",), {"Cardiomegaly": None}),
        (("Cardiac Shadow/right/prominent",), {}),
        (("Calcified Granuloma/lung/right",), {"Nodule": None}),
        (("Pulmonary Disease, Chronic Obstructive",), {"Emphysema": None}),
        (("Bullous Emphysema/lung/apex",), {"Emphysema": PRESENT}),
        (("Pulmonary Congestion/mild",), {"Edema": None}),
        (("Hydropneumothorax/left/large",), {"Effusion": PRESENT, "Pneumothorax": PRESENT}),
        (("Hernia, Hiatal/large",), {"Hernia": PRESENT}),
        (("Thickening/pleura/apex/bilateral",), {"Pleural_Thickening": PRESENT}),
        (("Thickening/bronchi",), {}),
        (("Subcutaneous Emphysema", "Pericardial Effusion", "Cystic Fibrosis"), {}),
        (("No Indexing",), dict.fromkeys(PATHOLOGIES)),
        ((), dict.fromkeys(PATHOLOGIES)),
    ],
)
def test_what_headings_mean(headings: tuple[str, ...], expected: dict[str, int | None]) -> None:
    assert labels(*headings) == expected


def nlm(root: Path, study: str = "CXR7", majors: tuple[str, ...] = ("Cardiomegaly",), images: int = 2) -> None:
    folder = root / "ecgen-radiology"
    folder.mkdir(parents=True, exist_ok=True)
    named = "".join(f'<parentImage id="{study}_IM-0001-{number}001"/>' for number in range(images))
    text = XML.format(study=study, images=named, majors="".join(f"<major>{major}</major>" for major in majors))
    (folder / f"{study.removeprefix('CXR')}.xml").write_text(text)
    (root / "NLMCXR_png").mkdir(exist_ok=True)
    for number in range(images):
        (root / "NLMCXR_png" / f"{study}_IM-0001-{number}001.png").write_bytes(b"")


def test_nlm(tmp_path: Path) -> None:
    nlm(tmp_path)
    nlm(tmp_path, "CXR10", ("normal",), images=1)
    nlm(tmp_path, "CXR8", images=0)
    records = openi.records(tmp_path)
    assert [record.image for record in records] == [
        "CXR7_IM-0001-0001.png", "CXR7_IM-0001-1001.png", "CXR10_IM-0001-0001.png"
    ]  # fmt: skip
    assert all(record.path.exists() for record in records)
    assert [record.patient for record in records] == ["7", "7", "10"]
    assert [record.labels["Cardiomegaly"] for record in records] == [1, 1, 0]
    assert openi.reports(tmp_path)[0].text == "The heart is enlarged.\n\nCardiomegaly.", "and not the indication"


def test_kaggle(tmp_path: Path) -> None:
    (tmp_path / "images" / "images_normalized").mkdir(parents=True)
    (tmp_path / "images" / "images_normalized" / "1_IM-0001-4001.dcm.png").write_bytes(b"")
    (tmp_path / "indiana_reports.csv").write_text(
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
        "1,Cardiomegaly/mild;Opacity/lung,Cardiomegaly;Opacity,PA,Pain,None,The heart is big.,\n"
    )
    (tmp_path / "indiana_projections.csv").write_text(
        "uid,filename,projection\n1,1_IM-0001-4001.dcm.png,Frontal\n1,1_IM-0001-3001.dcm.png,Lateral\n"
    )
    frontal, lateral = openi.records(tmp_path)
    assert (frontal.meta["view"], lateral.meta["view"]) == ("frontal", "lateral")
    assert (frontal.path.exists(), lateral.path.exists()) == (True, False)
    assert frontal.labels["Cardiomegaly"] == PRESENT
    assert frontal.labels["Infiltration"] is None


def test_kaggles_tables_packed_and_cut(tmp_path: Path) -> None:
    text = "uid,MeSH,findings,impression\n1,normal,Clear.,\n"
    (tmp_path / "indiana_reports.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "indiana_projections.csv").write_text("uid,filename,projection\n1,1_IM-0001-4001.dcm.png,Frontal\n")
    assert len(openi.records(tmp_path)) == 1
    (tmp_path / "indiana_reports.csv").write_text(text.replace("1,normal", "x,normal"))
    with pytest.raises(InputError, match=r"line 2: the uid is 'x', not a number"):
        openi.records(tmp_path)


def test_hidden_files_beside_the_reports(tmp_path: Path) -> None:
    nlm(tmp_path)
    (tmp_path / "ecgen-radiology" / "._1.xml").write_bytes(b"\0\5\26\7")
    assert openi.records(tmp_path)


def test_the_views_of_kaggles_table_for_nlms_images(tmp_path: Path) -> None:
    nlm(tmp_path, "CXR1")
    nlm(tmp_path, "CXR7")
    first = tmp_path / "ecgen-radiology" / "1.xml"
    first.write_text(first.read_text().replace("CXR1_IM", "CXR1_1_IM"))  # so it is in the real ones
    (tmp_path / "indiana_projections.csv").write_text(
        "uid,filename,projection\n1,1_IM-0001-0001.dcm.png,Frontal\n7,7_IM-0001-1001.dcm.png,Lateral\n"
    )
    assert [record.meta["view"] for record in openi.records(tmp_path)] == ["frontal", "", "", "lateral"]
    table = tmp_path / "indiana_projections.csv"
    (tmp_path / "indiana_projections.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
    table.unlink()
    assert openi.records(tmp_path)[0].meta["view"] == "frontal", "packed or not"


def test_kaggles_tables_with_nlms_images_and_dicom(tmp_path: Path) -> None:
    (tmp_path / "indiana_reports.csv").write_text("uid,MeSH,findings,impression\n1,normal,Clear.,\n7,normal,Clear.,\n")
    (tmp_path / "indiana_projections.csv").write_text(
        "uid,filename,projection\n1,1_IM-0001-4001.dcm.png,Frontal\n7,7_IM-0001-1001-0001.dcm.png,Lateral\n"
    )
    for name in ("NLMCXR_png/CXR1_1_IM-0001-4001.png", "NLMCXR_dcm/7/7_IM-0001-1001-0001.dcm"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    assert all(record.path.exists() for record in openi.records(tmp_path))


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no ecgen-radiology"):
        openi.records(tmp_path)
    nlm(tmp_path)
    (tmp_path / "ecgen-radiology" / "7.xml").write_text("<eCitation><uId")
    with pytest.raises(InputError, match=r"7\.xml cannot be read"):
        openi.records(tmp_path)
    (tmp_path / "ecgen-radiology" / "7.xml").write_text("<eCitation/>")
    with pytest.raises(InputError, match=r"7\.xml names no study"):
        openi.records(tmp_path)


@pytest.mark.skipif(
    not DATA.exists(), reason="!!! NOT TESTED on real data: no OpenI reports here (../shared/data/openi)"
)
def test_the_real_reports(openi_root: Path) -> None:
    reports = openi.reports(openi_root)
    assert (len(reports), sum(not report.images for report in reports)) == (3955, 104)
    records = openi.records(openi_root)
    assert (len(records), len({record.patient for record in records})) == (7470, 3851)
    positive = Counter(
        name for report in reports for name, state in openi.mesh_labels(report.headings).items() if state == PRESENT
    )
    assert (positive["Cardiomegaly"], positive["Pneumothorax"], positive["Hernia"]) == (375, 27, 50)  # by grep -l
