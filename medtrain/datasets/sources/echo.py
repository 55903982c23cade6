"""Echocardiogram clips of one's own: a folder with DICOM, MP4 and AVI files, and a table with a quality score each."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.layouts import CLIP_SUFFIXES, READERS, FolderListings
from medtrain.datasets.record import Record
from medtrain.imaging.video import dicom_clip

TITLE = "Echocardiogram clips of your own (DICOM, MP4, AVI) and a table with a quality score for each."
CLASSES = ("good",)
STATES = ("poor", "good")
TASK = "multilabel"
IMAGES = 0
FRACTIONS = (0.7, 0.15, 0.15)
ANNOTATED = CLIPS = True
LICENCE = "That of the clips it names."
TABLE = "a CSV table with the columns video_path,quality_score (and, where they are known, patient, view, split)"
ACCESS = f"write {TABLE}   then use --root FOLDER_WITH_THE_CLIPS --annotations TABLE.csv"

GOOD = 0.5  # a score of 0..1 from which on a clip is good
NEEDED = ("video_path", "quality_score")
OPTIONAL = ("patient", "view", "split")
SPLITS = ("train", "val", "test", "")
SUFFIXES = (".dcm", *CLIP_SUFFIXES)
SHOWN = 10  # of the rows that cannot be used
# The views of the American Society of Echocardiography, Mitchell et al. (2019), and other names of them. A cell that
# holds anything else (it may be a name) becomes `other`.
VIEWS = {
    "PLAX": "PLAX", "PSAX": "PSAX", "A2C": "A2C", "A3C": "A3C", "A4C": "A4C", "A5C": "A5C", "SC": "SC", "SSN": "SSN",
    "PSLAX": "PLAX", "PSSAX": "PSAX", "2CH": "A2C", "3CH": "A3C", "4CH": "A4C", "5CH": "A5C", "AP2": "A2C",
    "AP3": "A3C", "AP4": "A4C", "AP5": "A5C", "AP2C": "A2C", "AP3C": "A3C", "AP4C": "A4C", "AP5C": "A5C",
    "APLAX": "A3C", "ALAX": "A3C", "SUBCOSTAL": "SC", "SUBC": "SC", "SUPRASTERNAL": "SSN",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A line of the table: `path` is below the root, a `score` of None was left open."""

    line: int
    path: str
    score: float | None
    patient: str
    view: str
    split: str


