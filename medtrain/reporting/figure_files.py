"""Names for figures in a folder of the user's: nothing that is there already is written over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from medtrain.core.errors import InputError
from medtrain.reporting.style import formats_now


@contextmanager
def new_files(folder: Path, names: Sequence[str]) -> Iterator[list[Path]]:
    """A path in `folder` for each name, for the time in which they are written; all get one number (`map-2.png`) where
    one of them is there already.

    Names that end with .png are kept free in the other formats that are written too. A name is taken at once, so that
    another process cannot take it too; what stays empty is removed.
    """
    paths, taken = _claim(folder, names)
    try:
        yield paths
    finally:
        for path in taken:
            if path.exists() and not path.stat().st_size:
                path.unlink()


def _claim(folder: Path, names: Sequence[str]) -> tuple[list[Path], list[Path]]:
    for number in count(1):
        paths = [folder / name if number == 1 else folder / _numbered(name, number) for name in names]
        taken: list[Path] = []
        try:
            for path in paths:
                for target in formats_now(path):
                    target.touch(exist_ok=False)
                    taken.append(target)
        except FileExistsError:
            for target in taken:
                target.unlink()
        except OSError as error:
            raise InputError(
                f"{folder} takes no figures ({error.strerror})", "give another folder: --out DIR"
            ) from None
        else:
            return paths, taken
    raise AssertionError("there is always another number")


def _numbered(name: str, number: int) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}-{number}{dot}{suffix}"


def written(figure: Path) -> dict[str, Any]:
    """The file of a figure, and those in the other formats that are written too, for a program."""
    first, *others = map(str, formats_now(figure))
    return {"figure": first, **({"other_formats": others} if others else {})}
