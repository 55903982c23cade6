"""Each typical slip gets what is wrong, where, and what to type; benchmarks/slips.py times them."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
import slips
from command import medtrain


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("slips")
    slips.make(made)
    return made


@pytest.mark.parametrize("name", slips.SLIPS)
def test_a_slip_is_told_with_what_to_type(name: str, folder: Path) -> None:
    slip = slips.SLIPS[name]
    done = medtrain(*shlex.split(slip.words), cwd=folder, check=False)
    assert done.returncode == 2 and not done.stdout, done.stdout + done.stderr
    *_, problem, fix = done.stderr.splitlines()
    assert problem.startswith("error: ") and slip.problem in problem, done.stderr
    assert fix.startswith("  fix: ") and slip.fix in fix, done.stderr
    if slip.works:
        medtrain(*shlex.split(fix.partition("medtrain ")[2].partition("   ")[0]), cwd=folder)
        for made in (folder / "shards", *folder.glob("*_shards")):
            shutil.rmtree(made, ignore_errors=True)
