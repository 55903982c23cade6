"""A run that is stormed: how far it is, and the proof at its end that no bit is another than without a storm."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from cluster_user import SETTINGS, User, trained
from faults import Target
from limits import HANG_S

STORM = [*SETTINGS, "--hang_timeout_seconds", "10"]


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
