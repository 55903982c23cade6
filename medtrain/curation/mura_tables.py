"""The tables that data metadata writes of MURA: one of its images and one of its studies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from medtrain.datasets import csvfile
from medtrain.datasets.labels import ABSENT, PRESENT
from medtrain.datasets.record import Record
from medtrain.datasets.sources import mura

Row = tuple[Any, ...]  # its last cell is the label: 1 abnormal, 0 normal, None unknown
HEADS = {"images": ("path", "label"), "studies": ("path", "count", "label")}


def write(records: list[Record], out: Path) -> dict[str, dict[str, Any]]:
    """Write NAME_images.csv and NAME_studies.csv for `out` NAME.csv, rows in the order of the records.

    A path is absolute, and a study's is that of its folder; `count` is how many images the study has. Gives what was
    written: images and studies -> `table` (its path), `rows`, `abnormal`, `normal` and `unknown` (rows by label).
    """
    written = {}
    for name, rows in (("images", _images(records)), ("studies", _studies(records))):
        path = out.with_name(f"{out.stem}_{name}{out.suffix or '.csv'}")
        csvfile.write(path, HEADS[name], rows, 0o600)  # it names patients
        states = Counter(row[-1] for row in rows)
        tally = {"abnormal": states[PRESENT], "normal": states[ABSENT], "unknown": states[None]}
        written[name] = {"table": str(path), "rows": len(rows), **tally}
    return written


def _images(records: list[Record]) -> list[Row]:
    return [(record.path.absolute(), mura.state_of(record)) for record in records]


def _studies(records: list[Record]) -> list[Row]:
    counts = Counter((record.path.parent.absolute(), mura.state_of(record)) for record in records)
    return [(folder, count, state) for (folder, state), count in counts.items()]
