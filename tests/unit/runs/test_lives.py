"""The lives of a run on this machine, as its attempts tell them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from command import SMALL, command_line, medtrain
from fork_server import Forked
from limits import HANG_S
from process_table import children

from medtrain.core.jsonfiles import read_json_lines
from medtrain.runs.attempts import started

NOW = 1_000_000.0


def wait_for_step(run: Path, number: int) -> None:
    """Until the journal has this step."""
    deadline = time.monotonic() + HANG_S
    while not (run / "metrics.jsonl").exists() or f'"step": {number},' not in (run / "metrics.jsonl").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers(supervisor: subprocess.Popen[bytes]) -> list[str]:
    """The ranks' process ids."""
    return list(map(str, children(supervisor.pid, "medtrain.launch.rank_main")))


def test_lives_of_a_run_on_this_machine(demo_shards: Path, tmp_path: Path) -> None:
    """A rank is killed, then Ctrl-C, then everything is killed, then it finishes: four lines that say so."""
    run, place = tmp_path / "life", ["life", "--runs", str(tmp_path)]
    settings = [*SMALL, "--image_size", "32", "--every_steps", "3", "--epochs", "3"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = command_line("train", "mednist", "--shards", demo_shards, "--runs", tmp_path, "--run", "life", *settings)
    with Forked(command, **quiet) as supervisor:
        wait_for_step(run, 5)
        subprocess.run(["kill", "-9", *workers(supervisor)], check=True)
        deadline = time.monotonic() + HANG_S
        while len(started(read_json_lines(run / "attempts.jsonl"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        wait_for_step(run, 12)
        supervisor.send_signal(signal.SIGINT)
    with Forked(command_line("resume", *place), **quiet) as supervisor:
        wait_for_step(run, 20)
        subprocess.run(["kill", "-9", str(supervisor.pid), *workers(supervisor)], check=True)
    medtrain("resume", *place)
    told = json.loads(medtrain("status", *place, "--json").stdout)[0]["history"]
    assert [row["cause"] for row in told] == [
        "rank 0 killed by signal 9 (SIGKILL)",
        "stopped by the user (Ctrl-C)",
        "ended without a word: node failure, power loss, or everything was killed",
        "finished",
    ]
    assert [bool(row["found_later"]) for row in told] == [False, False, True, False]
    assert told[1]["lost"] == told[3]["lost"] == 0
    assert sum(row["steps"] - row["lost"] for row in told) == told[-1]["last_step"] == 36, "every step counted once"
    assert all(0 <= row["goodput_percent"] <= 100 for row in told)
    text = medtrain("status", *place).stdout
    assert "attempt  start" in text
    assert text.count("finished") == 2
