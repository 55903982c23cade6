"""slurm.environment: a rank that cannot train says which one it is, and where."""

from __future__ import annotations

import configparser
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from places import RECORDED

from medtrain.distributed.rank_environment import set_rank_environment
from medtrain.runs.run import Run
from medtrain.slurm.environment import in_batch_script, in_slurm_job, in_task

VERSIONS = ("22.05", "24.05", "25.05", "25.11", "26.05")
# Of each process of a job: is it where ranks are started from, can Slurm requeue it, is it a rank itself?
PLACES = {
    "batch": (True, True, False),
    "salloc on its own machine": (True, False, False),
    "salloc on a node": (True, False, False),
    "task": (False, False, True),
}


def environment(version: str, place: str) -> dict[str, str]:
    """What a process of a job finds, as that version of Slurm writes it."""
    recorded = configparser.ConfigParser(interpolation=None)
    recorded.optionxform = str  # type: ignore[assignment,method-assign]
    recorded.read(RECORDED / f"slurm-{version}" / "environments.ini")
    return dict(recorded[place])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", PLACES)
def test_each_version_of_slurm_says_in_its_own_way_what_is_a_task(
    monkeypatch: pytest.MonkeyPatch, version: str, place: str
) -> None:
    """From 26.05 on the batch script has a SLURM_STEP_ID too: taken for a task, it would train on one rank alone."""
    monkeypatch.setattr(os, "environ", {**environment(version, place), "OMP_NUM_THREADS": "1"})
    assert (in_slurm_job(), in_batch_script(), in_task()) == PLACES[place]
    set_rank_environment()
    expected = ("1", "2", "192.0.2.1") if place == "task" else (None, None, None)
    assert tuple(map(os.environ.get, ("RANK", "WORLD_SIZE", "MASTER_ADDR"))) == expected


@pytest.mark.parametrize(
    "step, task",
    [
        ("0", True),
        ("12", True),
        ("4294967280", True),  # SLURM_MAX_NORMAL_STEP_ID
        ("4294967290", False),  # the shell of salloc
        ("4294967291", False),  # the batch script
        ("4294967292", False),  # what holds a job's node together (extern)
        ("4294967293", False),  # a step that waits
        ("4294967294", False),  # NO_VAL
        ("-5", False),
        ("-6", False),
        ("batch", False),
        ("", False),
    ],
)
def test_only_the_number_of_a_step_makes_a_task(monkeypatch: pytest.MonkeyPatch, step: str, task: bool) -> None:
    """The numbers are those of slurm.h."""
    monkeypatch.setattr(os, "environ", {**environment("26.05", "batch"), "SLURM_STEP_ID": step})
    assert (in_task(), in_slurm_job(), in_batch_script()) == (task, not task, not task)


@pytest.mark.skipif(torch.cuda.is_available(), reason="!!! NOT TESTED: a GPU can do what is refused here")
def test_a_rank_that_cannot_train_names_itself_and_its_host(demo_shards: Path, tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    run.config_file.write_text(f"recipe: mednist\nprecision: fp16\ndata:\n  shards: {demo_shards}\n")
    command = [sys.executable, "-m", "medtrain.launch.rank_main", str(run.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    host = socket.gethostname()
    assert done.returncode == 1, done.stderr
    assert f"rank 0 on {host}: {host}: precision fp16 needs a GPU" in run.log.read_text()
    failure = run.failure()
    assert (failure["rank"], failure["host"], failure["exit_code"]) == (0, host, 1)
