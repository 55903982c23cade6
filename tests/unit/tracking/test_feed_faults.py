"""Whatever is wrong with a tracker costs the user one line and training nothing."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
from pathlib import Path

import pytest
from feeding import (
    feed,
    make_run,
    offline_runs,
    require,
    write_journal,
)
from feeding import no_network as no_network

from medtrain.runs.run import Run
from medtrain.tracking.uploader_process import UploaderProcess, catch_up


def test_a_missing_package_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "absent" / "wandb").mkdir(parents=True)
    (tmp_path / "absent" / "wandb" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'wandb'\")")
    run = make_run(tmp_path, "wandb")
    write_journal(run, 3)
    path = f"{tmp_path / 'absent'}{os.pathsep}{os.environ['PYTHONPATH']}"
    expect_one_warning(run, feed(run, env={**os.environ, "PYTHONPATH": path}), "pip install wandb")


def test_a_bad_key_is_one_line_that_names_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, "wandb")
    write_journal(run, 3)
    expect_one_warning(run, feed(run, env={**os.environ, "WANDB_API_KEY": "short"}), "check WANDB_API_KEY")


def test_an_unreachable_server_is_one_line_that_names_it(tmp_path: Path) -> None:
    require("mlflow", extra="mlflow")
    run = make_run(tmp_path, "mlflow")
    write_journal(run, 3)
    server = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    expect_one_warning(run, feed(run, env={**os.environ, **server}), "check MLFLOW_TRACKING_URI")


@pytest.mark.parametrize("tracker", ["wandb", "tensorboard"])
def test_a_full_disk_is_one_line_and_the_next_attempt_has_everything(tmp_path: Path, tracker: str) -> None:
    require(tracker, extra=tracker)
    run = make_run(tmp_path, tracker)
    write_journal(run, 2000)
    limit = (50_000, 50_000)  # a file that cannot grow is the nearest to a full disk without mounting one
    full = feed(run, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    expect_one_warning(run, full, "make room on the disk")
    assert feed(run).stderr == ""
    assert len(offline_runs(run) if tracker == "wandb" else list((run.trackers / tracker).iterdir())) == 1


def expect_one_warning(run: Run, done: subprocess.CompletedProcess[str], remedy: str) -> None:
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: no more goes to") and remedy in line and line.endswith(catch_up(run))
    assert line.removeprefix("warning: ") in (run.trackers / "feed.log").read_text()


def test_a_helper_that_does_not_end_is_stopped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, "tensorboard")
    run.trackers.mkdir()
    feeder = UploaderProcess(run, "tensorboard")
    with (run.trackers / "feed.lock").open("w") as lock:  # as if an earlier helper was still at work
        fcntl.flock(lock, fcntl.LOCK_EX)
        feeder.start()
        feeder.finish(timeout_s=1.0)
    assert "not done after 1 s" in capfd.readouterr().err
    feeder.finish()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    done = feed(Run(tmp_path / "nothing"))
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "nothing" in done.stderr