def records(root: Path, annotations: Path | None = None) -> list[Record]:
    """Every row of the table, in its order, also where its clip is not there; Record.image is `line 18`, which line of
    the file it is, because the name of a file may be a person's.

    Paths are taken from `root`; a name may lack its suffix. A clip is good from a score of 0.5 on where all scores lie
    in 0..1; else nobody has said which are, and `good` is unknown. Whose a clip is tells the table, else the tags
    PatientID and StudyInstanceUID of a DICOM: where a file has no patient, its study stands for one. Without
    `annotations` the table is the one in `root`.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder" if root.exists() else f"{root} does not exist", ACCESS)
    table = annotations or _table_in(root)
    if not table.is_file():
        raise InputError(f"{table} is no file", f"give --annotations {TABLE}")
    rows, faults = _rows(table, root)
    paths = _files(root, rows, faults)
    if faults:
        some = [f"line {line}: {fault}" for line, fault in sorted(faults.items())]
        more = [f"and {len(some) - SHOWN:,} more"] if len(some) > SHOWN else []
        number = f"{len(some):,} rows" if len(some) > 1 else "a row"
        problem = "\n  ".join([f"{table}: {number} cannot be used", *some[:SHOWN], *more])
        raise InputError(problem, "correct the table, then give the same command again")
    if not rows:
        raise InputError(f"{table} has no row below its first line", f"write {TABLE}")
    with ThreadPoolExecutor(READERS) as pool:
        ids = list(pool.map(_ids, paths))
    same = {own: row.patient for row, (own, _) in zip(rows, ids, strict=True) if own and row.patient}
    shares = is_share([row.score for row in rows])
    return [
        Record(
            "echo", f"line {row.line}", path,
            {"good": int(row.score >= GOOD) if shares and row.score is not None else None},
            row.patient or same.get(own, own) or study, study, row.split,
            {"quality_score": row.score}, {"view": row.view} if row.view else {},
        )
        for row, path, (own, study) in zip(rows, paths, ids, strict=True)
    ]  # fmt: skip


def is_share(scores: Sequence[float | None]) -> bool:
    """Whether all scores that are known lie in 0..1."""
    return all(0 <= score <= 1 for score in scores if score is not None)


def about(root: Path, records: list[Record]) -> dict[str, Any]:
    """`scores`: their kind (binary, share: all in 0..1, or other), how many are known and unknown, and of those that
    are known the quartiles; `views`: how many clips each has; `clips_without_patient`."""
    scores = [record.raw["quality_score"] for record in records]
    known = [score for score in scores if score is not None]
    kind = "binary" if set(known) <= {0, 1} else "share" if is_share(known) else "other"
    names = ("min", "lower_quartile", "median", "upper_quartile", "max")
    quartiles = np.quantile(known, (0, 0.25, 0.5, 0.75, 1)).round(6).tolist() if known else [None] * len(names)
    views = Counter(record.meta.get("view", "unknown") for record in records)
    return {
        "scores": {
            "kind": kind, "known": len(known), "unknown": len(scores) - len(known),
            **dict(zip(names, quartiles, strict=True)),
        },
        "views": dict(views.most_common()),
        "clips_without_patient": sum(not record.patient for record in records),
    }  # fmt: skip


def told(found: dict[str, Any]) -> str:
    """What `about` found, in lines."""
    scores = dict(found["scores"])
    kind, known, unknown = (scores.pop(name) for name in ("kind", "known", "unknown"))
    said = {"binary": "0 or 1", "share": "numbers in 0..1", "other": "numbers, not all in 0..1"}[kind]
    numbers = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in scores.items() if value is not None)
    lines = [f"scores      {known:,} known, {unknown:,} unknown ({said})"]
    if numbers and kind != "binary":
        lines.append(f"            {numbers}")
    if kind == "other":
        lines.append("            score threshold unknown: no clip is labelled good or poor")
    views = ", ".join(f"{name} ({count:,})" for name, count in found["views"].items())
    lines.append(f"views       {views}")
    if alone := found["clips_without_patient"]:
        lines.append(f"no patient  {alone:,} clips: a split may cut apart whose they are (fix: a column patient)")
    return "\n".join(lines)


def _table_in(root: Path) -> Path:
    """The one table in a folder that has the two columns."""
    found = []
    for path in sorted(root.glob("*.csv")):
        try:
            if set(NEEDED) <= set(_names(path)):
                found.append(path)
        except InputError:  # damaged, or of another encoding: not the one
            continue
    if len(found) != 1:
        which = f"several tables ({', '.join(path.name for path in found)})" if found else "no table"
        fix = f"choose one: --annotations {found[0]}" if found else f"give --annotations FILE: {TABLE}"
        raise InputError(f"{root} holds {which} with the columns {', '.join(NEEDED)}", fix)
    return found[0]


def _names(table: Path) -> list[str]:
    """The columns of a table, in small letters; none where it is empty."""
    _, first = next(csvfile.rows_without_header(table, csvfile.OWN_FIX, NEEDED), (0, []))
    return [cell.strip().lower() for cell in first]


def _rows(table: Path, root: Path) -> tuple[list[Row], dict[int, str]]:
    """The rows that can be used, and by line what is wrong with the others."""
    names = _names(table)
    missing = [name for name in NEEDED if name not in names]
    if missing:
        # The first line may be a row like the others, with a person's name in it: it is not shown.
        problem = f"{table}: its first line does not name the column {' and '.join(missing)}"
        raise InputError(problem, f"write as its first line {','.join(NEEDED)}, with commas between")
    twice = [name for name in (*NEEDED, *OPTIONAL) if names.count(name) > 1]
    if twice:
        raise InputError(f"{table} has the column {twice[0]} twice", "keep one of them")
    lines = csvfile.rows_without_header(table, csvfile.OWN_FIX, NEEDED)
    next(lines)
    rows: list[Row] = []
    faults: dict[int, str] = {}
    for line, cells in lines:
        try:
            rows.append(_row(line, names, cells, root))
        except ValueError as fault:
            faults[line] = str(fault)
    return rows, faults


def _row(line: int, names: list[str], cells: list[str], root: Path) -> Row:
    """ValueError says what is wrong with it. No cell is quoted: it may hold a name."""
    if any(cell.strip() for cell in cells[len(names) :]):
        raise ValueError("it has more cells than the first line has columns: put quotes around a cell with a comma")
    cell = {name: text.strip() for name, text in zip(names, cells, strict=False)}
    if not cell["video_path"]:
        raise ValueError("it has no video_path: write the clip's path from --root on")
    path = _inside(root, cell["video_path"])
    if not path:
        raise ValueError("its video_path lies outside of --root: write it from --root on")
    if "quality_score" not in cell:
        raise ValueError("it ends before quality_score: write a number, or an empty cell")
    split = csvfile.filled(cell.get("split")).lower()
    if split not in SPLITS:
        raise ValueError("its split is none of train, val, test: write one of these, or nothing")
    view = re.sub(r"[^A-Z0-9]", "", csvfile.filled(cell.get("view")).upper())
    view = VIEWS.get("PSAX" if view.startswith("PSAX") else view, "other") if view else ""
    return Row(line, path, _score(cell["quality_score"]), csvfile.id_in(cell.get("patient")), view, split)


def _score(text: str) -> float | None:
    if not text:
        return None
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score) or "_" in text:
        raise ValueError("its quality_score is no number: write one with a decimal point, or nothing where unknown")
    return score


def _inside(root: Path, text: str) -> str:
    """A path from the root on; empty for one that leads out of it."""
    for base in (Path(os.path.normpath(root.absolute())), root.resolve()):
        path = Path(os.path.normpath(base / text))
        if path.is_relative_to(base) and path != base:
            return path.relative_to(base).as_posix()
    return ""


def _files(root: Path, rows: list[Row], faults: dict[int, str]) -> list[Path]:
    """The file of each row; adds to `faults` rows that fit several files, or the same as another."""
    listings = FolderListings(SUFFIXES)
    listings.read((root / row.path).parent for row in rows)
    paths: list[Path] = []
    first: dict[Path, int] = {}
    for row in rows:
        path = root / row.path
        fitting = listings.fitting(path)
        if len(fitting) > 1:
            faults[row.line] = f"its video_path fits {len(fitting)} files: write its suffix"
        path = path.with_name(fitting[0]) if fitting else path
        if (other := first.setdefault(path, row.line)) != row.line:
            faults[row.line] = f"it names the same clip as line {other}: keep one of them"
        paths.append(path)
    return paths


def _ids(path: Path) -> tuple[str, str]:
    """PatientID and StudyInstanceUID of a DICOM; empty where it has none or cannot be read (and is rejected later)."""
    if path.suffix.lower() in CLIP_SUFFIXES:
        return "", ""
    try:
        header = dicom_clip.header(path)
    except (ValueError, OSError):
        return "", ""
    return header.patient, header.study
