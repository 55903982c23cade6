"""The files that `predict` is given: files, folders, patterns that the shell left, tables with a column of paths."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medtrain.core.console import note
from medtrain.core.errors import InputError, nearest
from medtrain.datasets import own_table
from medtrain.datasets.layouts import FolderListings
from medtrain.datasets.own_table import Table
from medtrain.evaluation import preconditions

TABLES = re.compile(r"\.(csv|tsv)(\.gz)?|\.parquet|\.pq", re.IGNORECASE)
SHEETS = (".xls", ".xlsx", ".ods")
SHOWN = 20  # columns that a message names


@dataclass(frozen=True)
class TableFlags:
    """How a table of paths is read."""

    image: str = ""
    """Of a table: column with the paths (default: the one that looks like it)."""
    root: Path | None = None
    """Of a table: folder from which its paths start (default: the table's own)."""
    keep: tuple[str, ...] = ()
    """Of a table: columns that are copied into the CSV, behind `file`."""


@dataclass(frozen=True)
class Given:
    """One file to judge, with the cells of its row that are kept; or why its row names none."""

    path: Path
    kept: tuple[str, ...] = ()
    problem: str = ""


PLAIN = TableFlags()


def collect(named: Sequence[Path], flags: TableFlags = PLAIN) -> list[Given]:
    """The files in the order in which they are named: those of a folder or a pattern sorted, of a table by row. A file
    that a table names and that is not there stays in the list; InputError where none of them is there."""
    tables = [path for path in named if _is_table(path)]
    if not tables and (told := [f"--{name}" for name in ("image", "root", "keep") if getattr(flags, name)]):
        raise InputError(
            f"{' and '.join(told)} is for a table of paths, and no table is given",
            "name one: medtrain predict RUN TABLE.csv --image COLUMN",
        )
    found: list[Given] = []
    others: list[Path] = []  # one after the other, so that all that are not there are told at once
    for path in named:
        if path in tables:
            found += _plain(others, flags) if others else []
            others = []
            found += _of_table(path, flags)
        else:
            others.append(path)
    return found + _plain(others, flags) if others or not tables else found


def _plain(named: Sequence[Path], flags: TableFlags) -> list[Given]:
    blank = ("",) * len(flags.keep)
    return [Given(path, blank) for path in preconditions.files(named)]


def _is_table(path: Path) -> bool:
    if path.suffix.lower() in SHEETS:
        raise InputError(f"{path} is a spreadsheet", "save it as CSV, and give that")
    return TABLES.fullmatch("".join(path.suffixes[-2:])) is not None or TABLES.fullmatch(path.suffix) is not None


def _of_table(path: Path, flags: TableFlags) -> list[Given]:
    if not path.is_file():
        there = sorted(other.name for other in path.parent.glob("*") if TABLES.fullmatch(other.suffix))
        raise InputError(f"{path} is not there{nearest(path.name, there)}", "give a table of paths: CSV, TSV, Parquet")
    wanted = tuple(dict.fromkeys((flags.image, *flags.keep))) if flags.image else ()  # all, to guess at
    table = own_table.load(path, wanted)
    image = _column(table, flags)
    listings = FolderListings(own_table.FILES)
    found = [_row(table, line, row, image, flags, listings) for line, row in table.rows]
    if not found:
        raise InputError(f"{path} has no row below its first line", "write one row for each image")
    if not any(given.path.exists() for given in found if not given.problem):
        first = next((str(given.path) for given in found if not given.problem), "all cells are empty")
        column = f"in column {image!r}"
        what = f"none of the {len(found):,} files {column} is" if len(found) > 1 else f"the file {column} is not"
        raise InputError(
            f"{path}: {what} there (the first: {first})",
            f"give the folder from which the paths start: {_command(table, image)} --root DIR",
        )
    return found


def _row(
    table: Table, line: int, row: dict[str, str], image: str, flags: TableFlags, listings: FolderListings
) -> Given:
    """As packing reads a table: a name may lack its suffix, separators may be those of Windows."""
    told, kept = row[image].strip(), tuple(row[name] for name in flags.keep)
    path = (flags.root or table.path.parent) / told.replace("\\", "/")
    fitting = listings.fitting(path) if told else []
    problem = "" if told else "the cell is empty"
    if len(fitting) > 1:
        problem = f"{told} fits {len(fitting)} files ({', '.join(fitting[:3])})"
    where = f"{table.where(line, image)}: " if problem else ""
    return Given(path.with_name(fitting[0]) if fitting else path, kept, where + problem)


def _column(table: Table, flags: TableFlags) -> str:
    """The column of paths; InputError where it or one to keep is not in the table, or nobody can tell which it is."""
    has = ", ".join(table.names[:SHOWN]) + (f" and {len(table.names) - SHOWN} more" if table.names[SHOWN:] else "")
    guess = (own_table.guesses(table).get("image") or [""])[0]
    for flag, name in (("image", flags.image), *(("keep", name) for name in flags.keep)):
        if name and name not in table.names:
            raise InputError(
                f"{table.path} has no column {name!r} (--{flag}){nearest(name, table.names)}; it has the columns {has}",
                f"type, for instance: {_command(table, guess)}",
            )
    if not flags.image and not guess:
        problem = f"{table.path}: which column has the paths of the images? It has the columns {has}"
        raise InputError(problem, f"name it: {_command(table, '')}")
    if not flags.image:
        note(f"{table.path}: the paths are read from column {guess!r} (another one: --image COLUMN)")
    return flags.image or guess


def _command(table: Table, image: str) -> str:
    return f"medtrain predict RUN {shlex.quote(str(table.path))} --image {shlex.quote(image) if image else 'COLUMN'}"
