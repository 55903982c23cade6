"""A table of one's own: CSV with any separator or encoding of a spreadsheet, or Parquet; and guesses at its columns."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrain.core.errors import InputError, most_alike, nearest
from medtrain.datasets import cells, csvfile
from medtrain.datasets.layouts import CLIP_SUFFIXES, IMAGE_SUFFIXES
from medtrain.datasets.own_data import OwnData

Row = tuple[int, dict[str, str]]  # its line, and its cells by column
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq")
FILES = (*IMAGE_SUFFIXES, *CLIP_SUFFIXES)
SEEN = 200  # rows that a guess looks at
MANY = 50  # classes that a column of names may have, for a guess
# What columns are called, in small letters without marks between.
CALLED = {
    "image": ("image", "imagepath", "path", "file", "filename", "filepath", "img", "imageindex", "imageid", "video",
              "videopath"),
    "patient": ("patient", "patientid", "subject", "subjectid", "pid", "person", "personid", "case", "caseid"),
    "study": ("study", "studyid", "accession", "accessionnumber", "exam", "examid"),
    "split": ("split", "fold", "set", "subset", "partition"),
    "view": ("view", "viewposition", "projection"),
    "sex": ("sex", "gender", "patientsex", "patientgender"),
    "age": ("age", "patientage", "ageyears"),
}  # fmt: skip
OF_CLASSES = ("label", "class", "target", "category", "diagnosis", "dx", "finding", "grade", "score")


@dataclass(frozen=True)
class Table:
    """A table with at least one row."""

    path: Path
    names: tuple[str, ...]
    rows: tuple[Row, ...]

    def where(self, line: int, column: str = "") -> str:
        """Of a line, and a column, for messages."""
        return f"{self.path}, line {line}" + (f", column {column}" if column else "")

    def column(self, name: str) -> list[tuple[int, str]]:
        """The line and the text of each cell of a column."""
        return [(line, row[name].strip()) for line, row in self.rows]


def read(own: OwnData, needed: Sequence[str] = ("image", "labels"), root: Path | None = None) -> Table:
    """The table, in which all columns are that `own` names; InputError, with the line to type (with its `root`), where
    one is missing or one that is needed is not named."""
    assert own.table is not None
    path = own.table
    if not path.is_file():
        there = sorted(other.name for other in path.parent.glob(f"*{path.suffix}")) if path.parent.is_dir() else []
        problem = f"{path} is a folder" if path.is_dir() else f"{path} does not exist{nearest(path.name, there)}"
        raise InputError(problem, "give --table the table itself, one row an image")
    named = [(flag, column) for flag in CALLED for column in [getattr(own, flag)] if column]
    named += [("labels", column) for column in own.labels]
    wanted = tuple(column for _, column in named)
    if twice := [column for column in wanted if wanted.count(column) > 1]:
        raise InputError(f"the column {twice[0]} is named for two things", "name another, or omit one of them")
    table = load(path, wanted)
    missing = [(flag, column) for flag, column in named if column not in table.names]
    unnamed = [flag for flag in needed if not getattr(own, flag)]
    if missing or unnamed:
        likely = _meant(table, own)
        which = ", ".join(
            f"{column!r} (--{flag})" + (f" (did you mean {likely[column]}?)" if likely[column] else "")
            for flag, column in missing
        )
        problem = f"{path} has no column {which}" if missing else f"{path}: --{' and --'.join(unnamed)} not given"
        has = ", ".join(table.names[:20]) + (f" and {len(table.names) - 20} more" if len(table.names) > 20 else "")
        raise InputError(f"{problem}; it has the columns {has}", f"type, for instance: {suggestion(table, own, root)}")
    if not table.rows:
        raise InputError(f"{path} has no row below its first line", "write one row for each image")
    return table


def load(path: Path, wanted: tuple[str, ...]) -> Table:
    """The table in a file, in which some of `wanted` may be columns; InputError where it cannot be read."""
    return _parquet(path, wanted) if path.suffix.lower() in (".parquet", ".pq") else _csv(path, wanted)


def suggestion(table: Table, own: OwnData, root: Path | None = None) -> str:
    """The command for a table, with what is given, a misspelled column as the one that is most like it, and guesses by
    names and cells elsewhere; of a table of labels beside a dataset its flags alone."""
    guess, likely = guesses(table), _meant(table, own)
    words = []
    beside = () if own.labels_from else [name for name in CALLED if name != "image"]
    for flag in ("image", "labels", *beside):
        given = list(own.labels) if flag == "labels" else [getattr(own, flag)]
        right = [likely[column] for column in given if column and likely[column]]
        if found := right or guess.get(flag, []) or ([flag.upper()] if flag in ("image", "labels") else []):
            words += [f"--{flag}", *found]
    words += [word for flag in ("task", "name") if getattr(own, flag) for word in (f"--{flag}", getattr(own, flag))]
    words += ["--clips"] if own.clips else []
    if own.labels_from:
        return shlex.join(["--labels_from", str(table.path), *words])
    where = ["--root", str(root)] if root else []
    return shlex.join(["medtrain", "shard", "csv", "--table", str(table.path), *where, *words])


def _meant(table: Table, own: OwnData) -> dict[str, str]:
    """Each column that `own` names -> itself, or the one that is most like it and not named; empty where none is."""
    given = [column for flag in CALLED for column in [getattr(own, flag)] if column] + list(own.labels)
    likely = {column: column for column in given if column in table.names}
    for column in given:
        if column not in likely:
            likely[column] = most_alike(column, [name for name in table.names if name not in likely.values()])
    return likely


def guesses(table: Table) -> dict[str, list[str]]:
    """Flag -> the columns that it may be."""
    found: dict[str, list[str]] = {}
    some = {
        name: [row[name].strip() for _, row in table.rows[:SEEN] if csvfile.filled(row.get(name))]
        for name in table.names
    }
    for name in table.names:
        if some[name] and all(cell.lower().endswith(FILES) for cell in some[name]):
            found.setdefault("image", [name])
    for flag, known in CALLED.items():
        if flag not in found and (fitting := [name for name in table.names if _plain(name) in known]):
            found[flag] = fitting[:1]
    taken = {column for columns in found.values() for column in columns}
    left = [name for name in table.names if name not in taken and some[name]]
    states = [name for name in left if all(map(cells.is_state, some[name]))]
    classes = [name for name in left if _plain(name) in OF_CLASSES and len(set(some[name])) <= MANY]
    return found | {"labels": found_labels} if (found_labels := states or classes[:1]) else found


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _csv(path: Path, wanted: tuple[str, ...]) -> Table:
    names = csvfile.names(path, wanted, csvfile.OWN_FIX)
    there = tuple(name for name in wanted if name in names)
    return Table(path, tuple(names), tuple(_checked(path, csvfile.numbered_rows(path, there, csvfile.OWN_FIX))))


def _checked(path: Path, rows: Iterator[tuple[int, Any]]) -> Iterator[Row]:
    """Rows that have as many cells as the table has columns; what csv.DictReader has under None are others."""
    for line, row in rows:
        if any(cell.strip() for cell in row.pop(None, ())):
            raise InputError(
                f"{path}, line {line}: it has more cells than the first line has columns",
                'put quotes around a cell that holds the separator: "a, b"',
            )
        yield line, {name: cell or "" for name, cell in row.items()}


def _parquet(path: Path, wanted: tuple[str, ...]) -> Table:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise InputError(
            f"{path}: reading Parquet needs pyarrow", 'pip install "medtrain[parquet]", or save the table as CSV'
        ) from None
    try:
        names = tuple(parquet.read_schema(path).names)
        known = set(wanted) <= set(names)  # else all are read, to guess at
        columns = parquet.read_table(path, columns=list(wanted) if known and wanted else None).to_pydict()
    except (ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read ({str(error).splitlines()[0]})", csvfile.FIX) from None
    rows = zip(*columns.values(), strict=True)
    read = (dict(zip(columns, map(_text, row), strict=True)) for row in rows)
    return Table(path, names, tuple((number, row) for number, row in enumerate(read, start=1)))


def _text(value: object) -> str:
    return "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)
