"""Remove runs: one that never made a step gives its name free by itself, any other only when a person says so."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import Protocol

from medtrain.core.errors import InputError
from medtrain.core.files import UNFINISHED
from medtrain.runs.ownership import alive
from medtrain.runs.run import Run, command_for


class Folder(Protocol):
    """A run, or a group of runs: its attributes are the places in it."""

    folder: Path


def began(run: Run) -> bool:
    """Whether a run has made a step, so that something would be lost with it."""
    if any(run.checkpoints.glob("*")):
        return True
    return run.journal.exists() and run.journal.stat().st_size > 0


def make_way(run: Run) -> bool:
    """Remove a run that ended before its first step, such as one whose settings were refused: its name is free.

    True where there was one. A run that is under way, or has made a step, is left as it is.
    """
    if not run.config_file.exists() or began(run) or alive(run) is not None:
        return False
    remove(run)
    return True


def ensure_not_alive(run: Run) -> None:
    """InputError where a run is under way, or waits in the queue."""
    place = alive(run, sure=True)
    if place is not None:
        raise InputError(
            f"run {run.name} is still under way ({place.kind} {place.id})", f"end it first: {command_for(run, 'stop')}"
        )


def remove(one: Folder, mark: str = "config.yaml") -> list[str]:
    """Remove what medtrain made in the folder of a run or group, and the folder where nothing else is in it.

    Returns what is left there. The `mark`, which makes it a run, goes last: what was cut off can be asked for again.
    """
    if not one.folder.is_dir():
        return []
    last = one.folder / mark
    own = {place.relative_to(one.folder).parts[0] for place in vars(one).values() if _inside(place, one.folder)}
    for entry in [*(entry for entry in sorted(one.folder.iterdir()) if entry != last), last]:
        litter = entry.name.endswith(UNFINISHED) or entry.name == ".lock"
        if litter or entry.name in own or entry.name.startswith(tuple(f"{name}." for name in own)):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    left = sorted(entry.name for entry in one.folder.iterdir())
    if not left:
        real = one.folder.resolve()
        if one.folder.is_symlink():
            one.folder.unlink()
        with contextlib.suppress(OSError):  # a place that others mount, or the user's scratch folder
            real.rmdir()
    return left


def _inside(place: object, folder: Path) -> bool:
    return isinstance(place, Path) and place != folder and folder in place.parents


def loses(run: Run) -> str:
    """What would be lost with a run, in words; empty where it never made a step."""
    if not began(run):
        return ""
    best = " and its best weights" if (run.checkpoints / "best").exists() else ""
    state = run.status().get("state", "")
    size = sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file() and not path.is_symlink())
    return f"run {run.name} ({state or 'no state'}): step {run.last_step():,}{best}, {size / 1e6:,.1f} MB"


def asked(lost: list[str], command: str) -> bool:
    """Whether a person at this terminal, who typed it, wants to lose that; InputError where nobody is there."""
    if not sys.stdin.isatty():
        raise InputError("; ".join(lost) + " would be lost", f"if that is meant: {command} --yes")
    print("\n".join(lost), file=sys.stderr)
    print("remove it for good? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
