"""A storm of faults on a real two-node cluster, and the run ends bit for bit as if nothing had happened.

pytest tests/storm                                  10 faults, a rank a node
pytest tests/storm --faults 100 --storm-seed 7      a long run, two ranks a node; its result belongs into RESULTS.md
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from cluster_user import TWO_BY_TWO, TWO_NODES, User
from faults import ANNOUNCED, HARMLESS, QUICK, SLOW, Fault, Target, corrupt_the_newest_checkpoint
from stormed_run import STORM, end_and_compare, resumed, steps, until_it_trains

INTERVAL = 5  # steps between saves, see SETTINGS


def drawn(faults: int, seed: int) -> list[Fault]:
    """A row of faults, in which no kind comes again before every kind has come."""
    draw, row = random.Random(seed), list[Fault]()
    while len(row) < faults:
        kinds = QUICK + (SLOW if faults > len(QUICK) else [])
        draw.shuffle(kinds)
        row += kinds
    return row[:faults]


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
