"""CheXpert: 223,648 chest X-rays of Stanford; 14 observations that a labeller read from the reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN, UNMENTIONED
from medtrain.datasets.record import FRONTAL, Record, years

TITLE = "CheXpert (Stanford): chest X-rays, seven of the 14 labels, each stated, denied, uncertain or not mentioned."
CLASSES = PATHOLOGIES
TASK = "multilabel"
IMAGES = 223_648
LICENCE = "Stanford University Dataset Research Use Agreement: research only; cite Irvin et al., AAAI 2019."
ACCESS = (
    "by a form at https://stanfordaimi.azurewebsites.net (CheXpert: about 440 GB in four zips, or the small set of "
    "11 GB)   unpack into one folder, then use --root FOLDER"
)

TABLES = {"train": ("train.csv",), "val": ("valid.csv",), "test": ("test.csv", "test_labels.csv")}
NO_FINDING = "No Finding"
OBSERVATIONS = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Pleural Effusion": "Effusion",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
}
TELLS = tuple(OBSERVATIONS.values())
# These take in more than one of the 14 pathologies, as the labeller's phrase lists say (Lung Opacity is opacity,
# airspace disease, infiltrate, scar ...): a label made of one would be wrong. They are kept as raw values only.
TOO_WIDE = ("Enlarged Cardiomediastinum", "Lung Lesion", "Lung Opacity", "Pleural Other")
VALUES = {"1.0": PRESENT, "0.0": ABSENT, "-1.0": UNCERTAIN, "": UNMENTIONED, "1": PRESENT, "0": ABSENT, "-1": UNCERTAIN}
COLUMNS = ("Path", NO_FINDING, *OBSERVATIONS, *TOO_WIDE)
ABOUT = ("Sex", "Age", "Frontal/Lateral", "AP/PA")  # the table of the test set has not all of them
BATCHES = "CheXpert-v1.0 batch * (*)"
IN_PATH = re.compile(r"(train|valid|test)/(patient\d+)/(study\d+)/([^/]+)")


def records(root: Path) -> list[Record]:
    """Every row of train.csv, valid.csv (split val) and, where it is there, the test set's table, in their order, also
    where the image file is not there.

    ROOT is CheXpert-v1.0 or CheXpert-v1.0-small, the folder that holds it, or the one that holds the folders of the
    four zips, where the patients of the training set lie right below; or the folder of the first zip.
    """
    root = root.resolve()  # its own name tells which of the zips it is
    places = _places(root)
    tables = _tables(places, root)
    patients = _patient_folders(places, tables["train"].parent)
    found = []
    for split, table in tables.items():
        for line, row in enumerate(csvfile.rows(table, COLUMNS if split == "test" else (*COLUMNS, *ABOUT)), start=2):
            found.append(_record(row, split, root, patients, f"{table}, line {line}"))
    return found


def observed(row: Mapping[str, str], where: str) -> dict[str, int | None]:
    """The labels of a row of the CheXpert labeller (MIMIC-CXR-JPG has the same); the other seven it does not tell.

    With No Finding, what is not mentioned is absent: it is never together with a finding or a doubt.
    """
    states: dict[str, int | None] = dict.fromkeys(PATHOLOGIES)
    for name, label in OBSERVATIONS.items():
        if row[name] not in VALUES:
            problem = f"{where}: {name} is {row[name]!r}, not one of 1.0, 0.0, -1.0 and blank"
            raise InputError(problem, "fetch the table again")
        states[label] = VALUES[row[name]]
    if VALUES.get(row[NO_FINDING]) == PRESENT:
        states = {label: ABSENT if state == UNMENTIONED else state for label, state in states.items()}
    return states


def raw_values(row: Mapping[str, str]) -> dict[str, str]:
    """What the labeller said, without what it did not mention."""
    return {name: row[name] for name in (NO_FINDING, *OBSERVATIONS, *TOO_WIDE) if row[name]}


def _record(row: csvfile.Row, split: str, root: Path, patients: dict[str, Path], where: str) -> Record:
    named = IN_PATH.search(row["Path"])
    if named is None:
        raise InputError(f"{where}: the path {row['Path']!r} names no patient and study", "fetch the table again")
    folder, patient, study, image = named.groups()
    path = patients.get(f"{folder}/{patient}", root / folder / patient) / study / image
    side = row["AP/PA"] if row.get("AP/PA") in FRONTAL else "frontal"  # a few frontal images are called LL or RL
    view = side if row.get("Frontal/Lateral", "Frontal" if "frontal" in image else "") == "Frontal" else "lateral"
    meta = {
        "view": view,
        "sex": {"Male": "M", "Female": "F"}.get(row.get("Sex", ""), ""),
        "age": years(row.get("Age", "")),
    }
    labels = observed(row, where)
    return Record("chexpert", named[0], path, labels, patient, f"{patient}/{study}", split, raw_values(row), meta)


def _tables(places: list[Path], root: Path) -> dict[str, Path]:
    """split -> its table."""
    base = next((place for place in places if csvfile.first(place, TABLES["train"])), root)
    found = {split: csvfile.first(base, names) for split, names in TABLES.items()}
    found["train"] = csvfile.find(base, TABLES["train"], ACCESS)
    return {split: table for split, table in found.items() if table}


def _places(root: Path) -> list[Path]:
    """The folders where tables and patients may lie: ROOT, those of a release or of a zip in it, those beside it."""
    above = [root, *sorted(root.glob("chexpertchestxrays*"))]
    if root.match(BATCHES):
        above.append(root.parent)
    return above + [place for folder in above for place in sorted(folder.glob("CheXpert-v1.0*")) if place != root]


def _patient_folders(places: list[Path], base: Path) -> dict[str, Path]:
    """`train/patient00001` -> its folder, by one listing of each place; the one with the tables counts most."""
    found = {}
    for place in (*(place for place in places if place != base), base):
        below = [(split, place / split) for split in ("train", "valid", "test")]
        for split, folder in [*below, *([("train", place)] if place.match(BATCHES) else [])]:
            if folder.is_dir():
                patients = (path for path in folder.iterdir() if path.name.startswith("patient"))
                found.update({f"{split}/{path.name}": path for path in patients})
    return found
