"""A run goes on with another number of ranks: in exact mode to the same bits, in fast mode through the same samples."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command import NETWORK, SMALL, command_line, medtrain, wait_until
from fork_server import Forked
from limits import HANG_S

SETTINGS = [*SMALL, "--image_size", "32", "--every_steps", "3", "--dropout", "0.1", "--batch_size", "4"]
NETWORKS = [NETWORK[1], pytest.param("test_convnext", marks=pytest.mark.slow)]  # with BatchNorm, and without
GLOBAL = ["--global_batch", "16", "--epochs", "3"]  # four virtual ranks; six steps an epoch


def arguments(shards: Path, runs: Path, name: str, ranks: int, *options: str) -> list[str]:
    place = ["--shards", str(shards), "--runs", str(runs), "--run", name, "--tasks_per_node", str(ranks)]
    return ["train", "mednist", *place, *SETTINGS, *GLOBAL, *options]


def result(run: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "tensors": json.loads((run / "checkpoints" / "last" / "manifest.json").read_text())["tensors"],
        "steps": [(row["step"], row["epoch"], row["lr"], row["loss"]) for row in rows if row["kind"] == "step"],
        "epochs": [{key: row[key] for key in row if key != "time"} for row in rows if row["kind"] == "epoch"],
    }


def interrupted(shards: Path, runs: Path, name: str, *options: str) -> Path:
    """A run of one rank, stopped in its first epoch, resumed by two, stopped in its second, ended by four."""
    process = Forked(command_line(*arguments(shards, runs, name, 1, *options)), stdout=subprocess.DEVNULL)
    stop_after(runs / name, 2, process)
    process = Forked(command_line("resume", name, "--runs", runs, "--tasks_per_node", "2"), stdout=subprocess.DEVNULL)
    stop_after(runs / name, 7, process)
    medtrain("resume", name, "--runs", runs, "--tasks_per_node", "4")
    starts = [json.loads(line) for line in (runs / name / "attempts.jsonl").read_text().splitlines()]
    assert [row["ranks"] for row in starts if row["event"] == "start"] == [1, 2, 4]
    return runs / name


def stop_after(run: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    journal = run / "metrics.jsonl"
    wait_until(lambda: journal.exists() and f'"step": {step},' in journal.read_text(), process, f"step {step}")
    process.terminate()
    assert process.wait(HANG_S) == 75


@pytest.fixture(scope="module", params=NETWORKS)
def exact(
    request: pytest.FixtureRequest, demo_shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], dict[str, Any]]:
    """Options, with BatchNorm and without, and the result of one rank that nobody touched."""
    options = ["--determinism", "exact", "--ema_decay", "0.9", "--backbone", request.param]
    runs = tmp_path_factory.mktemp("exact")
    medtrain(*arguments(demo_shards, runs, "one", 1, *options))
    expected = result(runs / "one")
    assert set(expected["tensors"]) == {"model.safetensors", "optimizer.safetensors", "ema.safetensors"}
    return options, expected


@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.slow), 4])
def test_exact_is_the_same_bits_at_any_number_of_ranks(
    exact: Any, demo_shards: Path, tmp_path: Path, ranks: int
) -> None:
    options, expected = exact
    medtrain(*arguments(demo_shards, tmp_path, "more", ranks, *options))
    assert result(tmp_path / "more") == expected


def test_exact_is_the_same_bits_when_the_ranks_change_on_the_way(exact: Any, demo_shards: Path, tmp_path: Path) -> None:
    options, expected = exact
    assert result(interrupted(demo_shards, tmp_path, "elastic", *options)) == expected


def test_fast_keeps_the_order_the_steps_and_the_schedule(demo_shards: Path, tmp_path: Path) -> None:
    medtrain(*arguments(demo_shards, tmp_path, "one", 1, "--dropout", "0"))
    one = result(tmp_path / "one")
    elastic = result(interrupted(demo_shards, tmp_path, "elastic", "--dropout", "0"))
    assert [row[:3] for row in elastic["steps"]] == [row[:3] for row in one["steps"]]
    # The first steps are of the same samples and weights; later ones drift apart by rounding, as sums do.
    assert elastic["steps"][0][3] == pytest.approx(one["steps"][0][3], rel=1e-5)
    assert elastic["tensors"].keys() == one["tensors"].keys()


def test_more_ranks_than_virtual_ranks_are_refused(demo_shards: Path, tmp_path: Path) -> None:
    refused = medtrain(*arguments(demo_shards, tmp_path, "many", 5, "--determinism", "exact"), check=False)
    assert refused.returncode == 2
    assert (
        "5 ranks share a global batch of 16 in 4 parts" in refused.stderr and "use 4 ranks or fewer" in refused.stderr
    )
