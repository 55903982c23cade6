"""Whether a new Python would begin as the fork server did, and what it would run (see forking)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What Python and the libraries read at their start or import, but PYTHONSAFEPATH, which become() heeds.
READ_AT_START = (
    "PYTHON", "LC_ALL", "LC_CTYPE", "LANG", "LD_", "MKL_", "KMP_", "HF_", "HUGGINGFACE_", "XDG_CACHE_HOME", "OPENCV_"
)  # fmt: skip
# For the ranks that Slurm starts: what is forked does without.
SLOW_STEPS = str(Path(__file__).parent / "slow_steps")
OF_TORCH = ("MKL_", "KMP_")  # which a loader's worker does not use, and is told other things of
LOADER = "medtrain.loading.worker"
CHECKOUTS = "FORKED_WITH_ANOTHER_MEDTRAIN"  # set where PYTHONPATH may lead to one, and not to test that start
told: dict[str, str] = {}  # of what the server read


def program_of(args: Any) -> list[str] | None:
    """The words behind `python` where they are `-c CODE ...`, `-m MODULE ...` or `FILE.py ...` of this Python."""
    if isinstance(args, str | bytes | os.PathLike):
        return None
    words = [os.fsdecode(word) for word in args]
    known = words[1:2] in (["-c"], ["-m"]) and len(words) > 2
    known |= len(words) > 1 and words[1].endswith(".py")
    return words[1:] if known and words[0] == sys.executable else None


def same_interpreter(environment: Mapping[str, str], words: list[str]) -> bool:
    """Whether Python would begin as the server did."""
    now = read_at_start(environment)
    if CHECKOUTS in environment and "PYTHONPATH" not in told and all(map(only_medtrain, python_path(environment))):
        now.pop("PYTHONPATH", None)
    return all(now.get(name) == told.get(name) or (LOADER in words and name.startswith(OF_TORCH))
               for name in now | told)  # fmt: skip


def python_path(environment: Mapping[str, str]) -> list[str]:
    """The folders of PYTHONPATH."""
    return [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]


def only_medtrain(place: str) -> bool:
    """Whether nothing else is imported from a folder, so that what the server has imported is right."""
    return Path(place).is_absolute() and [each.name for each in Path(place).glob("*")] == ["medtrain"]


def read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that decide how Python begins."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_AT_START) and name != "PYTHONSAFEPATH" and (name, value) != ("PYTHONPATH", SLOW_STEPS)
    }
