"""A run that is interrupted in mid-epoch, by whatever, ends bit for bit as the one that nobody touched."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command import SMALL, command_line, medtrain, wait_until
from fork_server import Forked
from limits import HANG_S
from process_table import children

SETTINGS = [*SMALL, "--image_size", "32", "--every_steps", "4", "--dropout", "0.1", "--epochs", "4"]


def result(run: Path) -> dict[str, Any]:
    """What must not depend on interruptions: final tensors by hash, and the curve."""
    last = run / "checkpoints" / "last"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "tensors": json.loads((last / "manifest.json").read_text())["tensors"],
        "steps": [(row["step"], row["epoch"], row["loss"], row["lr"]) for row in rows if row["kind"] == "step"],
        "epochs": [{k: v for k, v in row.items() if k != "time"} for row in rows if row["kind"] == "epoch"],
    }


def train_arguments(shards: Path, runs: Path, name: str, ranks: int) -> list[str]:
    place = ["--shards", str(shards), "--runs", str(runs), "--run", name, "--tasks_per_node", str(ranks)]
    return ["train", "mednist", *place, *SETTINGS]


@pytest.fixture(
    scope="module",
    params=[pytest.param(1, id="one_process", marks=pytest.mark.slow), pytest.param(2, id="two_ranks")],
)
def undisturbed(request: pytest.FixtureRequest, demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(ranks, result) of a run that nobody touched."""
    runs = tmp_path_factory.mktemp("undisturbed")
    medtrain(*train_arguments(demo_shards, runs, "still", request.param))
    found = result(runs / "still")
    per_step = 8 * request.param
    assert [step for step, *_ in found["steps"]] == list(range(1, 4 * (96 // per_step) + 1))
    assert [row["epoch"] for row in found["epochs"]] == [1, 2, 3, 4]
    return request.param, found


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return Forked(command_line(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the journal has `step`; the journal is written one step late, so the run is just past it."""
    journal = run / "metrics.jsonl"
    wait_until(
        lambda: journal.exists() and journal.read_text().count('"kind": "step"') >= step, process, f"step {step}"
    )


def wait_for_save(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the checkpoint of `step` is durable; training has gone on meanwhile."""
    wait_for_step(run, step, process)
    wait_until((run / "checkpoints" / f"step-{step:08d}").exists, process, f"the save of step {step}")


def test_a_run_that_is_stopped_again_and_again_ends_alike(undisturbed: Any, demo_shards: Path, tmp_path: Path) -> None:
    ranks, expected = undisturbed
    run = tmp_path / "stopped"
    process = start(train_arguments(demo_shards, tmp_path, "stopped", ranks))
    for number, step in ((signal.SIGTERM, 3), (signal.SIGUSR2, 8), (signal.SIGINT, 13)):
        wait_for_step(run, step, process)
        process.send_signal(number)
        printed = process.communicate(timeout=HANG_S)[0]
        assert process.returncode == 75, printed
        assert f"medtrain resume stopped --runs {tmp_path}" in printed
        stopped_at = json.loads((run / "status.json").read_text())["step"]
        state = json.loads((run / "checkpoints" / "last" / "state.json").read_text())
        assert state["step"] == stopped_at, "an announced stop loses no step"
        assert step <= stopped_at < len(expected["steps"])
        process = start(["resume", "stopped", "--runs", str(tmp_path)])
    assert f"resuming at step {stopped_at}" in process.communicate(timeout=HANG_S)[0]
    assert result(run) == expected


def test_saves_by_the_clock_do_not_part_the_ranks(undisturbed: Any, demo_shards: Path, tmp_path: Path) -> None:
    ranks, expected = undisturbed
    arguments = [
        *train_arguments(demo_shards, tmp_path, "clock", ranks),
        "--every_steps",
        "0",
        "--every_minutes",
        "0.01",
    ]
    process = start(arguments)
    wait_for_step(tmp_path / "clock", 6, process)
    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=HANG_S)[0]
    assert process.returncode == 75, printed
    medtrain("resume", tmp_path / "clock")  # by the path of its folder
    assert result(tmp_path / "clock") == expected


def test_a_run_of_which_everything_is_killed_in_turn_ends_alike(
    undisturbed: Any, demo_shards: Path, tmp_path: Path
) -> None:
    ranks, expected = undisturbed
    run = tmp_path / "killed"
    process = start(train_arguments(demo_shards, tmp_path, "killed", ranks))
    wait_for_step(run, 1, process)
    for pid in [process.pid, *children(process.pid, "medtrain.launch.rank_main")]:  # before the first checkpoint
        subprocess.run(["kill", "-9", str(pid)], check=True)
    process.communicate()
    (run / ".status.json.4711.unfinished").write_text('{"sta')  # as if killed while it wrote
    (run / ".code.4711.unfinished" / "medtrain").mkdir(parents=True)

    process = start(["resume", "killed", "--runs", str(tmp_path)])
    for step, victim in ((4, 0), (12, -1)):  # the first rank, and the last
        wait_for_save(run, step, process)
        pids = children(process.pid, "medtrain.launch.rank_main")
        assert len(pids) == ranks
        subprocess.run(["kill", "-9", str(pids[victim])], check=True)
    wait_for_save(run, 16, process)
    subprocess.run(["kill", "-9", str(process.pid)], check=True)  # the supervisor alone: it takes its ranks with it
    resumed = medtrain("resume", "killed", "--runs", tmp_path, "--json")
    printed = process.communicate()[0]
    assert "has no checkpoint yet: it starts from the beginning" in printed
    assert re.findall(r"resuming from step (\d+)", printed) == ["4", "12"], printed
    assert json.loads(resumed.stdout)["state"] == "finished"
    assert "Stopped by SIGTERM; saved at step" in (run / "train.log").read_text()
    assert not list(run.rglob("*.unfinished"))
    assert result(run) == expected
