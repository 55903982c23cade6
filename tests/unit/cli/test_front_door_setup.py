"""`run_hpc_training.sh setup` says what to type next, and that works."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from front_door import front_door


@pytest.fixture
def door(tmp_path: Path) -> Path:
    """The script in a folder of its own whose environment is set up, with a medtrain that says what it was called."""
    folder = front_door(tmp_path / "my checkout")
    for name in ("python", "medtrain"):
        (folder / ".venv/bin" / name).write_text('#!/bin/sh\necho "medtrain $*"\n')
        (folder / ".venv/bin" / name).chmod(0o755)
    (folder / ".venv/bin/activate").write_text(f"PATH={shlex.quote(str(folder / '.venv/bin'))}:$PATH\n")
    return folder


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_to_type_next_works(door: Path, tmp_path: Path, elsewhere: bool) -> None:
    here = tmp_path if elsewhere else door
    script = str(door / "run_hpc_training.sh") if elsewhere else "./run_hpc_training.sh"
    done = subprocess.run([script, "setup"], cwd=here, capture_output=True, text=True, check=True)
    first, *lines = done.stdout.splitlines()
    assert first == "medtrain is installed. What to type next:"
    source, doctor, *_ = (line.partition(" # ")[0].strip() for line in lines)
    shell = subprocess.run(["bash", "-c", f"{source}; {doctor}"], cwd=here, capture_output=True, text=True, check=True)
    assert shell.stdout == "medtrain doctor\n"
    assert shlex.split(lines[3].partition(" # ")[0]) == [script]
