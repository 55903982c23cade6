"""The commands of each version of Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest
from slurm_answers import VERSIONS, Answers


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def answers(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(tmp_path / "slurm-bin", version, monkeypatch)
