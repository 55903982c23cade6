"""Runs on disk and the queue -> what each run is doing, as a table or JSON."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from medtrain.core.console import table
from medtrain.runs import planned_starts, suspensions
from medtrain.runs.attempt_history import attempt_history
from medtrain.runs.ownership import alive
from medtrain.runs.run import Run, again_command, runs_flag
from medtrain.slurm.pending_reasons import explain_reason
from medtrain.slurm.queries import NO_ANSWER, JobStatus, age_counts, queue_state, seconds

NOT_YET = "not yet"  # the state of a run that never began
# ANSI: green is done, cyan goes on, yellow wants a look, red an answer.
COLOURS = {"finished": "32", "running": "36", "starting": "36", "waiting": "33", "suspended": "33", "stopped": "33",
           "interrupted": "33", "crashed": "31", "failed": "31", "damaged": "31"}  # fmt: skip
ASK_SECONDS = 5.0  # squeue five times a second from every terminal would burden the cluster's controller


def describe(run: Run) -> dict[str, Any]:
    """Everything that is known of a run, as plain values."""
    status, place = run.status(), alive(run)
    if place is not None and place.waits:
        planned_starts.note(run, place)
    told = attempt_history(run, place)
    return {
        "run": run.name,
        "folder": str(run.folder),
        "state": _state(status, place, bool(told)),
        "step": status.get("step", 0),
        "saved_step": run.last_step(),
        "epoch": status.get("epoch", 0),
        "epochs": status.get("epochs"),
        "watch": status.get("watch"),
        "best": status.get("best"),
        "best_epoch": status.get("best_epoch"),
        "loss": status.get("loss"),
        "attempts": len(told),
        "last_cause": next((row["cause"] for row in reversed(told) if row["end"]), None),
        "history": told,
        "waiting": _waiting(run, place),
        "successor": _successor(run, place),
        "where": f"{place.kind} {place.id}" if place else None,
        "error": str(status.get("error") or ""),
        "note": _note(run, status, place, told),
        "updated": status.get("updated"),
    }


def _waiting(run: Run, place: JobStatus | None) -> dict[str, Any] | None:
    """Why a job waits, what helps, and when Slurm means to start it; None where none waits."""
    if place is None or not place.waits:
        return None
    named = shlex.quote(run.name) + runs_flag(run.folder.parent)
    found = explain_reason(place.reason, {**place.fields, "run": named, "job": place.id})
    return {"reason": place.reason, "why": found.why, "helps": found.helps, "start": seconds(place.fields, "StartTime")}


def _successor(run: Run, place: JobStatus | None) -> dict[str, Any] | None:
    """The job that waits to continue a run whose own job is in the queue; None where none does."""
    job = next((job for job in run.successors() if place and place.kind == "job" and job != place.id), "")
    return {"job": job, "age_counts": age_counts()} if job and queue_state(job) else None


def _state(status: dict[str, Any], place: JobStatus | None, begun: bool) -> str:
    said = str(status.get("state", "new"))
    if place is None and said == "queued" and not begun:  # its job left the queue before it started
        return NOT_YET
    if place is None:
        return "interrupted" if said in ("starting", "running", "queued") else said
    if place.waits:
        return "waiting"
    if place.state in suspensions.STATES:
        return "suspended"
    return said if said in ("running", "starting") else place.state.lower()


def _note(run: Run, status: dict[str, Any], place: JobStatus | None, told: list[dict[str, Any]]) -> str:
    waiting = _waiting(run, place)
    if waiting:
        return str(waiting["why"])
    if place is not None and place.state == NO_ANSWER:
        return place.reason
    if place is not None and place.state in suspensions.STATES:
        words = told[-1]["suspended_now"] if told else ""
        return f"{words or 'suspended by Slurm'}; it continues by itself"
    if status.get("error"):
        return str(status["error"])
    if place is None and status.get("state") in ("starting", "running", "queued", "stopped", "crashed"):
        cause = f"{told[-1]['cause']}; " if told and status["state"] == "crashed" else ""
        return f"{cause}resume: {again_command(run)}"
    return ""


def status_table(rows: list[dict[str, Any]]) -> str:
    """The rows of `status` for a person."""
    cells = [
        (
            row["run"], row["state"], _epochs(row), row["step"], _best(row),
            row["attempts"], row["where"] or "-", _age(row["updated"]), row["note"],
        )
        for row in rows
    ]  # fmt: skip
    return table(("run", "state", "epoch", "step", "best", "attempts", "where", "updated", "note"), cells)


def _best(row: dict[str, Any]) -> str:
    """The best value of the monitored metric, and which that is."""
    return "-" if row["best"] is None else f"{row.get('watch') or ''} {row['best']:.4f}".strip()


def _epochs(row: dict[str, Any]) -> str:
    """Of a group of runs there is no epoch."""
    return "-" if "stages" in row else f"{row['epoch']}/{row['epochs'] or '?'}"


def attempts_table(row: dict[str, Any]) -> str:
    """The attempts of a run, one a line, and what a waiting job waits for; from a row of `status`. Where one of them
    began in the allocation of the one before it, `from` says that of each."""
    heads = ("attempt", "from", "start", "end", "nodes", "cause", "steps", "lost", "goodput")
    cells = [
        (
            one["attempt"], _origin(one), _clock(one["start"]), _clock(one["end"]), one["nodes"], one["cause"] or "-",
            one["steps"], one["lost"], "-" if one["goodput_percent"] is None else f"{one['goodput_percent']:.0f}%",
        )
        for one in row["history"]
    ]  # fmt: skip
    shown = [n for n, head in enumerate(heads) if head != "from" or any(o["same_allocation"] for o in row["history"])]
    picked = [tuple(line[n] for n in shown) for line in cells]
    lines = [table(tuple(heads[n] for n in shown), picked)] if cells else []
    for one in row["history"]:
        if one["excluded"]:
            nodes, why = ", ".join(one["excluded"]), one["not_excluded_why"]
            how = f"{nodes} could not be excluded ({why})" if why else f"{nodes} excluded"
            lines.append(f"{how} after attempt {one['attempt']}: two attempts crashed there")
        if one["suspended"]:
            lines.append(f"attempt {one['attempt']} was {one['suspended']}; its goodput is of the rest of its time")
    if heir := row.get("successor"):
        age = "" if heir["age_counts"] else "; until then its age counts for nothing in the queue"
        lines.append(f"next    job {heir['job']} waits to continue it, should Slurm cancel {row['where']}{age}")
    if waiting := row["waiting"]:
        planned = f"; Slurm plans it for {_clock(waiting['start'])}" if waiting["start"] else ""
        lines.append(f"waits   {waiting['why']} ({waiting['reason']}){planned}")
        lines.append(f"fix     {waiting['helps']}" if waiting["helps"] else "fix     none needed")
    return "\n".join(lines)


def _origin(one: dict[str, Any]) -> str:
    return "same job" if one["same_allocation"] else "queue" if one["job"] else "-"


def _clock(when: float | None) -> str:
    """The date and time of here; of another year with that."""
    if when is None:
        return "-"
    try:
        there = time.localtime(when)
    except (OverflowError, ValueError, OSError):  # a damaged number
        return "?"
    return time.strftime("%m-%d %H:%M:%S" if there.tm_year == time.localtime().tm_year else "%Y-%m-%d %H:%M", there)


def _age(when: float | None) -> str:
    if when is None:
        return "-"
    passed = time.time() - when
    if passed < 120:
        return f"{passed:.0f} s ago"
    return f"{passed / 60:.0f} min ago" if passed < 7200 else f"{passed / 3600:.0f} h ago"


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
