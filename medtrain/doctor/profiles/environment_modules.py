"""What `module avail` shows, where a cluster has modules (Lmod or Environment Modules)."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass

from medtrain.doctor.checks import ask

# What a training may need: the driver's libraries, Python, containers.
USEFUL = re.compile(r"(^|/)(cuda|cudnn|nccl|rocm|python|anaconda\d?|miniconda\d?|miniforge\d?|mamba|conda|uv|apptainer"
                    r"|singularity|enroot)(/|$)", re.IGNORECASE)  # fmt: skip
MARKS = re.compile(r"(\(.*\)|<.*>)$")  # (default), <L>


@dataclass(frozen=True)
class Modules:
    """The modules that may matter to a training, and those that are loaded in this shell."""

    useful: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()


def look() -> Modules:
    """Ask the program behind the shell's `module`; both kinds of it tell on standard error, a name a line."""
    program = os.environ.get("LMOD_CMD") or os.environ.get("MODULES_CMD") or shutil.which("modulecmd")
    if not program or not os.access(program, os.X_OK):
        return Modules()
    words = ("--terse", "avail") if "LMOD_CMD" in os.environ else ("avail", "--terse")
    answer = ask(program, "bash", *words)
    names = [MARKS.sub("", line.strip()) for line in (answer.error or answer.out).splitlines()]
    useful = [name for name in names if USEFUL.search(name) and not name.endswith((":", "/")) and " " not in name]
    loaded = [name for name in os.environ.get("LOADEDMODULES", "").split(":") if name]
    return Modules(tuple(dict.fromkeys(useful)), tuple(loaded))
