"""A Python in which packages cannot be imported, as where they are not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# As Python itself says it of what is not there. Every process that is started below has it too.
MISSING = """\
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


def environment(folder: Path, *names: str) -> dict[str, str]:
    """Of processes without these packages; `folder` is a new one."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(MISSING.format(names=names))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}


def python(env: dict[str, str], code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """What a Python of that environment says of some code."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)
