"""A table of one's own, one row an image or clip; flags name its columns."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from medtrain.core.errors import InputError, nearest
from medtrain.datasets import cells, csvfile, label_columns, own_table
from medtrain.datasets.layouts import CLIP_SUFFIXES, FolderListings
from medtrain.datasets.own_data import OwnData
from medtrain.datasets.own_table import Table
from medtrain.datasets.record import SCORE, Record
from medtrain.datasets.source import Source

TITLE = "A table of your own, one row an image or clip (CSV, TSV, Parquet); flags name its columns."
CLASSES = ()
IMAGES = 0
LICENCE = "That of the files it names."
ACCESS = "medtrain shard csv --table T.csv --image COLUMN --labels COLUMN...   then train on shards/csv"
LOOKED_AT = 20  # files that are looked for before anything is packed
SEARCHED = 100_000  # entries of folders, to find where a file lies
RARE = 3  # images of a class, below which it may be misspelled


def records(root: Path) -> list[Record]:
    """There are none without a table."""
    raise InputError("csv needs a table", f"type {ACCESS}")


def opened(root: Path | None, own: OwnData) -> Source:
    """The table's rows as records, in its order, also where a file is not there.

    A record's image is the path as the table has it. InputError, with the line to type, where the table, a column or a
    cell is not as it must be, and where none of its first files is there.
    """
    if own.table is None:
        raise InputError("csv needs a table", f"type {ACCESS}")
    table = own_table.read(own, root=root)
    base = root or own.table.parent
    labels = label_columns.read(table, own.labels, own.task)
    paths = _paths(table, own, base)
    clips = own.clips or all(path.suffix.lower() in CLIP_SUFFIXES for path in paths)
    found = [_record(table, own, number, path, labels) for number, path in enumerate(paths)]
    warned = _warned(table, own, labels.states if labels.task == "multiclass" else [])
    return Source(
        TITLE, labels.classes, 0, LICENCE, ACCESS, lambda _: found,
        task=labels.task, clips=clips, warned=lambda _: warned, opened=opened,
    )  # fmt: skip


def _record(table: Table, own: OwnData, number: int, path: Path, labels: label_columns.Labels) -> Record:
    line, row = table.rows[number]
    patient, study = (csvfile.id_in(row.get(column)) for column in (own.patient, own.study))
    with cells.at(table.where(line, own.split), "split"):
        split = cells.split(row.get(own.split))
    with cells.at(table.where(line, own.age), "age"):
        age = cells.age(row.get(own.age))
    meta: dict[str, Any] = {"view": cells.view(row.get(own.view)), "sex": cells.sex(row.get(own.sex)), "age": age}
    raw = {SCORE: labels.scores[number]} if labels.scores else {}
    meta = {name: value for name, value in meta.items() if value not in ("", None)}
    return Record(
        own.name or "csv", row[own.image].strip(), path, labels.states[number], patient, study, split, raw, meta
    )


def _paths(table: Table, own: OwnData, base: Path) -> list[Path]:
    """The file of each row. A name may lack its suffix; separators of Windows are those of this machine."""
    listings = FolderListings(own_table.FILES)
    paths = []
    for line, cell in table.column(own.image):
        if not cell:
            raise InputError(
                f"{table.where(line, own.image)}: it names no file", "write its path, or take the line away"
            )
        path = base / cell.replace("\\", "/")
        fitting = listings.fitting(path)
        if len(fitting) > 1:
            problem = f"{table.where(line, own.image)}: {cell} fits {len(fitting)} files ({', '.join(fitting[:3])})"
            raise InputError(problem, "write its suffix")
        paths.append(path.with_name(fitting[0]) if fitting else path)
    some = paths[:LOOKED_AT]
    if not any(path.exists() for path in some):
        problem = f"{table.path}: none of its first {len(some)} files is there; the first would be {paths[0]}"
        raise InputError(problem, _root_of(table.rows[0][1][own.image].strip(), base))
    return paths


def _root_of(cell: str, base: Path) -> str:
    """The --root by which a file is found that lies somewhere below a folder."""
    parts = Path(cell.replace("\\", "/")).parts
    elsewhere, seen = "", 0
    for folder, below, files in os.walk(base):
        below.sort()
        seen += len(files)
        if parts[-1] in files:
            own = Path(folder).parts
            common = 0
            while common < len(parts) - 1 and own[-1 - common] == parts[-2 - common]:
                common += 1
            if common == len(parts) - 1:
                start = shlex.quote(str(Path(*own[: len(own) - common])))
                return f"give the folder that its paths start at: --root {start}"
            elsewhere = elsewhere or f"{parts[-1]} lies in {folder}: correct the paths, or give --root"
        if seen > SEARCHED:
            break
    return elsewhere or "give the folder that its paths start at: --root DIR   (or is another column the one: --image)"


def _warned(table: Table, own: OwnData, states: list[dict[str, int | None]]) -> str:
    """Of patients that nobody told of, and of classes that may be misspelled."""
    found = []
    if not own.patient:
        guess = own_table.guesses(table).get("patient")
        hint = f"; {guess[0]!r} looks like it: --patient {shlex.quote(guess[0])}" if guess else ""
        found.append(f"no column tells the patient: images of one may be in training and in test{hint}")
    counts = Counter(name for own_states in states for name, state in own_states.items() if state)
    for name, count in counts.items():
        if count < RARE:
            likely = nearest(name, [other for other, times in counts.items() if times >= RARE])
            found.append(f"class {name} has {count} {'image' if count == 1 else 'images'}{likely}")
    return "; ".join(found)
