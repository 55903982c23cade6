"""A run that was made when medtrain was one flat folder goes on, with its own copy of the code and with this one.

tests/data/run_of_the_flat_layout.tar.xz: recipe mednist with test_efficientnet, SGD and 32 px on 60 drawn images, saved
every 2 steps and ended by SIGTERM in its second epoch; with its shards. Made by commit c4c69af, the last flat one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command import medtrain
from older_run import end_of, replay_and_evaluate, unpacked

from medtrain import datasets
from medtrain.core import processes
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.datasets.sources import demo
from medtrain.runs.run import Run
from medtrain.shards import pack_request, packing_jobs
from medtrain.shards.plan import PackOptions

ARCHIVE = "run_of_the_flat_layout.tar.xz"
# As the scripts of jobs have it that were sent then.
OLD_START = "import sys; sys.path[:] = [sys.argv.pop(1), *sys.path]; from medtrain import helper; helper.begin()"


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The run resumed with its own copy, and a twin with the medtrain of today."""
    folder = tmp_path_factory.mktemp("flat")
    runs = {name: unpacked(ARCHIVE, folder / name) for name in ("own", "thawed")}
    for name, run in runs.items():
        words = ["--thaw"] if name == "thawed" else []
        done = medtrain("resume", "flat", "--runs", run.folder.parent, "--keep_last", "4", *words, cwd=folder)
        assert ("resumes with its own copy" in done.stderr) == (name == "own"), done.stderr
    return runs


def test_it_is_verified_before_it_goes_on(tmp_path: Path) -> None:
    run = unpacked(ARCHIVE, tmp_path / "first")
    assert "flat" in medtrain("status", "--runs", run.folder.parent).stdout
    done = medtrain("verify", run.folder, "--files-only")
    assert "every byte and tensor as it was written" in done.stdout, done.stdout


def test_both_finish_with_the_same_bits_and_the_same_curve(resumed: dict[str, Run]) -> None:
    own, thawed = resumed["own"], resumed["thawed"]
    assert (own.code / "medtrain" / "worker.py").exists(), "it went on with its own copy"
    assert (thawed.code / "medtrain" / "launch" / "rank_main.py").exists()
    assert own.status()["state"] == thawed.status()["state"] == "finished"
    assert end_of(own)[0] and end_of(own) == end_of(thawed)
    assert read_json(own.report)["accuracy"] == read_json(thawed.report)["accuracy"]


@pytest.mark.parametrize("which", ["own", "thawed"])
def test_its_last_steps_are_trained_again_and_it_is_evaluated(which: str, resumed: dict[str, Run]) -> None:
    """From what was trained here: the steps before were of another CPU, whose sums may end in other bits."""
    run = resumed[which]
    replay_and_evaluate(run, from_step=14)
    assert "--- copy" in medtrain("diff", "flat", "--runs", run.folder.parent).stdout or which == "thawed"


def test_a_packing_job_that_waited_over_the_move_runs(demo_tree: Path, tmp_path: Path) -> None:
    """Its script names the installed medtrain's folder and the module `medtrain.packjob`."""
    out = tmp_path / "packed"
    out.mkdir()
    asked = pack_request.Request(
        "demo", demo_tree, pack_request.options_for(datasets.source("demo"), PackOptions()), 0, False
    )
    write_json(out / packing_jobs.REQUEST, {"request": asked.told(), "tasks": 1, "share": "private"})
    for stage in packing_jobs.STAGES:
        command = [sys.executable, "-c", OLD_START, str(processes.ROOT), "medtrain.packjob", str(out), stage]
        subprocess.run(command, check=True, cwd=tmp_path)
    assert read_json(out / "manifest.json")["classes"] == list(demo.CLASSES)
