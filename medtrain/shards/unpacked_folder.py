"""What to type where a folder is no packed dataset: images that can be packed, or packed datasets close by."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from medtrain import datasets
from medtrain.core.errors import InputError, most_alike
from medtrain.datasets import own_table
from medtrain.datasets.own_data import OwnData

MANIFEST = "manifest.json"
SHOWN = 5
MANY = 5_000


def told(folder: Path) -> tuple[str, str]:
    """What is there instead of a packed dataset, and what to do."""
    shown = relative(folder)
    if (folder / "plan.json").exists():
        again = f"give the command that packs it again, with --out {_quoted(folder)}: it continues where it stopped"
        return f"{shown}: packing was not finished", again
    problem = f"{shown}: no packed dataset (manifest.json) is there"
    if folder.is_file():
        return f"{problem}, it is a file", "give --shards the folder of a packed dataset"
    if packed := _packed_in(folder):
        return f"{problem}, but in {', '.join(path.name for path in packed)} below it", _one_of(packed)
    if not folder.exists():
        beside = _packed_in(folder.parent)
        likely = most_alike(folder.name, [path.name for path in beside])
        if beside:
            first = sorted(beside, key=lambda path: path.name != likely)
            return problem + (f" (did you mean {likely}?)" if likely else ""), _one_of(first)
    out = out_beside(folder) if folder.exists() else folder
    if (out / MANIFEST).exists():
        return problem, f"give --shards {_quoted(out)}"
    what, line = packing_line(folder) if folder.is_dir() else ("", "")
    if not line:
        return (
            problem,
            f"pack it: medtrain shard DATASET --root DIR --out {_quoted(out)}   then --shards {_quoted(out)}",
        )
    return f"{problem}: it holds {what}", f"pack them: {line} --out {_quoted(out)}   then: --shards {_quoted(out)}"


def packing_line(folder: Path) -> tuple[str, str]:
    """What raw images a folder holds, and the command that packs them; both empty where there are none that it could
    pack."""
    named = sorted(path.name for path in folder.iterdir() if path.is_dir())
    for name in datasets.names():
        source = datasets.source(name)
        if source.opened is None and len(source.classes) > 1 and set(source.classes) <= set(named):
            return f"the images of {name}", f"medtrain shard {name} --root {_quoted(folder)}"
    if _has_many(folder):  # to read their list would take long, for a message
        kinds = ", ".join(named[:SHOWN]) + (", ..." if len(named) > SHOWN else "")
        line = f"medtrain shard folder --root {_quoted(folder)}" if len(named) > 1 else ""
        return f"many files in the folders {kinds}", line
    with suppress(InputError):
        source, records = datasets.open_dataset("folder", folder)
        kinds = ", ".join(source.classes[:SHOWN]) + (", ..." if len(source.classes) > SHOWN else "")
        return (
            f"{len(records):,} {source.unit} in the folders {kinds}",
            f"medtrain shard folder --root {_quoted(folder)}",
        )
    for path in sorted(folder.iterdir()):
        if path.name.lower().endswith(own_table.SUFFIXES) and (line := _of_table(path)):
            return f"images and the table {path.name}", line
    return "", ""


def _has_many(folder: Path) -> bool:
    """Whether more than MANY files and folders lie in a folder, however deep."""
    seen = 0
    for _, folders, files in os.walk(folder):
        seen += len(folders) + len(files)
        if seen > MANY:
            return True
    return False


def _of_table(path: Path) -> str:
    """The command that packs the images of a table; empty where its first file is not there."""
    with suppress(InputError, OSError):
        table = own_table.load(path, ())
        table = replace(table, path=relative(path))
        for column in own_table.guesses(table).get("image", []):
            if table.rows and (path.parent / table.rows[0][1][column].strip()).is_file():
                return own_table.suggestion(table, OwnData())
    return ""


def out_beside(folder: Path) -> Path:
    """Where the images of a raw folder may be packed: never into it."""
    whole = folder.absolute()
    return whole.parent / f"{whole.name or 'images'}_shards"


def relative(path: Path) -> Path:
    """A path as one types it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) and path != here else path


def _packed_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))


def _one_of(packed: list[Path]) -> str:
    more = f" (and {len(packed) - SHOWN} more)" if len(packed) > SHOWN else ""
    return "give one of them: " + "   ".join(f"--shards {_quoted(path)}" for path in packed[:SHOWN]) + more


def _quoted(path: Path) -> str:
    return shlex.quote(str(relative(path)))
