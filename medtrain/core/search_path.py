"""Keeps the working folder out of the places where Python looks for modules.

Python puts it first for `python -c` and `python -m` (docs.python.org/3/library/sys.html#sys.path), and wherever
PYTHONPATH has an empty entry: a user's own random.py would be run in place of Python's, by every process of a run.
"""

from __future__ import annotations

import os  # this and sys are there before the first look into any folder
import sys


def leave_out_working_folder(root: str) -> None:
    """Of this process, and of every Python that it starts; but `root`, where medtrain itself lies, stays.

    A folder that PYTHONPATH names by its full path is meant, and stays too.
    """
    told = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [place for place in told if not _is_here(place)]
    os.environ.pop("PYTHONPATH", None)
    if kept:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    os.environ.setdefault(
        "PYTHONSAFEPATH", "1"
    )  # as -P, which a pool of processes cannot be given; Python 3.11 or newer
    here = _here()
    if here != root:
        first, rest = sys.path[:1], sys.path[1:]
        by_m = first == [here]
        named = len(kept) < len(told) and told != [""]
        sys.path[:] = [*([] if by_m else first), *(place for place in rest if not (named and place == here))]
    sys.path[:] = [place for place in sys.path if place]


def _is_here(place: str) -> bool:
    """Whether an entry of PYTHONPATH means whatever folder one is in: empty, `.`, `./`."""
    return os.path.normpath(place) == "."  # not by pathlib, which would be looked for in that folder


def _here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # it was deleted
        return ""
