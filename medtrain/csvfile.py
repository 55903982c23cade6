"""Tables: those of datasets, found under their names, plain or gzipped, and read by column names; and new ones."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from medtrain.durable import write_whole
from medtrain.errors import InputError

Row = dict[str, str]
FIX = "fetch the file again: it is damaged, or is another one of that name"


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


def rows(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    """Each row as a mapping from column to text; `columns` must be there, the others may be anything.

    InputError names the columns that are missing, and the place where a damaged file ends.
    """
    with _opened(path) as file:
        reader = csv.DictReader(file)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            has = ", ".join(reader.fieldnames or ()) or "nothing"
            raise InputError(f"{path} has no column {', '.join(missing)}; it has {has}", FIX)
        for row in reader:
            if any(row[name] is None for name in columns):
                raise InputError(f"{path}, line {reader.line_num}: the line is cut off", FIX)
            yield row


def rows_without_header(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number of each line that says anything, and its cells, of a table whose first line is a row like the others;
    InputError where it is damaged."""
    with _opened(path) as file:
        reader = csv.reader(file)
        yield from ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], mode: int = 0o666) -> None:
    """Write a table, all of it or nothing; None is an empty cell, `mode` as of `os.open`. InputError where it cannot be
    written."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((header, *rows))
    try:
        write_whole(path, text.getvalue().encode(), mode)
    except OSError as error:
        problem = f"{path} cannot be written ({error.strerror or error})"
        raise InputError(problem, "give --out a file in a folder that is there") from None


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The text of a table, packed or not; what goes wrong while it is read becomes an InputError."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield cast(TextIO, file)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})", FIX) from None
    except (EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is damaged ({error})", FIX) from None
