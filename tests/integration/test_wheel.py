"""What is installed from a wheel works without a checkout: recipes, cluster files, scripts and licence are in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from command import SMALL
from places import REPOSITORY


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel of this checkout, and with the packages of this one that are no checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("medtrain", "slurm"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run(build, cwd=source, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(subprocess.check_output([python, "-c", where], text=True).strip())
    with zipfile.ZipFile(next(folder.glob("medtrain-*.whl"))) as wheel:
        wheel.extractall(packages)
    # A path in a .pth file is added as it is: the editable install in it is not followed.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shutil.rmtree(source)
    return python


def run(python: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A command by that Python."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-m", "medtrain", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=python.parent)


def test_it_checks_packs_trains_and_writes_a_cluster_s_script(installed: Path, demo_tree: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    place = ["--shards", shards, "--runs", tmp_path / "runs", "--run", "one"]
    for words in (
        ["check", "demo", "--root", demo_tree],
        ["shard", "demo", "--root", demo_tree, "--out", shards],
        ["train", "mednist", *place, *SMALL, "--epochs", 1],
    ):
        done = run(installed, *words)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "one" / "code" / "slurm" / "clusters" / "example.yaml").exists()
    script = run(installed, "submit", "mednist", "--dry-run", "--cluster", "example", *place[:-1], "two")
    assert script.returncode == 0 and "#SBATCH --requeue" in script.stdout, script.stderr


def test_its_doctor_knows_what_it_needs(installed: Path) -> None:
    told = {check["name"]: check for check in json.loads(run(installed, "doctor", "--json").stdout)["checks"]}
    assert told["medtrain"]["text"].endswith("site-packages/medtrain")
    assert told["packages"]["state"] == told["imports"]["state"] == "ok", told["packages"]


def test_it_brings_its_licence_and_says_that_it_is_typed(installed: Path) -> None:
    """PEP 639 and PEP 561."""
    with zipfile.ZipFile(next(installed.parents[2].glob("medtrain-*.whl"))) as wheel:
        names = set(wheel.namelist())
        told = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(wheel.read(told).decode())
        licence = f"{Path(told).parent}/licenses/LICENSE"
        assert {"medtrain/py.typed", licence} <= names
        assert wheel.read(licence) == (REPOSITORY / "LICENSE").read_bytes()
    assert metadata["License-Expression"] == "Apache-2.0" and metadata.get_all("License-File") == ["LICENSE"]
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
