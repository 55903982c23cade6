"""`run_hpc_training.sh setup` installs by uv where it is there, in the tested versions, and where pip has no mirror."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from places import REPOSITORY
from uv import find_uv_bin

PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "medtrain"
version = "1"
dependencies = ["packed-one"]
[project.optional-dependencies]
dicom = []
fast = []
"""
REQUIRES = "Requires-Dist: packed-one\nProvides-Extra: dicom\nProvides-Extra: fast\n"
BACKEND = """\
import shutil
def build_editable(folder, config_settings=None, metadata_directory=None):
    return shutil.copy("medtrain-1-py3-none-any.whl", folder).rpartition("/")[2]
"""


def wheel(folder: Path, name: str, version: str, more: str = "") -> None:
    """A package of one module, as a file that is installed."""
    file, about = f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / file, "w") as out:
        out.writestr(f"{name}.py", f"version = {version!r}\n")
        out.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}")
        out.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        out.writestr(f"{about}/RECORD", "")


@pytest.mark.parametrize("mirror", [False, True])
def test_uv_installs_the_tested_versions_unless_pip_has_a_mirror(tmp_path: Path, mirror: bool) -> None:
    """uv does not read pip's settings. Both, for real; the packages are files beside them."""
    door, programs, wheels = (tmp_path / name for name in ("checkout", "bin", "wheels"))
    for folder in (door, programs, wheels):
        folder.mkdir()
    for version in ("1.0", "2.0"):
        wheel(wheels, "packed_one", version)
    shutil.copy(REPOSITORY / "run_hpc_training.sh", door)
    (door / "pyproject.toml").write_text(PROJECT)
    (door / "backend.py").write_text(BACKEND)
    wheel(door, "medtrain", "1", REQUIRES)
    (door / "constraints.txt").write_text("packed-one==1.0\n")
    (programs / "uv").symlink_to(find_uv_bin())
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    env = {
        **inherited, "PATH": f"{programs}:{os.environ['PATH']}", "PIP_CONFIG_FILE": os.devnull, "UV_OFFLINE": "1",
        "UV_NO_CONFIG": "1", "UV_FIND_LINKS": str(wheels), "UV_CACHE_DIR": str(tmp_path / "cache"),
        **({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)} if mirror else {}),
    }  # fmt: skip
    command = [door / "run_hpc_training.sh", "setup"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    log = door / ".venv" / "install.log"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.exists() else "")
    assert "installing the newest" not in done.stdout
    (installer,) = door.glob(".venv/lib/python*/site-packages/packed_one-1.0.dist-info/INSTALLER")
    assert installer.read_text().strip() == ("pip" if mirror else "uv")
    assert list(installer.parents[1].glob("__pycache__/packed_one.*.pyc")), "uv compiles nothing"
