"""Commands and lists as they are printed."""

from __future__ import annotations

import shlex
from pathlib import Path

SHOWN = 10  # of a list of faulty images


def command(verb: str, dataset: str, root: Path, annotations: Path | None = None) -> str:
    """What to type to do something with a raw dataset."""
    by = f" --annotations {shlex.quote(str(annotations))}" if annotations else ""
    return f"medtrain {verb} {dataset} --root {shlex.quote(str(root))}{by}"


def listing(lines: list[str], hint: str = "") -> list[str]:
    """The first ten of some lines and how many more there are; `hint` says where those are."""
    more = [f"and {len(lines) - SHOWN:,} more{hint}"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]
