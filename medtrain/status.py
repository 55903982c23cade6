"""Runs on disk and the queue -> what each run is doing, as a table or JSON."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrain.console import table
from medtrain.run import Run, read_json, read_json_lines, run_names

WAITING = {
    "Priority": "jobs of higher priority come first",
    "Resources": "the nodes asked for are busy",
    "BeginTime": "it was requeued and starts again in a moment",
    "QOSMaxJobsPerUserLimit": "you have as many jobs as your QOS allows",
    "AssocMaxJobsLimit": "your account has as many jobs as it may",
    "PartitionTimeLimit": "it asks for more time than the partition gives: medtrain stop, then resume with --time",
    "ReqNodeNotAvail, UnavailableNodes": "a node asked for is down or reserved",
}


@dataclass(frozen=True)
class Place:
    """Where a run is under way: a Slurm job (with its state and reason) or a process of this machine."""

    kind: str
    id: str
    state: str = ""
    reason: str = ""


def alive(run: Run) -> Place | None:
    """Where a run is under way or waits in the queue; None where it is not."""
    job = str(read_json(run.job_file).get("job") or "")
    attempts = read_json_lines(run.attempts)
    last = attempts[-1] if attempts else {}
    job = str(last.get("job") or job)
    if job:
        queued = queue_state(job)
        if queued is not None:
            return queued
    if last.get("event") == "start" and last.get("nodes") == socket.gethostname() and _runs_here(last.get("pid", 0)):
        return Place("process", str(last["pid"]), "RUNNING")
    return None


def queue_state(job: str) -> Place | None:
    """A job that waits or runs; None where Slurm knows it no more, or there is no Slurm."""
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "--noheader", "--format=%T|%r", "--jobs", job]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if not answer:
        return None
    state, reason = answer.split("\n")[0].split("|", 1)
    return Place("job", job, state, reason) if state not in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT") else None


def _runs_here(pid: int) -> bool:
    try:
        return b"medtrain" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def describe(run: Run) -> dict[str, Any]:
    """Everything that is known of a run, as plain values."""
    status, place = run.status(), alive(run)
    attempts = read_json_lines(run.attempts)
    return {
        "run": run.name,
        "folder": str(run.folder),
        "state": _state(status, place),
        "step": status.get("step", 0),
        "saved_step": run.last_step(),
        "epoch": status.get("epoch", 0),
        "epochs": status.get("epochs"),
        "watch": status.get("watch"),
        "best": status.get("best"),
        "best_epoch": status.get("best_epoch"),
        "loss": status.get("loss"),
        "attempts": sum(row["event"] == "start" for row in attempts),
        "last_cause": next((row["cause"] for row in reversed(attempts) if row["event"] == "end"), None),
        "where": f"{place.kind} {place.id}" if place else None,
        "note": _note(status, place),
        "updated": status.get("updated"),
    }


def _state(status: dict[str, Any], place: Place | None) -> str:
    said = str(status.get("state", "new"))
    if place is None:
        return "interrupted" if said in ("starting", "running", "queued") else said
    if place.state == "PENDING":
        return "waiting"
    return said if said in ("running", "starting") else place.state.lower()


def _note(status: dict[str, Any], place: Place | None) -> str:
    if place is not None and place.state == "PENDING":
        return WAITING.get(place.reason, place.reason)
    if status.get("error"):
        return str(status["error"])
    if place is None and status.get("state") in ("starting", "running", "queued", "stopped", "crashed"):
        return "go on with: medtrain resume"
    return ""


def status(names: list[str], runs: Path) -> list[dict[str, Any]]:
    """`describe` of the named runs, or of all in the folder."""
    return [describe(Run.find(runs, name)) for name in names or run_names(runs)]


def status_table(rows: list[dict[str, Any]]) -> str:
    """The rows of `status` for a person."""
    cells = [
        (
            row["run"], row["state"], f"{row['epoch']}/{row['epochs'] or '?'}", row["step"], row["best"],
            row["attempts"], row["where"] or "-", _age(row["updated"]), row["note"],
        )
        for row in rows
    ]  # fmt: skip
    return table(("run", "state", "epoch", "step", "best", "attempts", "where", "updated", "note"), cells)


def _age(when: float | None) -> str:
    if when is None:
        return "-"
    seconds = time.time() - when
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"


def follow(path: Path, ended: Any) -> Any:
    """Yield a growing file's lines as they come, until `ended()` and nothing more is there."""
    while not path.exists() and not ended():
        time.sleep(0.2)
    if not path.exists():
        return
    with path.open() as file:
        while True:
            line = file.readline()
            if line:
                yield line.rstrip(os.linesep)
            elif ended():
                return
            else:
                time.sleep(0.2)
