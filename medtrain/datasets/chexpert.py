"""CheXpert: 223,648 chest X-rays of Stanford; 14 observations that a labeller read from the reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from medtrain import csvfile
from medtrain.errors import InputError
from medtrain.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN, UNMENTIONED
from medtrain.record import FRONTAL, OLDEST, Record

TITLE = "CheXpert (Stanford): chest X-rays, seven of the 14 labels, each stated, denied, uncertain or not mentioned."
CLASSES = PATHOLOGIES
IMAGES = 223_648
LICENCE = "Stanford University Dataset Research Use Agreement: research only; cite Irvin et al., AAAI 2019."
ACCESS = (
    "by a form at https://stanfordaimi.azurewebsites.net (CheXpert: about 440 GB in four zips, or the small set of "
    "11 GB)   unpack into one folder, then use --root FOLDER"
)

TABLES = {"train": "train.csv", "val": "valid.csv"}
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
# These take in more than one of the 14 pathologies, as the labeller's phrase lists say (Lung Opacity is opacity,
# airspace disease, infiltrate, scar ...): a label made of one would be wrong. They are kept as raw values only.
TOO_WIDE = ("Enlarged Cardiomediastinum", "Lung Lesion", "Lung Opacity", "Pleural Other")
VALUES = {"1.0": PRESENT, "0.0": ABSENT, "-1.0": UNCERTAIN, "": UNMENTIONED, "1": PRESENT, "0": ABSENT, "-1": UNCERTAIN}
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", NO_FINDING, *OBSERVATIONS, *TOO_WIDE)
BATCHES = "CheXpert-v1.0 batch * (*)"
IN_PATH = re.compile(r"(train|valid)/(patient\d+)/(study\d+)/([^/]+)")


def records(root: Path) -> list[Record]:
    """Every row of train.csv and valid.csv (split val), in their order, also where the image file is not there.

    ROOT is CheXpert-v1.0 or CheXpert-v1.0-small, the folder that holds it, or the one that holds the folders of the
    four zips, where the patients of the training set lie right below.
    """
    tables = _tables(root)
    patients = _patient_folders(root, tables["train"].parent)
    found = []
    for split, table in tables.items():
        for line, row in enumerate(csvfile.rows(table, COLUMNS), start=2):
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
    side = row["AP/PA"] if row["AP/PA"] in FRONTAL else "frontal"  # a few frontal images are called LL or RL
    view = side if row["Frontal/Lateral"] == "Frontal" else "lateral"
    age = int(float(row["Age"])) if row["Age"] else None
    meta = {
        "view": view,
        "sex": {"Male": "M", "Female": "F"}.get(row["Sex"], ""),
        "age": None if age is None else min(age, OLDEST),
    }
    labels = observed(row, where)
    return Record("chexpert", named[0], path, labels, patient, f"{patient}/{study}", split, raw_values(row), meta)


def _tables(root: Path) -> dict[str, Path]:
    """split -> its table."""
    places = [root, *sorted(root.glob("CheXpert-v1.0*"))]
    base = next((place for place in places if (place / TABLES["train"]).exists()), root)
    return {
        split: csvfile.find(base, (name,), ACCESS)
        for split, name in TABLES.items()
        if split == "train" or (base / name).exists()
    }


def _patient_folders(root: Path, base: Path) -> dict[str, Path]:
    """`train/patient00001` -> its folder, by one listing of each place where patients may lie."""
    places = [("train", base / "train"), ("valid", base / "valid")]
    for batch in sorted(root.glob(BATCHES)):
        places += [("train", batch), ("train", batch / "train"), ("valid", batch / "valid")]
    return {
        f"{split}/{path.name}": path
        for split, place in places
        if place.is_dir()
        for path in place.iterdir()
        if path.name.startswith("patient")
    }
