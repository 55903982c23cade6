"""Commands and lists as they are printed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Protocol

SHOWN = 10  # of a list of faulty images


class Flags(Protocol):
    """What stands as flags on a command line."""

    def flags(self) -> str:
        """Each after a blank."""


def command(
    verb: str, dataset: str, root: Path | None, annotations: Path | None = None, own: Flags | None = None
) -> str:
    """What to type to do something with a raw dataset."""
    paths = {"root": root, "annotations": annotations}
    by = "".join(f" --{name} {shlex.quote(str(path))}" for name, path in paths.items() if path)
    return f"medtrain {verb} {dataset}{by}{own.flags() if own else ''}"


def listing(lines: list[str], hint: str = "") -> list[str]:
    """The first ten of some lines and how many more there are; `hint` says where those are."""
    more = [f"and {len(lines) - SHOWN:,} more{hint}"] if len(lines) > SHOWN else []
    return [*lines[:SHOWN], *more]
