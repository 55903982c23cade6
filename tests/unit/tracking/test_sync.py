"""`medtrain sync` sends what was kept offline or could not be sent, and says where it is or why it is not."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import medtrain
from feeding import feed, in_journal, in_wandb, make_run, offline_runs, require, write_journal
from feeding import no_network as no_network
from test_feed_online import Server
from test_feed_online import server as server

from medtrain.core.jsonfiles import append_json
from medtrain.runs.run import Run
from medtrain.tracking.uploader_process import catch_up


def sync(run: Run, *more: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Type what is printed where something was not sent."""
    words = [*shlex.split(catch_up(run))[1:], *more]
    done = medtrain(*words, check=False, env={**os.environ, **environment}, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("mode", ["offline", "auto"])
def test_an_offline_run_is_sent_once_there_is_a_key(
    mode: str, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, "wandb", mode)
    write_journal(run, 50)
    key = os.environ["WANDB_API_KEY"]
    monkeypatch.delenv("WANDB_API_KEY")
    assert feed(run).stderr == "" and not server.heard
    assert len(offline_runs(run)) == 1
    monkeypatch.setenv("WANDB_API_KEY", key)
    done = sync(run)
    assert "wandb has the whole curve of run trial: 127.0.0.1" in done.stdout and done.stderr == ""
    assert list(server.rows()) == list(range(1, 50)), "the last step may still get an epoch's numbers"
    append_json(run.journal, {"kind": "epoch", "step": 50, "epoch": 1, "val_loss": 0.5, "time": 1.79e9})
    for _ in range(2):
        assert json.loads(sync(run, "--json").stdout)["tracker"] == "wandb"
        assert server.rows() == in_journal(run)
    assert not [folder for folder in offline_runs(run) if folder.name.startswith("offline")], "sent, so not needed"


def test_without_a_key_the_run_is_whole_on_the_disk_and_said_not_to_be_sent(tmp_path: Path) -> None:
    run = make_run(tmp_path, "wandb")
    write_journal(run, 20)
    done = sync(run, code=1)
    problem, fix = done.stderr.splitlines()
    assert "run trial was not sent: there is no key for W&B here" in problem and str(run.trackers) in problem
    assert fix.endswith(f"set WANDB_API_KEY (or wandb login), then {catch_up(run)}")
    (folder,) = offline_runs(run)
    assert in_wandb(folder) == in_journal(run)
    done = sync(run, code=1, WANDB_MODE="offline", WANDB_API_KEY="a" * 40)
    assert "WANDB_MODE=offline forbids it" in done.stderr and "unset WANDB_MODE" in done.stderr


def test_what_a_tracker_says_against_it_is_two_lines(tmp_path: Path) -> None:
    run = make_run(tmp_path, "wandb", "online")
    write_journal(run, 3)
    problem, fix = sync(run, code=1, WANDB_API_KEY="short").stderr.splitlines()
    assert problem.startswith("error: wandb did not take the curve of run trial")
    assert "check WANDB_API_KEY" in fix and fix.endswith(catch_up(run))


def test_mlflow_and_tensorboard_get_what_they_lack(tmp_path: Path) -> None:
    require("mlflow", "sqlalchemy", "alembic", extra="mlflow")
    require("tensorboard", extra="tensorboard")
    run = make_run(tmp_path / "a", "mlflow")
    write_journal(run, 30)
    assert f"mlflow ui --backend-store-uri sqlite:///{run.trackers}/mlflow.db" in sync(run).stdout
    assert (run.trackers / "mlflow.db").exists()
    server = {"MLFLOW_TRACKING_URI": "http://me:secret@127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = sync(run, code=1, **server)
    assert "mlflow did not take" in done.stderr and "check MLFLOW_TRACKING_URI" in done.stderr
    run = make_run(tmp_path / "b", "tensorboard")
    write_journal(run, 30)
    assert f"tensorboard --logdir {run.trackers}/tensorboard" in sync(run).stdout
    assert len(list(run.trackers.glob("tensorboard/*/events.*"))) == 1


def test_a_run_without_a_tracker_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, "none")
    assert "has no tracker" in sync(run).stdout
    assert not run.trackers.exists()


def test_a_run_that_is_under_way_is_left_to_its_own_helper(tmp_path: Path) -> None:
    run = make_run(tmp_path, "tensorboard")
    write_journal(run, 3)
    with subprocess.Popen([sys.executable, "-c", "input()", "medtrain"], stdin=subprocess.PIPE) as process:
        row = {"event": "start", "attempt": 1, "step": 0, "job": "", "nodes": socket.gethostname(), "pid": process.pid}
        row["time"] = time.time()
        append_json(run.attempts, row)
        done = sync(run, code=2)
        assert f"is under way (process {process.pid}): its own helper feeds" in done.stderr
        process.communicate(b"\n")
    run.trackers.mkdir()
    with (run.trackers / "feed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = sync(run, code=2)
        assert "the helper of its last attempt still feeds" in done.stderr and "feed.log" in done.stderr
    sync(run)
