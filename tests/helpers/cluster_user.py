"""A person with a shell on the test cluster, who trains there, and what must not depend on what happens to a run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from command import NETWORK, run
from interpreter import SLOW_STEPS
from limits import HANG_S
from slurm_cluster import Cluster

from medtrain.runs.run import Run
from medtrain.runs.status import describe

SETTINGS = [
    *NETWORK, "--epochs", "4000", "--patience", "0", "--batch_size", "2", "--grad_accumulation", "1",
    "--precision", "fp32", "--tracker", "none", "--image_size", "32", "--every_steps", "5",
    "--ema_decay", "0.9", "--workers", "1",
]  # fmt: skip
TWO_NODES = ["--nodes", "2", "--tasks_per_node", "1", "--partition", "low"]
TWO_BY_TWO = ["--nodes", "2", "--tasks_per_node", "2", "--partition", "low"]


class User:
    """A person with a shell on the cluster."""

    def __init__(self, cluster: Cluster, folder: Path, shards: Path) -> None:
        self.cluster, self.folder, self.shards = cluster, folder, shards
        self.env = {**os.environ, **cluster.env, "OMP_NUM_THREADS": "1", "PYTHONPATH": SLOW_STEPS}

    def medtrain(self, *arguments: object) -> str:
        """Run a command; it must succeed."""
        command = [sys.executable, "-m", "medtrain", *map(str, arguments)]
        done = run(command, cwd=self.folder, env=self.env)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, name: str, *options: str) -> str:
        """Submit a training run; returns its job id."""
        answer = self.medtrain(
            "submit", "mednist", "--shards", self.shards, "--run", name, "--json", *SETTINGS, *options
        )
        return str(json.loads(answer)["job"])

    def status(self, name: str) -> dict[str, Any]:
        """`medtrain status NAME --json`."""
        return dict(json.loads(self.medtrain("status", name, "--json"))[0])

    def run(self, name: str) -> Path:
        """The run's folder."""
        return self.folder / "runs" / name

    def until(
        self, name: str, what: str, holds: Callable[[dict[str, Any]], bool], timeout: float = HANG_S
    ) -> dict[str, Any]:
        """Wait until the run's status is as it should be: what `medtrain status` prints, without its half second."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with mock.patch.dict(os.environ, self.env):
                status = describe(Run(self.run(name)))
            if holds(status):
                return status
            time.sleep(0.3)
        logs = [
            path.read_text()[-3000:]
            for path in [self.run(name) / "train.log", *self.run(name).glob("slurm/*.*")]
            if path.is_file() and path.suffix in (".log", ".out")
        ]
        raise AssertionError(f"{what}: not within {timeout} s; {status}\n{self._of_job(name)}\n" + "\n".join(logs))

    def _of_job(self, name: str) -> str:
        """What the cluster has to say of the run's job: its fields, and what the controller's log tells of it."""
        job = json.loads((self.run(name) / "slurm" / "job.json").read_text())["job"]
        log = (self.cluster.folder / "slurmctld.log").read_text(errors="replace").splitlines()
        lines = [line for line in log if f"JobId={job} " in f"{line} " or "down" in line or "error" in line]
        return "\n".join([self.cluster.run("scontrol", "show", "job", job).stdout, *lines[-60:]])

    def attempts(self, name: str) -> list[dict[str, Any]]:
        """What the supervisor wrote down."""
        return [json.loads(line) for line in (self.run(name) / "attempts.jsonl").read_text().splitlines()]


def trained(run: Path) -> dict[str, Any]:
    """What must not depend on what happened to the run."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tensors = json.loads((run / "checkpoints" / "last" / "manifest.json").read_text())["tensors"]
    return {"tensors": tensors, "losses": [(row["step"], row["loss"]) for row in rows if row["kind"] == "step"]}


def wait_for(path: Path) -> None:
    """Until a file is there."""
    deadline = time.monotonic() + HANG_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.2)
