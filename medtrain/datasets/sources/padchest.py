"""PadChest: 160,861 chest X-rays of Alicante; terms by physicians or by a network that read reports."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT
from medtrain.datasets.layouts import images_in
from medtrain.datasets.record import OLDEST, Record

TITLE = "PadChest (Alicante): chest X-rays with 193 findings and diagnoses; a quarter labelled by physicians."
CLASSES = PATHOLOGIES
TASK = "multilabel"
IMAGES = 160_861
LICENCE = "PadChest Dataset Research Use Agreement: non-commercial, no redistribution; cite Bustos et al. 2020."
ACCESS = (
    "by a form at https://bimcv.cipf.es/bimcv-projects/padchest/ (about 1 TB in 52 zips)   unpack them with the table "
    "into one folder, then use --root FOLDER"
)

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
COLUMNS = ("ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
           "Projection", "MethodLabel", "Labels")  # fmt: skip
FOLDERS = tuple(str(number) for number in (*range(51), 54))
VIEWS = {"PA": "PA", "AP": "AP", "AP_horizontal": "AP", "L": "lateral", "COSTAL": "other", "EXCLUDE": "other"}
# Exact terms. The tables write only leaves of PadChest's tree, so each list holds all that lies below a finding.
TERMS = {
    "Atelectasis": (
        "atelectasis", "atelectasis basal", "laminar atelectasis", "lobar atelectasis", "round atelectasis",
        "segmental atelectasis", "total atelectasis",
    ),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation", "air bronchogram"),
    "Edema": ("pulmonary edema",),
    "Effusion": (
        "pleural effusion", "loculated pleural effusion", "loculated fissural effusion", "hydropneumothorax", "empyema",
        "hemothorax",
    ),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("pulmonary fibrosis", "post radiotherapy changes", "asbestosis signs"),
    "Hernia": ("hiatal hernia",),
    "Infiltration": (
        "infiltrates", "interstitial pattern", "ground glass pattern", "reticular interstitial pattern",
        "reticulonodular interstitial pattern", "miliary opacities", "alveolar pattern", "consolidation",
        "air bronchogram",
    ),
    "Mass": ("mass", "pulmonary mass", "pleural mass"),
    "Nodule": ("nodule", "multiple nodules"),
    "Pleural_Thickening": ("pleural thickening", "apical pleural thickening", "calcified pleural thickening"),
    "Pneumonia": ("pneumonia", "atypical pneumonia", "viral pneumonia", "COVID 19"),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
}  # fmt: skip
# Terms that may mean a finding: unknown, unless another one says it. No policy settles that: nobody was in doubt.
DOUBTFUL = {
    "Emphysema": ("COPD signs", "bullas", "hyperinflated lung", "air trapping"),
    "Edema": (
        "heart insufficiency", "kerley lines", "vascular redistribution", "central vascular redistribution",
        "hilar congestion",
    ),
    "Fibrosis": ("fibrotic band", "chronic changes", "tuberculosis sequelae"),
    "Mass": ("mediastinal mass", "breast mass", "soft tissue mass"),
    "Nodule": ("granuloma", "calcified granuloma"),
    "Pleural_Thickening": ("pleural plaques", "calcified pleural plaques"),
    "Pneumonia": ("COVID 19 uncertain",),
}  # fmt: skip
AS_BEFORE = "unchanged"  # "no change since the last one", of which the table says nothing
UNUSABLE = ("exclude", "suboptimal study")


def records(root: Path) -> list[Record]:
    """Every labelled row of the table, in its order, also where the image file is not there.

    The images lie in ROOT/0 to ROOT/54, as the column ImageDir says, or all in ROOT. Left out are rows without labels,
    and those that PadChest marks as excluded or suboptimal.
    """
    below, flat = {name: _listed(root / name) for name in FOLDERS}, _listed(root)
    anywhere = {name: path for listed in below.values() for name, path in listed.items()} | flat
    found = []
    for row, terms in _rows(root):
        if _reason(terms):
            continue
        image = row["ImageID"].replace(" ", "")
        folder = _folder(row["ImageDir"])
        path = below.get(folder, {}).get(image) or anywhere.get(image, root / folder / image)
        found.append(
            Record(
                "padchest", image, path, term_labels(terms), row["PatientID"], row["StudyID"], "", {"labels": terms},
                _meta(row),
            )
        )  # fmt: skip
    return found


def _listed(folder: Path) -> dict[str, Path]:
    """The images of a folder by name; some copies have spaces round the hyphens."""
    return {name.replace(" ", ""): path for name, path in images_in(folder, ()).items()}


def left_out(root: Path) -> dict[str, int]:
    """Rows that are none of the records."""
    return dict(Counter(reason for _, terms in _rows(root) if (reason := _reason(terms))))


def _rows(root: Path) -> Iterator[tuple[csvfile.Row, list[str]]]:
    """The rows of the table, and the terms of each."""
    table = csvfile.find(root, (TABLE,), ACCESS)
    for line, row in enumerate(csvfile.rows(table, COLUMNS), start=2):
        yield row, _terms(row["Labels"], f"{table}, line {line}")


def _reason(terms: list[str]) -> str:
    """Why a row is left out; empty where it is not."""
    if not terms:
        return "without labels"
    return "marked as excluded or suboptimal" if any(term in UNUSABLE for term in terms) else ""


def term_labels(terms: list[str]) -> dict[str, int | None]:
    """PadChest's terms -> labels. What is not named is absent, or unknown after `unchanged`."""
    named = set(terms)
    states: dict[str, int | None] = dict.fromkeys(PATHOLOGIES, None if AS_BEFORE in named else ABSENT)
    states |= dict.fromkeys(label for label, doubtful in DOUBTFUL.items() if named & set(doubtful))
    return states | {label: PRESENT for label, meant in TERMS.items() if named & set(meant)}


def _folder(text: str) -> str:
    """`13`, also where a table was written anew as `13.0`; nothing where the cell is empty."""
    try:
        return str(int(float(text)))
    except ValueError:
        return ""


def _terms(text: str, where: str) -> list[str]:
    """`['pleural effusion', ' pneumonia', '']` without spaces and empty ones; none where there is no list."""
    if text.strip() in ("", "nan", "[nan]"):
        return []
    try:
        value = ast.literal_eval(text)
        return [term.strip() for term in value if term.strip()]
    except (ValueError, SyntaxError, TypeError, AttributeError):
        raise InputError(f"{where}: the labels are {text!r}, not a list of terms", "fetch the table again") from None


def _meta(row: csvfile.Row) -> dict[str, object]:
    born, taken = row["PatientBirth"][:4], row["StudyDate_DICOM"][:4]
    age = int(taken) - int(born) if born.isdigit() and taken.isdigit() else -1
    sex = row["PatientSex_DICOM"] if row["PatientSex_DICOM"] in ("M", "F") else ""
    return {
        "view": VIEWS.get(row["Projection"], ""),
        "sex": sex,
        "age": min(age, OLDEST) if age >= 0 else None,
        "labelled_by": row["MethodLabel"],
    }
