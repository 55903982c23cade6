"""A machine without Slurm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medtrain.doctor.checks import slurm


@pytest.fixture
def no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as PATH, and no job around us."""
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    slurm.configuration.cache_clear()
    return tmp_path / "bin"
