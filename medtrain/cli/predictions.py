"""What the command predict does with many files: what is asked is checked, and a table written."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medtrain.core.console import note, say, show_error
from medtrain.core.errors import EXIT_DONE, EXIT_INPUT, InputError
from medtrain.core.progress import Progress
from medtrain.evaluation import prediction_table
from medtrain.evaluation.given_files import Given, TableFlags
from medtrain.runs.run import Run

TOLD = 3  # files that cannot be read, which a message names
Row = dict[str, Any]


def check(images: Sequence[Path], table: TableFlags, out: Path | None, csv: bool, study: bool, json: bool) -> None:
    """InputError where flags of predict do not go together, or predictions cannot be written."""
    if len(asked := [flag for flag, given in (("--out", out), ("--csv", csv), ("--json", json)) if given]) > 1:
        raise InputError(f"{' and '.join(asked)}: predictions are given out once", f"omit {asked[1]}")
    if table.keep and (json or study or not asked):
        why = "a study is one row" if study else "columns are kept in a CSV"
        raise InputError(f"--keep: {why}", "omit it" if study else "give --out predictions.csv too")
    if taken := prediction_table.taken(table.keep):
        raise InputError(
            f"--keep {taken[0]}: predictions have a column of that name",
            "omit it, or give it another name in the table",
        )
    if out:
        prediction_table.ensure_can_write(out, images)


def each(judges: Sequence[Run], given: Sequence[Given], study: bool) -> Iterator[tuple[Row, tuple[str, ...]]]:
    """What is said of each file, in its place, and the cells that are kept; of a study one row."""
    from medtrain.evaluation.predict import predict_each, predict_files  # torch

    empty = [one.problem for one in given if one.problem]
    paths = [one.path for one in given if not one.problem]
    if study and empty:
        raise InputError(empty[0], "a study is scored as a whole: name the file, or remove the row")
    if study:
        yield from ((row, ()) for row in predict_files(judges, paths, study=True))
        return
    predicted = predict_each(judges, paths)
    for one in given:
        yield ({"image": "", "error": one.problem} if one.problem else next(predicted)), one.kept


def as_csv(judges: Sequence[Run], given: Sequence[Given], keep: Sequence[str], out: Path | None, study: bool) -> int:
    """Write or print the table, and say how it went; returns the exit code."""
    bad: list[Row] = []  # the first of them
    count = unreadable = 0
    progress = Progress(len(given), "predicting", "files") if out else None

    def counted() -> Iterator[tuple[Row, tuple[str, ...]]]:
        nonlocal count, unreadable
        for row, kept in each(judges, given, study):
            count += 1
            if "error" in row:
                unreadable += 1
                bad.extend([row] if len(bad) < TOLD else [])
            if progress:
                progress.advance()
            yield row, kept

    try:
        if out:
            prediction_table.write(counted(), keep, out)
        else:
            prediction_table.show(counted(), keep, sys.stdout)
    except KeyboardInterrupt:
        if out:
            note(f"stopped after {count:,} of {len(given):,} files: {out} is not written")
        raise
    finally:
        if progress:
            progress.close()
    if out:
        say(f"{out}: {count:,} rows")
    if unreadable:
        more = f"; and {unreadable - len(bad):,} more" if unreadable > len(bad) else ""
        show_error(
            f"{unreadable:,} of {count:,} files: {prediction_table.unread(bad)}{more}",
            "their rows say why, in the column error: replace them with JPEG, PNG, TIFF or DICOM files",
        )
    return EXIT_INPUT if unreadable else EXIT_DONE
