"""A storm of faults on a real two-node cluster, and the run ends bit for bit as if nothing had happened.

pytest tests/storm                                  10 faults, a rank a node
pytest tests/storm --faults 100 --storm-seed 7      a long run, two ranks a node; its result belongs into RESULTS.md
"""

from __future__ import annotations

import json
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
from cluster_user import SETTINGS, TWO_BY_TWO, TWO_NODES, User, trained
from faults import ANNOUNCED, HARMLESS, QUICK, SLOW, Fault, Target, corrupt_the_newest_checkpoint
from limits import HANG_S

INTERVAL = 5  # steps between saves, see SETTINGS
STORM = [*SETTINGS, "--hang_timeout_seconds", "10"]


def drawn(faults: int, seed: int) -> list[Fault]:
    """A row of faults, in which no kind comes again before every kind has come."""
    draw, row = random.Random(seed), list[Fault]()
    while len(row) < faults:
        kinds = QUICK + (SLOW if faults > len(QUICK) else [])
        draw.shuffle(kinds)
        row += kinds
    return row[:faults]


def steps(run: Path) -> int:
    """The last step in the journal."""
    found = re.findall(r'"step": (\d+)', (run / "metrics.jsonl").read_text())
    return int(found[-1]) if found else 0


def resumed(run: Path) -> list[int]:
    """The steps that attempts went on from, by the log."""
    log = run / "train.log"
    found = re.findall(r"resuming at step ([\d,]+)", log.read_text()) if log.exists() else []
    return [int(step.replace(",", "")) for step in found]


def until_it_trains(target: Target, beyond: int, starts: int) -> None:
    """Until a checkpoint newer than `beyond` is there, made by an attempt after `starts` others."""
    run, deadline = target.user.run(target.name), time.monotonic() + HANG_S
    while len(resumed(run)) < starts or target.durable() <= beyond:
        if time.monotonic() > deadline:
            target.user.until(target.name, f"resumes after {target.told[-3:]}", lambda status: False, timeout=1)
        time.sleep(0.1)


def test_storm(
    cluster: Any, demo_shards: Path, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    faults, seed = request.config.getoption("--faults"), request.config.getoption("--storm-seed")
    user = User(cluster, tmp_path, demo_shards)
    ranks = TWO_BY_TWO if faults > len(QUICK) else TWO_NODES
    job = user.submit("storm", *STORM, *ranks, "--time", "60", "--signal_seconds", "30")
    target = Target(user, "storm", job, random.Random(seed))
    run, began, lost = user.run("storm"), time.monotonic(), 0
    until_it_trains(target, 0, 0)
    for number, fault in enumerate(drawn(faults, seed), 1):
        time.sleep(target.draw.uniform(0, 1.5))
        target.told.append(fault.__name__)
        starts, reached, durable = len(resumed(run)), steps(run), target.durable()
        fault(target)
        reached = max(reached, steps(run)) if fault in ANNOUNCED else reached
        if fault not in HARMLESS:
            until_it_trains(target, durable, starts + 1)
            lost += judge(fault, resumed(run)[starts], reached, durable)
        with capsys.disabled():
            print(f"\n{number:3d} {time.monotonic() - began:6.0f} s  step {steps(run):5d}  {fault.__name__}", end="")
    end_and_compare(user, demo_shards, 4 if ranks is TWO_BY_TWO else 2)
    assert not target.processes("medtrain.launch.rank_main") and not target.processes("medtrain.loading.worker")
    assert not [path for path in run.rglob("*") if ".tmp-" in path.name or path.name.endswith(".unfinished")]
    with capsys.disabled():
        print(f"\n{faults} faults (seed {seed}), {len(resumed(run))} restarts, {lost} steps done twice, "
              f"{steps(run)} steps in all, {time.monotonic() - began:.0f} s: same bits\n")  # fmt: skip


def judge(fault: Fault, resumed_at: int, reached: int, durable: int) -> int:
    """Steps that were done again, after proof that they are not too many."""
    if fault in ANNOUNCED:
        assert resumed_at >= reached, f"{fault.__name__}: an announced stop lost {reached - resumed_at} steps"
        return 0
    floor = durable - (INTERVAL + 2 if fault is corrupt_the_newest_checkpoint else 0)
    assert resumed_at >= floor, f"{fault.__name__}: went on from {resumed_at}, and step {durable} had been durable"
    return max(0, reached - resumed_at)


def end_and_compare(user: User, shards: Path, ranks: int) -> None:
    """End the run one epoch further, then train the same without any fault, and compare every bit."""
    user.medtrain("stop", "storm")
    stopped = user.until("storm", "stopped", lambda s: s["state"] == "stopped" and s["where"] is None)
    epochs = str(stopped["epoch"] + 1)
    user.medtrain("resume", "storm", "--epochs", epochs)
    user.until("storm", "finished", lambda s: s["state"] == "finished" and s["where"] is None)
    calm = ["train", "mednist", "--shards", shards, "--run", "calm", *STORM, "--epochs", epochs]
    user.medtrain(*calm, "--tasks_per_node", ranks)
    stormed, quiet = trained(user.run("storm")), trained(user.run("calm"))
    assert [step for step, _ in stormed["losses"]] == list(range(1, len(quiet["losses"]) + 1)), "each step exactly once"
    assert stormed == quiet
    assert json.loads((user.run("storm") / "status.json").read_text())["state"] == "finished"
