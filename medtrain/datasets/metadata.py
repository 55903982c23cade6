"""A table of harmonised chest X-rays that somebody has made already, one row an image."""

from __future__ import annotations

import re
from pathlib import Path

from medtrain import csvfile
from medtrain.errors import InputError
from medtrain.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN
from medtrain.record import OLDEST, Record

TITLE = "A table of your own (train_metadata_v2.csv): image path and the vector of 14 labels, one row an image."
CLASSES = PATHOLOGIES
IMAGES = 0
LICENCE = "That of the images it names."
ACCESS = "medtrain data metadata --datasets nih openi --root DIR --out FILE.csv   writes one; then use --root FILE.csv"

NEEDED = ("Image Index", "Processed Image Path", "Harmonized Labels", "Dataset")
OPTIONAL = ("Patient", "View", "Split", "Study", "Sex", "Age")
NAME = re.compile("[A-Za-z0-9_]+")
STATES: dict[str, int | None] = {"1": PRESENT, "0": ABSENT, "nan": None}
SPLITS = ("train", "val", "test", "train+val", "")


def records(root: Path) -> list[Record]:
    """Every row of the table at `root`, in its order, also where the image is not there.

    A record's source is the dataset that its row names. Paths are taken as they are, or from the table's folder.
    Without the column Patient the split can only keep identical images together.
    """
    if not root.is_file():
        raise InputError(f"{root} is no file; give the table itself", ACCESS)
    found = []
    for line, row in enumerate(csvfile.rows(root, NEEDED), start=2):
        where = f"{root}, line {line}"
        patient, view, split, study, sex, age = ((row.get(name) or "").strip() for name in OPTIONAL)
        if split not in SPLITS:
            raise InputError(
                f"{where}: the split is {split!r}", f"write one of {', '.join(filter(None, SPLITS))}, or nothing"
            )
        dataset, path = row["Dataset"].strip(), Path(row["Processed Image Path"])
        if not NAME.fullmatch(dataset):
            raise InputError(f"{where}: the dataset is {dataset!r}", "use letters, digits and _ for its name")
        # Names like view1_frontal.jpg stand for thousands of images: only the path tells them apart.
        image = f"{dataset}/{row['Processed Image Path']}"
        path = path if path.is_absolute() else root.parent / path
        labels = _labels(row["Harmonized Labels"], where)
        meta = {"view": view, "sex": sex, "age": _years(age, where)}
        found.append(Record(dataset, image, path, labels, patient, study, split, {}, meta))
    return found


def _labels(text: str, where: str) -> dict[str, int | None]:
    """`1 0 nan 0.7 ...`, in the order of the 14; a value between 0 and 1 is one that was left open."""
    cells = text.split()
    if len(cells) != len(PATHOLOGIES):
        problem = f"{where}: {len(cells)} labels instead of {len(PATHOLOGIES)}"
        raise InputError(problem, f"write 0, 1 or nan for each of {', '.join(PATHOLOGIES)}")
    return {name: _state(cell.lower(), where) for name, cell in zip(PATHOLOGIES, cells, strict=True)}


def _years(cell: str, where: str) -> int | None:
    """`58` or `58.0`, as tables with gaps have it; nothing where it is not known."""
    digits = cell.removesuffix(".0")
    if digits.lower() in ("", "nan"):
        return None
    if not digits.isdigit():
        raise InputError(f"{where}: the age is {cell!r}", "write whole years, or nothing")
    return min(int(digits), OLDEST)


def _state(cell: str, where: str) -> int | None:
    cell = cell.removesuffix(".0")
    if cell in STATES:
        return STATES[cell]
    try:
        if 0 < float(cell) < 1:
            return UNCERTAIN
    except ValueError:
        pass
    raise InputError(f"{where}: a label is {cell!r}", "write 0, 1 or nan")
