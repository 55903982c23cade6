"""Labels of one's own beside a dataset that is there: a table in place of what its source tells."""

from __future__ import annotations

import shlex
from collections import defaultdict
from dataclasses import replace
from pathlib import PurePosixPath

from medtrain.core.counts import are, counted
from medtrain.core.errors import InputError
from medtrain.datasets import label_columns, own_table
from medtrain.datasets.own_data import OwnData
from medtrain.datasets.record import SCORE, Record
from medtrain.datasets.source import Source


def relabelled(source: Source, records: list[Record], own: OwnData) -> tuple[Source, list[Record]]:
    """The source and its records with the labels of the table `own.labels_from`, by the name of each image: as the
    dataset has it, or its file's name where that is of one image alone. What no row names is unknown.

    InputError where no row names an image, a row names none or several, or two rows the same.
    """
    table = own_table.read(replace(own, table=own.labels_from))
    labels = label_columns.read(table, own.labels, own.task)
    places = _places(records)
    row_of: dict[int, int] = {}
    strange: list[str] = []
    for number, (line, cell) in enumerate(table.column(own.image)):
        found = places.get(cell, []) or places.get(PurePosixPath(cell).name, [])
        if len(found) > 1:
            raise InputError(
                f"{table.where(line)}: {cell} names {len(found)} images", f"write it as {records[found[0]].image}"
            )
        if not found:
            strange.append(table.where(line) + f": {cell}")
        elif (other := row_of.setdefault(found[0], number)) != number:
            raise InputError(f"{table.where(line)}: {cell} is in line {table.rows[other][0]} too", "keep one of them")
    if strange:
        rows = f"{counted(len(strange), 'rows')} {'name' if len(strange) > 1 else 'names'}"
        fix = f"an image is called, for instance, {shlex.quote(records[0].image)}; correct the lines, or take them away"
        raise InputError(
            f"{rows} no image of the dataset; the first is {strange[0]}",
            fix,
        )
    unknown: dict[str, int | None] = dict.fromkeys(labels.classes)
    given = []
    for place, record in enumerate(records):
        row = row_of.get(place)
        raw = {**record.raw, **({SCORE: None if row is None else labels.scores[row]} if labels.scores else {})}
        given.append(replace(record, labels=dict(unknown) if row is None else labels.states[row], raw=raw))
    lacking = len(records) - len(row_of)
    told = (
        f"{lacking:,} of {len(records):,} images {are(lacking)} not in {table.path}: their labels are unknown"
        if lacking
        else ""
    )
    warned = "; ".join(filter(None, (source.warned(records), told)))
    return replace(source, classes=labels.classes, task=labels.task, tells=(), warned=lambda _: warned), given


def _places(records: list[Record]) -> dict[str, list[int]]:
    """Name -> the records that it may mean."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        for name in {record.image, PurePosixPath(record.image).name, PurePosixPath(record.image).stem}:
            found[name].append(place)
    return found
