"""A run that hangs, for whatever reason, is ended, explained, and goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from command import SMALL, command_line, medtrain
from fork_server import Forked
from limits import HANG_S
from process_table import children, gone

from medtrain.training.watchdog import APART_S, Watchdog, blame

SETTINGS = [*SMALL, "--image_size", "32", "--every_steps", "4", "--hang_timeout_seconds", "8", "--tasks_per_node", "2",
            "--workers", "2", "--batch_size", "2"]  # fmt: skip


def arguments(shards: Path, runs: Path, name: str) -> list[str]:
    return ["train", "mednist", "--shards", str(shards), "--runs", str(runs), "--run", name, *SETTINGS]


def hashes(run: Path) -> Any:
    return json.loads((run / "checkpoints" / "last" / "manifest.json").read_text())["tensors"]


class Training:
    """A supervised run of two ranks that has made a few steps."""

    def __init__(self, shards: Path, runs: Path, name: str) -> None:
        self.folder = runs / name
        self.process = Forked(
            command_line(*arguments(shards, runs, name)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        deadline = time.monotonic() + HANG_S
        while not (self.folder / "checkpoints" / "step-00000004").exists():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.ranks = children(self.process.pid, "medtrain.launch.rank_main")
        self.loaders = [child for rank in self.ranks for child in children(rank, "medtrain.loading.worker")]
        assert len(self.ranks) == 2 and len(self.loaders) == 4, "those of the validation start with it"

    def end(self) -> str:
        """What it printed until its end."""
        printed = self.process.communicate(timeout=HANG_S)[0]
        assert self.process.returncode == 0, printed
        assert all(map(gone, self.ranks + self.loaders)), "no process is left, a stopped one neither"
        return printed


@pytest.fixture(scope="module")
def undisturbed(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    runs = tmp_path_factory.mktemp("undisturbed")
    medtrain(*arguments(demo_shards, runs, "still"))
    return hashes(runs / "still")


def test_a_stopped_rank_is_named_and_the_run_ends_alike(demo_shards: Path, tmp_path: Path, undisturbed: Any) -> None:
    training = Training(demo_shards, tmp_path, "run")
    os.kill(training.ranks[1], signal.SIGSTOP)
    printed = training.end()
    assert re.search(r"no heartbeat for 8 s while step \d+: rank 1 does not answer \(stopped", printed), printed
    assert hashes(training.folder) == undisturbed
    stacks = (training.folder / "hangs" / "rank-0.txt").read_text()
    places = r"medtrain/training/(loop|saving)\.py\", line \d+ in (optimizer_step|record_step|end_epoch|report_save)"
    assert re.search(places, stacks), stacks
    ends = [json.loads(line) for line in (training.folder / "attempts.jsonl").read_text().splitlines()]
    assert sum(row["event"] == "start" for row in ends) == 2


@pytest.mark.slow
def test_a_rank_that_stops_as_soon_as_it_is_back_is_found_too(
    demo_shards: Path, tmp_path: Path, undisturbed: Any
) -> None:
    training = Training(demo_shards, tmp_path, "run")
    os.kill(training.ranks[0], signal.SIGTERM)
    deadline = time.monotonic() + HANG_S
    while "resuming at step" not in (training.folder / "train.log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    again = children(training.process.pid, "medtrain.launch.rank_main")
    os.kill(again[1], signal.SIGSTOP)
    training.ranks += again
    printed = training.end()
    limit = re.search(r"no heartbeat for (\d+) s while .*: rank 1 does not answer", printed)
    assert limit, printed
    started = json.loads((training.folder / "status.json").read_text())["start_seconds"]
    assert 60 <= int(limit[1]) <= max(60, 6 * started), "not the 300 s of a run that nobody has seen start"
    assert hashes(training.folder) == undisturbed


def test_a_rank_whose_loader_hangs_is_named_with_its_place_in_the_code(
    demo_shards: Path, tmp_path: Path, undisturbed: Any
) -> None:
    training = Training(demo_shards, tmp_path, "run")
    for loader in children(training.ranks[0], "medtrain.loading.worker"):
        os.kill(loader, signal.SIGSTOP)
    printed = training.end()
    assert re.search(r"rank 0 on \S+ is in pool\.py:\d+ _hear .*, the others wait for it", printed), printed
    assert hashes(training.folder) == undisturbed


def test_a_job_that_is_suspended_has_not_hung(demo_shards: Path, tmp_path: Path, undisturbed: Any) -> None:
    """Nor has it where one node is woken later than the other by more than a rank may be silent. What it was suspended
    is in the journal, and no part of how long steps and epochs take."""
    training = Training(demo_shards, tmp_path, "run")
    nodes = [[rank, *children(rank, "medtrain.loading.worker")] for rank in training.ranks]
    for number, wait_s in ((signal.SIGSTOP, (0, 6)), (signal.SIGCONT, (10, 0))):
        for node, then in zip(nodes, wait_s, strict=True):
            for pid in node:
                os.kill(pid, number)
            time.sleep(then)
    printed = training.end()
    assert "no heartbeat" not in printed
    assert hashes(training.folder) == undisturbed
    rows = [json.loads(line) for line in (training.folder / "metrics.jsonl").read_text().splitlines()]
    assert 5 < sum(row.get("suspended_seconds", 0) for row in rows) < 8, "those of rank 0"


def test_a_hang_is_found_where_two_jobs_take_turns_and_each_is_suspended_again_and_again() -> None:
    watchdog = object.__new__(Watchdog)  # without its thread
    watchdog.alive("step 1", 45.0)
    for _ in range(9):
        watchdog._wait_for_the_others()
    assert watchdog._ticks == -45
    watchdog.alive("step 2", 5.0)
    watchdog._wait_for_the_others()
    watchdog._wait_for_the_others()
    assert watchdog._ticks == -APART_S


def report(rank: int, waiting: bool) -> dict[str, Any]:
    return {"rank": rank, "host": f"n{rank}", "waiting": waiting, "in": "loader.py:1 f", "at": "x.py:2 g"}


def test_blame() -> None:
    assert "rank 2 on n2 is in loader.py:1 f" in blame({r: report(r, r != 2) for r in range(4)}, 4)[0]
    assert blame({r: report(r, r != 2) for r in range(4)}, 4)[1] == "2"
    words, rank = blame({0: report(0, True), 3: report(3, True)}, 4)
    assert words.startswith("rank 1, 2 does not answer") and rank == "1"
    assert "network" in blame({r: report(r, True) for r in range(4)}, 4)[0]
    assert "the process is in loader.py:1 f" in blame({0: report(0, False)}, 1)[0]
