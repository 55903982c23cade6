"""Runs on disk and the queue -> what each run is doing, as a table or JSON."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
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
ENDED = frozenset(
    ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
     "REVOKED")
)  # fmt: skip
NO_ANSWER = "UNKNOWN"
SLACK_SECONDS = 60.0  # a clock that was set meanwhile must not make a living run look dead
ASK_SECONDS = 5.0  # squeue five times a second from every terminal would burden the cluster's controller


@dataclass(frozen=True)
class Place:
    """Where a run is under way: a Slurm job (with its state and reason) or a process of this machine.

    A job that Slurm says nothing about, because its controller does not answer, may well be running: its state is
    NO_ANSWER, and nobody starts a second one beside it.
    """

    kind: str
    id: str
    state: str = ""
    reason: str = ""


def alive(run: Run) -> Place | None:
    """Where a run is under way or waits in the queue; None where it is not."""
    submitted, attempts = read_json(run.job_file), read_json_lines(run.attempts)
    started: dict[str, Any] = next((row for row in reversed(attempts) if row["event"] == "start"), {})
    newest = submitted if submitted.get("submitted", 0.0) >= started.get("time", 0.0) else started
    job = str(newest.get("job") or "")
    if job and job != os.environ.get("SLURM_JOB_ID"):  # in a job or allocation of one's own, that one does not count
        queued = queue_state(job)
        if queued is not None:
            return queued
    running = bool(attempts) and attempts[-1]["event"] == "start" and started.get("nodes") == place_name()
    if running and _runs_here(started.get("pid", 0), started.get("time", 0.0)):
        return Place("process", str(started["pid"]), "RUNNING")
    return None


def place_name() -> str:
    """The nodes of this job as Slurm writes them, or this host."""
    return os.environ.get("SLURM_JOB_NODELIST") or socket.gethostname()


def queue_state(job: str) -> Place | None:
    """A job that waits or runs; None where Slurm knows it no more, or there is no Slurm."""
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "--noheader", "--format=%T|%r", "--jobs", job]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
        return Place("job", job, NO_ANSWER, f"Slurm does not answer ({' '.join(answer.stderr.split())})")
    if not answer.stdout.strip():
        return None
    state, reason = answer.stdout.strip().split("\n")[0].split("|", 1)
    return Place("job", job, state, reason) if state not in ENDED else None


def _runs_here(pid: int, when: float) -> bool:
    """Whether a medtrain process of that number was there at the time `when`: after a restart numbers come again."""
    try:
        return b"medtrain" in Path(f"/proc/{pid}/cmdline").read_bytes() and _started(pid) <= when + SLACK_SECONDS
    except OSError:
        return False


def _started(pid: int) -> float:
    """When a process started, in seconds since 1970 (proc(5): field 22 of stat, in clock ticks since the boot).

    CLOCK_BOOTTIME and not /proc/uptime, which in some containers tells the container's own.
    """
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


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
        "note": _note(run, status, place),
        "updated": status.get("updated"),
    }


def _state(status: dict[str, Any], place: Place | None) -> str:
    said = str(status.get("state", "new"))
    if place is None:
        return "interrupted" if said in ("starting", "running", "queued") else said
    if place.state == "PENDING":
        return "waiting"
    return said if said in ("running", "starting") else place.state.lower()


def _note(run: Run, status: dict[str, Any], place: Place | None) -> str:
    if place is not None and place.state in ("PENDING", NO_ANSWER):
        return WAITING.get(place.reason, place.reason)
    if status.get("error"):
        return str(status["error"])
    if place is None and status.get("state") in ("starting", "running", "queued", "stopped", "crashed"):
        return f"go on with: medtrain resume {run.name}"
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
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"


def follow(path: Path, ended: Callable[[], bool]) -> Iterator[str]:
    """Yield a growing file's lines as they come, until `ended()`, which is asked rarely, and nothing more is there."""
    ended = rarely(ended)
    while not path.exists() and not ended():
        time.sleep(0.2)
    if not path.exists():
        return
    over, half = False, ""
    with path.open(errors="replace") as file:
        while True:
            line = half + file.readline()
            half = "" if line.endswith("\n") else line  # the writer is in the middle of it
            if line and not half:
                yield line.rstrip("\n")
            elif not over:
                over = ended()  # what was written just before the end is read once more
                time.sleep(0.0 if over else 0.2)
            else:
                yield from [half] if half else []
                return


def rarely(ask: Callable[[], bool]) -> Callable[[], bool]:
    """`ask`, but really asked only every ASK_SECONDS and never again after a yes."""
    answer, asked = False, float("-inf")

    def question() -> bool:
        nonlocal answer, asked
        if not answer and time.monotonic() - asked >= ASK_SECONDS:
            answer, asked = ask(), time.monotonic()
        return answer

    return question
