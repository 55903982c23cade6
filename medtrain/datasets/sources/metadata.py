"""A table of harmonised chest X-rays that somebody has made already, one row an image."""

from __future__ import annotations

import re
from pathlib import Path

from medtrain.core.counts import counted
from medtrain.core.errors import InputError
from medtrain.datasets import cells, csvfile
from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN
from medtrain.datasets.record import Record

TITLE = "A table of your own (train_metadata_v2.csv): image path and the vector of 14 labels, one row an image."
CLASSES = PATHOLOGIES
TASK = "multilabel"
IMAGES = 0
LICENCE = "That of the images it names."
ACCESS = "medtrain data metadata nih openi --root DIR --out FILE.csv   writes one; then use --root FILE.csv"

NEEDED = ("Image Index", "Processed Image Path", "Harmonized Labels", "Dataset")
OPTIONAL = ("Patient", "View", "Split", "Study", "Sex", "Age")
STATES: dict[str, int | None] = {"1": PRESENT, "0": ABSENT, **dict.fromkeys(csvfile.EMPTY - {""})}
AS_BLANKS = str.maketrans(dict.fromkeys("[](){},;'\"", " "))  # of lists and arrays as Python and NumPy write them
# Of NIH, CheXpert and MIMIC the path tells whose image it is.
PATIENT_IN_PATH = re.compile(r"(?:^|/)(?:(\d{8})_\d{3}\.(?:png|jpe?g)$|(patient\d+)/|p\d\d/(p\d{8})/)")


def records(root: Path) -> list[Record]:
    """Every row of the table at `root`, in its order, also where the image is not there.

    A record's source is the dataset that its row names. Paths are taken as they are, or from the table's folder.
    Where the column Patient is not filled in, the paths of NIH, CheXpert and MIMIC tell it; of others without it the
    split can only keep identical images together.
    """
    if not root.is_file():
        raise InputError(f"{root} is no file; give the table itself", ACCESS)
    found = []
    for line, row in enumerate(csvfile.rows(root, NEEDED, csvfile.OWN_FIX), start=2):
        where = f"{root}, line {line}"
        patient, study = (csvfile.id_in(row.get(name)) for name in ("Patient", "Study"))
        view, split, sex = (csvfile.filled(row.get(name)) for name in ("View", "Split", "Sex"))
        with cells.at(where, "split"):
            split = cells.split(split.partition("//")[0])  # some tables say: train // will be split later
        with cells.at(where, "age"):
            age = cells.age(row.get("Age"))
        dataset = re.sub(r"\W+", "_", csvfile.filled(row["Dataset"]), flags=re.ASCII)
        if not dataset:
            raise InputError(f"{where}: it names no dataset", "write one, as nih")
        if not csvfile.filled(row["Processed Image Path"]):
            raise InputError(f"{where}: it names no image path", "write one, or take the line away")
        path = Path(row["Processed Image Path"])
        # Names like view1_frontal.jpg stand for thousands of images: only the path tells them apart.
        image = f"{dataset}/{row['Processed Image Path']}"
        path = path if path.is_absolute() else root.parent / path
        labels = _labels(row["Harmonized Labels"], where)
        meta = {"view": view, "sex": sex, "age": age}
        patient = patient or _patient_in(row["Processed Image Path"])
        found.append(Record(dataset, image, path, labels, patient, study, split, {}, meta))
    return found


def _patient_in(path: str) -> str:
    named = PATIENT_IN_PATH.search(path)
    return next(filter(None, named.groups())) if named else ""


def _labels(text: str, where: str) -> dict[str, int | None]:
    """`1 0 nan 0.7 ...` or `[1, 0, nan, 0.7, ...]`, in the order of the 14; a value between 0 and 1 is one that was
    left open."""
    states = text.translate(AS_BLANKS).split()
    if len(states) != len(PATHOLOGIES):
        problem = f"{where}: {counted(len(states), 'labels')} instead of {len(PATHOLOGIES)}"
        raise InputError(problem, f"write 0, 1 or nan for each of {', '.join(PATHOLOGIES)}")
    return {name: _state(cell.lower(), where) for name, cell in zip(PATHOLOGIES, states, strict=True)}


def _state(cell: str, where: str) -> int | None:
    cell = cell.removesuffix("0").removesuffix(".") if cell.endswith((".0", ".")) else cell
    if cell in STATES:
        return STATES[cell]
    try:
        if 0 < float(cell) < 1:
            return UNCERTAIN
    except ValueError:
        pass
    raise InputError(f"{where}: a label is {cell!r}", "write 0, 1 or nan")
