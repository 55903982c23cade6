"""OpenI, the Indiana University collection: 7,470 chest X-rays of 3,851 reports, with manually indexed findings."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.download.archives import unpack
from medtrain.datasets.download.credentials import OPEN
from medtrain.datasets.download.http_client import GO_ON, Remote, fetch
from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT
from medtrain.datasets.layouts import images_in
from medtrain.datasets.record import Record, Report, report_text

TITLE = "OpenI (Indiana University): chest X-rays with their reports; findings indexed by hand in MeSH terms."
CLASSES = PATHOLOGIES
TASK = "multilabel"
IMAGES = 7_470
LICENCE = "CC BY-NC-ND 4.0; cite Demner-Fushman et al., JAMIA 2016."
ACCESS = (
    "open, 1.3 GB: https://openi.nlm.nih.gov/imgs/collections/NLMCXR_png.tgz and NLMCXR_reports.tgz beside it   "
    "unpack both into one folder, then use --root FOLDER (the copy of Kaggle, raddar/chest-xrays-indiana-university, "
    "is read as well, and so are the DICOM files of NLMCXR_dcm.tgz; views are known where the folder has Kaggle's "
    "indiana_projections.csv)"
)

REPORTS = "ecgen-radiology"
KAGGLE = ("indiana_reports.csv", "indiana_projections.csv")
SITE = "https://openi.nlm.nih.gov/imgs/collections"
DICOM = "NLMCXR_dcm"  # with a folder for each report
FOLDERS = ("NLMCXR_png", "png", "images", "images/images_normalized", "images_normalized")
# The heading before the first "/". What is not named is absent: every report was indexed for all that it finds.
HEADINGS = {
    "Pulmonary Atelectasis": ("Atelectasis",),
    "Cardiomegaly": ("Cardiomegaly",),
    "Consolidation": ("Consolidation",),
    "Pulmonary Edema": ("Edema",),
    "Pleural Effusion": ("Effusion",),
    "Hydropneumothorax": ("Effusion", "Pneumothorax"),
    "Hemopneumothorax": ("Pneumothorax",),
    "Emphysema": ("Emphysema",),
    "Pulmonary Emphysema": ("Emphysema",),
    "Bullous Emphysema": ("Emphysema",),
    "Pulmonary Fibrosis": ("Fibrosis",),
    "Fibrosis": ("Fibrosis",),
    "Hernia, Hiatal": ("Hernia",),
    "Hernia, Diaphragmatic": ("Hernia",),
    "Infiltrate": ("Infiltration",),
    "Mass": ("Mass",),
    "Nodule": ("Nodule",),
    "Pneumonia": ("Pneumonia",),
    "Pneumothorax": ("Pneumothorax",),
}
# Headings that may mean a finding: unknown, unless another one says it. No policy settles that: nobody was in doubt.
DOUBTFUL = {
    "Opacity": "Infiltration",
    "Airspace Disease": "Infiltration",
    "Pulmonary Disease, Chronic Obstructive": "Emphysema",
    "Lung, Hyperlucent": "Emphysema",
    "Calcified Granuloma": "Nodule",
    "Granuloma": "Nodule",
    "Granulomatous Disease": "Nodule",
    "Heart Failure": "Edema",
    "Pulmonary Congestion": "Edema",
}
NOT_INDEXED = "No Indexing"
IN_NAME = re.compile(r"(?:CXR)?(\d+_)(?:\1)?(IM-.*?)(?:\.dcm)?(?:\.png)?")


@dataclass(frozen=True)
class Indexed(Report):
    """One study with its MeSH headings and the names of its images."""

    headings: tuple[str, ...]
    images: tuple[str, ...]


def records(root: Path) -> list[Record]:
    """Every image that a report names, by study and name, also where the file is not there. There is no patient id:
    all images of a report are one patient. The views are those of Kaggle's table, with NLM's reports too."""
    by_report = tuple(str(folder.relative_to(root)) for folder in sorted(root.glob(f"{DICOM}/*")))
    paths = {_plain(name): path for name, path in images_in(root, (*by_report, *FOLDERS)).items()}
    views = _views(root)
    found = []
    for report in reports(root):
        labels = mesh_labels(report.headings)
        raw = {"mesh": list(report.headings)}
        for image in report.images:
            path, meta = paths.get(_plain(image), root / image), {"view": views.get(_plain(image), "")}
            found.append(Record("openi", image, path, labels, report.study, report.study, "", raw, meta))
    return found


def download(root: Path) -> None:
    """Fetch the images (1.3 GB) and the reports."""
    missing = [name for name in ("NLMCXR_png", "NLMCXR_reports") if not (root / name).exists()]
    fetch([Remote(f"{SITE}/{name}.tgz", f"{name}.tgz") for name in missing], root, OPEN)
    for name in missing:
        unpack(root / f"{name}.tgz", root / name, GO_ON)


def reports(root: Path) -> list[Indexed]:
    """Every study, of NLM's XML files or of Kaggle's two tables."""
    table = csvfile.first(root, KAGGLE[:1])
    found = list(_kaggle_reports(table) if table else _nlm_reports(root))
    return sorted(found, key=lambda report: int(report.study))


def mesh_labels(headings: tuple[str, ...]) -> dict[str, int | None]:
    """MeSH headings -> labels; all unknown where the report was not indexed."""
    if NOT_INDEXED in headings or not headings:
        return dict.fromkeys(PATHOLOGIES)
    states: dict[str, int | None] = dict.fromkeys(PATHOLOGIES, ABSENT)
    parts = [heading.strip().split("/") for heading in headings]
    for name, *qualifiers in parts:
        if label := DOUBTFUL.get(name):
            states[label] = None
        if name == "Cardiac Shadow" and "enlarged" in qualifiers:
            states["Cardiomegaly"] = None
    for name, *qualifiers in parts:
        states.update(dict.fromkeys(HEADINGS.get(name, ()), PRESENT))
        if name == "Thickening" and "pleura" in qualifiers:
            states["Pleural_Thickening"] = PRESENT
    return states


def _nlm_reports(root: Path) -> Iterator[Indexed]:
    """ecgen-radiology/N.xml, in ROOT or in a folder of it."""
    files = sorted(root.glob(f"{REPORTS}/[!.]*.xml")) or sorted(root.glob(f"*/{REPORTS}/[!.]*.xml"))
    if not files:
        raise InputError(f"{root} has no {REPORTS}/*.xml and no {KAGGLE[0]}", ACCESS)
    for file in files:
        try:
            tree = ET.parse(file).getroot()
        except (ET.ParseError, OSError) as error:
            raise InputError(f"{file} cannot be read ({error})", "unpack NLMCXR_reports.tgz again") from None
        name = tree.find("uId")
        study = re.fullmatch(r"CXR(\d+)", name.get("id", "") if name is not None else "")
        if study is None:
            raise InputError(f"{file} names no study", "unpack NLMCXR_reports.tgz again")
        sections = {part.get("Label", ""): part.text or "" for part in tree.iter("AbstractText")}
        yield Indexed(
            study[1],
            report_text(sections.get("FINDINGS", ""), sections.get("IMPRESSION", "")),
            tuple((heading.text or "").strip() for heading in tree.iter("major")),
            tuple(f"{image.get('id')}.png" for image in tree.iter("parentImage")),
        )


def _kaggle_reports(table: Path) -> Iterator[Indexed]:
    """indiana_reports.csv, and indiana_projections.csv, which names the images."""
    images: dict[str, list[str]] = {}
    for row in csvfile.rows(csvfile.find(table.parent, KAGGLE[1:], ACCESS), ("uid", "filename")):
        images.setdefault(csvfile.id_in(row["uid"]), []).append(row["filename"])
    for line, row in enumerate(csvfile.rows(table, ("uid", "MeSH", "findings", "impression")), start=2):
        if not (uid := csvfile.id_in(row["uid"])).isdigit():
            raise InputError(f"{table}, line {line}: the uid is {row['uid']!r}, not a number", "fetch the table again")
        headings = tuple(filter(None, (heading.strip() for heading in row["MeSH"].split(";"))))
        text = report_text(row["findings"], row["impression"])
        yield Indexed(uid, text, headings, tuple(images.get(uid, ())))


def _views(root: Path) -> dict[str, str]:
    """Plain name of an image -> frontal or lateral; empty without Kaggle's table."""
    table = csvfile.first(root, KAGGLE[1:])
    rows = csvfile.rows(table, ("filename", "projection")) if table else ()
    return {_plain(row["filename"]): row["projection"].lower() for row in rows}


def _plain(name: str) -> str:
    """`1_IM-0001-4001`, which NLM calls CXR1_1_IM-0001-4001.png and Kaggle 1_IM-0001-4001.dcm.png."""
    parts = IN_NAME.fullmatch(name.removesuffix(".dcm"))
    return parts[1] + parts[2] if parts else name
