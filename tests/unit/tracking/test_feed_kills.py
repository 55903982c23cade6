"""A real training with W&B offline, killed again and again: its .wandb file has every step once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import SMALL, command_line, medtrain
from feeding import in_journal, in_wandb, offline_runs, wait_until
from feeding import no_network as no_network
from fork_server import Forked
from limits import HANG_S
from process_table import children
from test_feed_online import Server
from test_feed_online import server as server

from medtrain.core.jsonfiles import read_json, read_json_lines
from medtrain.runs.run import Run

SETTINGS = [*SMALL, "--image_size", "32", "--every_steps", "2", "--tracker", "wandb", "--mode", "offline"]
STEPS_AN_EPOCH = 12


class Training:
    """`medtrain train` or `resume`, with all that it starts."""

    def __init__(self, run: Run, *arguments: object) -> None:
        self.run = run
        self.begun = self._lives()
        command = command_line(*arguments, "--epochs", 500)
        self.supervisor = Forked(command, start_new_session=True, stdout=subprocess.DEVNULL)

    def trains(self) -> None:
        """Wait until a rank has taken up a checkpoint that the last one had not."""
        wait_until(lambda: self._lives() > self.begun or self.supervisor.poll() is not None)
        assert self.supervisor.poll() is None, self.run.log.read_text()
        self.begun = self._lives()

    def kill(self, *, supervisor: bool) -> None:
        """SIGKILL the rank's process group: loaders, the tracker's helper and all; the supervisor's too, if told."""
        groups = children(self.supervisor.pid, "medtrain.launch.rank_main")
        assert len(groups) == 1
        for group in [self.supervisor.pid, *groups] if supervisor else groups:
            os.killpg(group, signal.SIGKILL)
        if supervisor:
            self.supervisor.wait()

    def _lives(self) -> int:
        text = self.run.log.read_text() if self.run.log.exists() else ""
        return text.count("resuming at step") + text.count("starting from the beginning")


def fed(run: Run) -> int:
    """How much all .wandb files hold; each attempt begins one, and drops the older ones when it has caught up."""
    return sum(path.stat().st_size for path in run.trackers.glob("wandb/*/*.wandb") if path.exists())


def step_of(run: Run) -> int:
    rows = read_json_lines(run.journal)
    return int(rows[-1]["step"]) if rows else 0


def test_wandb_offline_has_every_step_once_however_often_training_is_killed(
    pytestconfig: pytest.Config, tmp_path: Path, demo_shards: Path, server: Server
) -> None:
    kills, run, draw = pytestconfig.getoption("--kills"), Run(tmp_path / "runs" / "hard"), random.Random(1)
    place = ["--runs", run.folder.parent]
    training = Training(run, "train", "mednist", *place, "--shards", demo_shards, "--run", "hard", *SETTINGS)
    for number in range(kills):
        training.trains()
        if number % 3 == 1:  # the helper is still starting
            time.sleep(draw.uniform(0, 0.5))
        else:  # it has sent rows, and saves, rows and steps are on the way
            before, goal = fed(run), run.last_step() + draw.randint(4, 9)
            wait_until(lambda before=before, goal=goal: step_of(run) >= goal and fed(run) != before)  # type: ignore[misc]
        whole = number % 2 == 0 or number == kills - 1
        training.kill(supervisor=whole)
        if whole and number < kills - 1:
            training = Training(run, "resume", "hard", *place)
    epochs = read_json(run.checkpoints / "last" / "state.json").get("epoch", 0) + 1
    medtrain("resume", "hard", *place, "--epochs", epochs)

    starts = [row for row in read_json_lines(run.attempts) if row["event"] == "start"]
    assert len(starts) == kills + 1, "every kill cost an attempt"
    (folder,) = offline_runs(run)
    rows = in_wandb(folder)
    assert list(rows) == list(range(1, epochs * STEPS_AN_EPOCH + 1))
    assert rows == in_journal(run)
    program = Path(sys.executable).with_name("wandb")
    subprocess.run([program, "sync", folder], check=True, capture_output=True, timeout=HANG_S, cwd=tmp_path)
    assert list(server.rows()) == list(rows) and server.rows() == rows, "W&B's own reader finds otherwise in its file"
    print(f"\n{kills} kills: steps 1 to {max(rows)} once each; attempts began at {[row['step'] for row in starts]}")
