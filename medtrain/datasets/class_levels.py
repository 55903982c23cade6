"""Which folders of a path are the classes: those in the root, or those below each of them, as of several sites."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from medtrain.core.counts import counted
from medtrain.core.errors import InputError
from medtrain.datasets.cells import SPLITS

SHOWN = 4  # names in a message
LIKE_IDS = re.compile(r"(?=.*\d)..+")  # P03, 0017: patients; a single digit is rather a grade


def holders(base: Path, level: int, listing: Callable[[Path], list[str]]) -> list[Path]:
    """The folders whose folders are the classes: for 0 and 1 the base itself, for 2 the folders in it, and so on.
    InputError for a level that cannot be, or that has no folder."""
    if level < 0:
        raise InputError(f"--class_level is {level}", "give 1 for DIR/CLASS/IMAGE, 2 for DIR/SITE/CLASS/IMAGE")
    places = [base]
    for number in range(2, level + 1):
        places = [place / name for place in places for name in listing(place)]
        if not any(listing(place) for place in places):
            problem = f"{base} has folders on {counted(number - 1, 'levels')}, and --class_level is {level}"
            raise InputError(problem, f"give --class_level {number - 1}")
    return places


def ensure_told(root: Path, files: dict[tuple[str, str], list[str]]) -> None:
    """InputError, with what to add, where folders of the same names lie below the folders in the root: one of both are
    the classes, and which cannot be seen. `files` are the paths below `root` by split and folder.

    Names that look like ids of patients are none.
    """
    below: dict[str, set[str]] = defaultdict(set)
    for (split, name), own in files.items():
        inner = [file.split("/")[1 + bool(split) :] for file in own]
        if any(len(parts) < 2 for parts in inner):  # an image lies in the folder itself
            return
        below[name] |= {parts[0] for parts in inner}
    together = sorted(set().union(*below.values()))
    shared = [name for name in together if sum(name in own for own in below.values()) > 1]
    if len(shared) < 2 or 2 * len(shared) < len(together) or all(map(LIKE_IDS.fullmatch, together)):
        return
    outer, inner_names = _listed(sorted(below)), _listed(together)
    problem = f"{root}: each of the folders {outer} has the folders {inner_names}: which of them are the classes?"
    if all(name.lower() in SPLITS for name in together):
        fix = f"splits lie above the classes: move them to {root}/SPLIT/CLASS/IMAGE; to pack all of it without: "
        raise InputError(problem, f"{fix}--class_level 1")
    raise InputError(problem, f"add --class_level 2 ({inner_names}), or --class_level 1 ({outer})")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
