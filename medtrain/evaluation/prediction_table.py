"""What is predicted for many files, as CSV: a row for each, written while the next are judged."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from medtrain.core.errors import InputError
from medtrain.core.files import whole

FILE, ERROR = "file", "error"
PROBABILITY, PREDICTED, CALIBRATED = "probability_", "predicted_", "calibrated_"
SEPARATORS = {".csv": ",", ".tsv": "\t"}
BETWEEN = ";"  # the files of a study
Row = dict[str, Any]


def ensure_can_write(path: Path, read: Sequence[Path], flag: str = "--out") -> None:
    """InputError where a table cannot be written there, or would take the place of one that is read."""
    if path.suffix.lower() not in SEPARATORS:
        raise InputError(f"{flag} {path}: a table is written as CSV", f"give {flag} {path.with_suffix('.csv')}")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"lies in {path.parent}, which is no folder"
        raise InputError(f"{flag} {path} {what}", f"give {flag} a file in a folder that is there")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{flag} {path}: {path.parent} cannot be written", f"give {flag} a file in a folder of yours")
    if path.exists() and any(own.exists() and own.samefile(path) for own in read):
        raise InputError(f"{flag} {path} is the table that is read", f"give {flag} another file")


def write(rows: Iterable[tuple[Row, tuple[str, ...]]], keep: Sequence[str], path: Path) -> None:
    """Write rows, as `predict_each` makes them, and the kept cells of each, as they come: a file for its owner alone,
    there whole or not at all."""
    with whole(path, 0o600) as file:
        text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
        _write(rows, keep, text, SEPARATORS[path.suffix.lower()])
        text.flush()
        text.detach()


def show(rows: Iterable[tuple[Row, tuple[str, ...]]], keep: Sequence[str], stream: TextIO) -> None:
    """The same on a stream, each row at once."""
    _write(rows, keep, stream, ",", flush=True)


def _write(
    rows: Iterable[tuple[Row, tuple[str, ...]]],
    keep: Sequence[str],
    stream: TextIO,
    separator: str,
    flush: bool = False,
) -> None:
    """The columns are known from the first file that can be judged; rows before it wait."""
    writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
    waiting: list[tuple[Row, tuple[str, ...]]] = []
    columns: list[str] | None = None

    def put(row: Row, kept: tuple[str, ...], own: Sequence[str]) -> None:
        told = verdict(row)
        writer.writerow((_file(row), *kept, *(_cell(told.get(name)) for name in own), row.get("error", "")))

    for row, kept in rows:
        if columns is None and "error" in row:
            waiting.append((row, kept))
            continue
        if columns is None:
            columns = list(verdict(row))
            writer.writerow((FILE, *keep, *columns, ERROR))
            for each in waiting:
                put(*each, columns)
        put(row, kept, columns)
        if flush:
            stream.flush()
    if columns is None:  # no file could be judged
        writer.writerow((FILE, *keep, ERROR))
        for each in waiting:
            put(*each, ())


def verdict(row: Row) -> Row:
    """Column -> value of what is said of one file: the class or score, what is predicted of each label, and
    probabilities; nothing where it could not be read."""
    if "error" in row:
        return {}
    probabilities, found = row.get("probabilities", {}), {}
    if "class" in row:
        found["predicted"] = row["class"]
    if "score" in row:
        found["score"] = row["score"]
    if "abnormal" in row:
        found[f"{PREDICTED}abnormal"] = row["abnormal"]
    if "present" in row:
        for name, share in probabilities.items():
            found[PREDICTED + name] = None if share is None else name in row["present"]
    found |= {PROBABILITY + name: share for name, share in probabilities.items()}
    return found | {CALIBRATED + name: share for name, share in row.get("calibrated", {}).items()}


def _file(row: Row) -> str:
    return row["image"] if "image" in row else BETWEEN.join(row["images"])


def _cell(value: Any) -> Any:
    """As programs read it: nothing for what is not known, 1 and 0 for yes and no, numbers to the last digit."""
    return "" if value is None else int(value) if isinstance(value, bool) else value


def taken(keep: Sequence[str]) -> list[str]:
    """The columns to keep whose names predictions have for themselves."""
    own = (PROBABILITY, PREDICTED, CALIBRATED)
    return [name for name in keep if name in (FILE, ERROR, "predicted", "score") or name.startswith(own)]


def unread(rows: Sequence[Row]) -> str:
    """The files that could not be read, each with its reason."""
    return "; ".join(f"{row['image']}: {row['error']}" if row["image"] else row["error"] for row in rows)
