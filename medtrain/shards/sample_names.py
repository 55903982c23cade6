"""Which file each sample was packed from: a private table beside a packed dataset, kept only with --keep_names.

It is the one thing that leads from a sample back to a file, and where paths name patients it names them.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from medtrain.core.console import warn
from medtrain.core.errors import InputError
from medtrain.core.files import whole
from medtrain.datasets import csvfile
from medtrain.shards.plan import Plan

HEAD = ("key", "file")
MODE = 0o600  # also with --share group
FIX = "give another with --names, or write it anew: the packing command once more, with --keep_names"


def path_for(out: Path) -> Path:
    """The table of a packed dataset: beside its folder, for that may be shared and copied."""
    own = out.absolute()
    return own.with_name(f"{own.name}.names.csv")


def ensure_can_keep(out: Path) -> None:
    """Say once what is kept, before packing takes hours; InputError where it cannot be."""
    path = path_for(out)
    place = next(parent for parent in path.parents if parent.exists())
    if path.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f"{path} cannot be written, for --keep_names", "choose another --out, or omit --keep_names")
    warn(
        f"{path} will name the file of each sample, and with it whose it is where paths tell that: it is for you alone."
        " Never share it with the shards"
    )


def write(plan: Plan, out: Path) -> None:
    """Write the table of all that is planned, those that are rejected too; whole, and for its owner alone.

    Bytes of a file's name that are not UTF-8 are escaped, as `\\udcfc` for the byte 0xfc: tables are read as UTF-8.
    """
    with whole(path_for(out), MODE) as file:
        text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEAD)
        for samples in plan.values():
            writer.writerows((sample.key, Path(sample.path).absolute()) for sample in samples)
        text.flush()
        text.detach()


def read(tables: Iterable[Path], keys: Collection[str]) -> dict[str, str]:
    """The files of some samples, where the tables name them; InputError where one is no such table."""
    found: dict[str, str] = {}
    for path in tables:
        if not path.is_file():
            raise InputError(f"{path} is not there", FIX)
        found |= {row["key"]: row["file"] for row in csvfile.rows(path, HEAD, FIX) if row["key"] in keys}
    return found
