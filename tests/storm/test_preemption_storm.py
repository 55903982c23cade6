"""Storms on clusters that preempt jobs in another way than by a requeue; the run ends as if nothing had happened.

pytest tests/storm/test_preemption_storm.py                          3 preemptions of each mode
pytest tests/storm/test_preemption_storm.py --preemptions 100        a long storm; its result belongs into RESULTS.md
"""

from __future__ import annotations

import contextlib
import random
import shutil
import threading
import time
from pathlib import Path

import pytest
from cluster_user import TWO_NODES, User
from faults import PREEMPTIONS, Target, suspend_beyond_the_hang_timeout
from slurm_cluster import PATH, Cluster
from stormed_run import STORM, end_and_compare, resumed, steps, until_it_trains
from webhook import SECRET, Webhook

STARTS = {"SUSPEND": 0, "CANCEL": 1}  # how often a run starts again after one preemption


class Watcher:
    """Looks all the time, from outside, under which fencing numbers ranks live."""

    def __init__(self, target: Target) -> None:
        self._seen: set[frozenset[str]] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(target,), daemon=True)
        self._thread.start()

    def _look(self, target: Target) -> None:
        while not self._ended.wait(0.2):
            fences = {fence for pid in target.processes("medtrain.launch.rank_main") if (fence := _fence(pid))}
            self._seen.add(frozenset(fences))

    def end(self) -> set[frozenset[str]]:
        """The sets of numbers that were seen at one time."""
        self._ended.set()
        self._thread.join()
        return self._seen


def _fence(pid: int) -> str:
    with contextlib.suppress(OSError):
        variables = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        return next((value.partition("=")[2] for value in variables if value.startswith("MEDTRAIN_FENCE=")), "")
    return ""


@pytest.mark.parametrize("mode", PREEMPTIONS)
@pytest.mark.skipif(shutil.which("slurmctld", path=PATH) is None, reason="!!! NOT TESTED: the storm needs Slurm")
def test_storm_of_preemptions(
    mode: str, demo_shards: Path, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    count, seed = request.config.getoption("--preemptions"), request.config.getoption("--storm-seed")
    draw = random.Random(seed)
    row = [fault for _ in range(count) for fault in draw.sample(PREEMPTIONS[mode], len(PREEMPTIONS[mode]))][:count]
    with Cluster(preemption=mode) as cluster:
        user, hook = User(cluster, tmp_path, demo_shards), Webhook()
        user.env["MEDTRAIN_NOTIFY_URL"] = hook.address
        job = user.submit("storm", *STORM, *TWO_NODES, "--time", "120", "--notify", "webhook")
        target = Target(user, "storm", job, draw)
        run, began = user.run("storm"), time.monotonic()
        until_it_trains(target, 0, 0)
        watcher = Watcher(target)
        for number, preempt in enumerate(row, 1):
            time.sleep(draw.uniform(0, 1))
            target.told.append(preempt.__name__)
            starts, durable = len(resumed(run)), target.durable()
            preempt(target)
            until_it_trains(target, durable, starts + STARTS[mode])
            with capsys.disabled():
                print(
                    f"\n{number:3d} {time.monotonic() - began:6.0f} s  step {steps(run):5d}  {target.told[-1]}", end=""
                )
        rows, seen = user.attempts("storm"), watcher.end()
        assert len(seen) >= len(row) * STARTS[mode] and all(len(fences) < 2 for fences in seen), "two that publish"
        assert sum(line["event"] == "begin" for line in rows) == 1, "no person started it again"
        if mode == "SUSPEND":
            assert sum(line["event"] == "start" for line in rows) == 1, "no attempt ends by a suspension"
            noted = [line for line in rows if line["event"] == "suspended" and line["seconds"] > 10]
            assert len(noted) == row.count(suspend_beyond_the_hang_timeout)
            assert all(line["preemptor"] for line in noted)
        end_and_compare(user, demo_shards, 2)
        cluster.wait_for_an_empty_queue()
        assert [told["event"] for told in hook.messages] == ["finished"], "nothing is told before"
        assert not [path for path in run.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
        hook.close()
        assert not (run / "hangs").exists()
        assert not [path for path in run.rglob("*") if ".tmp-" in path.name or path.name.endswith(".unfinished")]
    with capsys.disabled():
        starts = sum(line["event"] == "start" for line in rows)
        print(f"\n{count} preemptions by {mode} (seed {seed}), attempts: {starts}, steps in all: {steps(run)}, "
              f"{time.monotonic() - began:.0f} s: same bits\n")  # fmt: skip
