"""Tables: those of datasets, found under their names, plain or gzipped, and read by column names; and new ones."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from medtrain.core.errors import InputError
from medtrain.core.files import write_whole

Row = dict[str, str]
FIX = "fetch the file again: it is damaged, or is another one of that name"
OWN_FIX = "correct the table: plain CSV, UTF-8, with commas and a first line that names the columns"
EMPTY = frozenset(
    ("", "nan", "none", "null", "na", "n/a", "<na>")
)  # in small letters: as pandas, R and people write it
DELIMITERS = (",", ";", "\t", "|")
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # at the start of a file: Excel's "Unicode text"


def find(root: Path, names: tuple[str, ...], fix: str) -> Path:
    """The first of `names` that lies in `root`, as it is or with `.gz` behind it; InputError, with `fix`, for none."""
    if not root.is_dir():
        raise InputError(f"{root} is not a folder" if root.exists() else f"{root} does not exist", fix)
    if (path := first(root, names)) is not None:
        return path
    holds = ", ".join(sorted(path.name for path in root.iterdir())[:10]) or "nothing"
    raise InputError(f"{root} has no {' or '.join(names)} (or the same with .gz); it holds {holds}", fix)


def first(root: Path, names: tuple[str, ...]) -> Path | None:
    """As `find`, or None where none of them is there."""
    paths = (path for name in names for path in (root / name, root / f"{name}.gz"))
    return next((path for path in paths if path.exists()), None)


def names(path: Path, columns: tuple[str, ...] = (), fix: str = FIX) -> list[str]:
    """The columns that the first line names, of which some of `columns` may be."""
    with _opened(path, fix) as file:
        return _names(file.readline(), columns)


def rows(path: Path, columns: tuple[str, ...], fix: str = FIX) -> Iterator[Row]:
    """Each row as a mapping from column to text; `columns` must be there, the others may be anything.

    Cells are parted by what parts the names in the first line: commas, or as Excel has it in many countries semicolons
    or tabs. Blanks around a name do not count. InputError, with `fix`, names the columns that are missing, and the
    place where a damaged file ends.
    """
    yield from (row for _, row in numbered_rows(path, columns, fix))


def numbered_rows(path: Path, columns: tuple[str, ...], fix: str = FIX) -> Iterator[tuple[int, Row]]:
    """As `rows`, each with the number of the line on which it ends."""
    with _opened(path, fix) as file:
        first = file.readline()
        names = _names(first, columns)
        if missing := [name for name in columns if name not in names]:
            has = ", ".join(names) or "nothing"
            raise InputError(f"{path} has no column {', '.join(missing)}; it has {has}", fix)
        if twice := [name for name in columns if names.count(name) > 1]:
            raise InputError(f"{path} has the column {twice[0]} twice", fix)
        reader = csv.DictReader(file, names, delimiter=_delimiter(first, columns))
        for row in reader:
            if any(row[name] is None for name in columns):
                raise InputError(f"{path}, line {reader.line_num + 1}: the line is cut off", fix)
            yield reader.line_num + 1, row


def _names(first: str, columns: tuple[str, ...]) -> list[str]:
    """The columns that the first line of a table names."""
    cells = next(csv.reader([first], delimiter=_delimiter(first, columns)), [])
    return [" ".join(cell.split()) for cell in cells]


def _delimiter(first: str, columns: tuple[str, ...]) -> str:
    """What parts the cells: of several that may, the one by which most of the columns are there, then most cells."""

    def found(mark: str) -> tuple[int, int]:
        cells = [" ".join(cell.split()) for cell in next(csv.reader([first], delimiter=mark), [])]
        return len(set(cells) & set(columns)), len(cells)

    return max(DELIMITERS, key=found)


def filled(cell: str | None) -> str:
    """What an optional cell says; nothing where it is EMPTY."""
    text = (cell or "").strip()
    return "" if text.lower() in EMPTY else text


def id_in(cell: str | None) -> str:
    """The id in a cell: `12.0` is 12, which a column with a gap becomes when pandas writes it; nothing where it is
    EMPTY."""
    text = filled(cell)
    whole, point, rest = text.partition(".")
    return whole if point and whole.isdigit() and rest and not rest.strip("0") else text


def rows_without_header(
    path: Path, fix: str = FIX, columns: tuple[str, ...] | None = None
) -> Iterator[tuple[int, list[str]]]:
    """The number of each line that says anything, and its cells, of a table whose first line is a row like the others;
    InputError where it is damaged. Where the first line may name `columns`, cells are parted as in `rows`."""
    with _opened(path, fix) as file:
        mark = ","
        if columns is not None:
            mark = _delimiter(file.readline(), columns)
            file.seek(0)
        reader = csv.reader(file, delimiter=mark)
        yield from ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], mode: int = 0o666) -> None:
    """Write a table, all of it or nothing; None is an empty cell, `mode` as of `os.open`. InputError where it cannot be
    written."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((header, *rows))
    try:
        write_whole(path, text.getvalue().encode("utf-8", "backslashreplace"), mode)
    except OSError as error:
        problem = f"{path} cannot be written ({error.strerror or error})"
        raise InputError(problem, "give --out a file in a folder that is there") from None


@contextmanager
def _opened(path: Path, fix: str) -> Iterator[TextIO]:
    """The text of a table, packed or not; what goes wrong while it is read becomes an InputError."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as raw:
            start = raw.read(64)
        encoding = next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8-sig")
        if encoding == "utf-8-sig" and b"\0" in start:
            kind = "a table of Excel or another program" if start.startswith(b"PK") else "no text in UTF-8"
            raise InputError(f"{path} is {kind}", f"save it as CSV in UTF-8, or {fix}")
        with opened(path, "rt", encoding=encoding, newline="") as file:
            yield cast(TextIO, file)
    except UnicodeDecodeError as error:
        what = f"is not in UTF-8 (byte {error.object[error.start]:#04x}: it may be Latin-1 or Windows-1252)"
        raise InputError(f"{path} {what}", f"save it as CSV in UTF-8, or {fix}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})", fix) from None
    except (EOFError, zlib.error, csv.Error, UnicodeError) as error:
        raise InputError(f"{path} is damaged ({error})", fix) from None
