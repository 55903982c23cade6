"""run_hpc_training.sh in a folder of its own, whose environment it takes for set up."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from places import REPOSITORY


def front_door(folder: Path) -> Path:
    """The folder, with an empty `.venv/bin` that the caller fills."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("run_hpc_training.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, folder / name)
    sums = subprocess.run("cat pyproject.toml constraints.txt | cksum", shell=True, cwd=folder, capture_output=True)
    (folder / ".venv/ready").write_bytes(sums.stdout)
    return folder
