"""How long Slurm suspended the job of a run, for whom, and in words: `suspended` rows of attempts.jsonl."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from medtrain.core.counts import counted
from medtrain.slurm.queries import Fields, JobStatus, preemptor, seconds, show

STATES = ("SUSPENDED", "STOPPED")  # of a job whose processes are stopped
AT_ONCE_S = 5.0  # who suspends a job starts with that; what starts on its nodes later is another
UNSURE_S = 2.0  # Slurm tells whole seconds, and a stop is noticed between two ticks
NAMED = 3  # jobs that are named where there were more
Row = dict[str, Any]


def suspension(start: Row, stopped_s: float) -> Row | None:
    """The row for an attempt whose supervisor has just noticed that it was stopped for so long; None where Slurm
    answers that it has not suspended the job: a machine that was busy, or a person who stopped a process."""
    woken = time.time()
    fields, _ = show(start["job"])
    if fields and (seconds(fields, "SuspendTime") or 0.0) < woken - stopped_s - AT_ONCE_S:  # of the last change
        return None
    row = {"attempt": start["attempt"], "event": "suspended", "time": woken, "seconds": round(stopped_s, 1)}
    return {**row, "preemptor": _for_whom(fields, start["nodes"], woken - stopped_s - UNSURE_S)}


def now(place: JobStatus | None) -> Row | None:
    """The same of a job that is suspended at this moment; None where it is not."""
    if place is None or place.state not in STATES:
        return None
    since = seconds(place.fields, "SuspendTime")
    if since is None:
        return {"since": None, "seconds": 0.0, "preemptor": ""}
    job = _for_whom(place.fields, place.fields.get("NodeList", ""), since)
    return {"since": since, "seconds": max(0.0, time.time() - since), "preemptor": job}


def _for_whom(fields: Fields, nodes: str, since: float) -> str:
    """The job that started on the nodes as this one was suspended; empty where an administrator did it."""
    return preemptor(fields, nodes, since, within_s=AT_ONCE_S)


def of_attempt(rows: Iterable[Row], attempt: int) -> list[Row]:
    """The suspensions of an attempt, among the rows of attempts.jsonl."""
    return [row for row in rows if row["event"] == "suspended" and row["attempt"] == attempt]


def total(rows: Iterable[Row]) -> float:
    """The seconds of all."""
    return sum(float(row["seconds"]) for row in rows)


def words(rows: list[Row]) -> str:
    """`suspended by Slurm for 15 s (preempted by job 812)`; empty where there was none."""
    if not rows:
        return ""
    jobs = list(dict.fromkeys(row["preemptor"] for row in rows if row["preemptor"]))
    named = ", ".join(jobs[:NAMED]) + (", ..." if len(jobs) > NAMED else "")
    why = f" (preempted by {'jobs' if len(jobs) > 1 else 'job'} {named})" if jobs else ""
    often = f" {counted(len(rows), 'times')}, for {duration(total(rows))} in all" if len(rows) > 1 else ""
    return f"suspended by Slurm{often or f' for {duration(total(rows))}'}{why}"


def duration(length_s: float) -> str:
    """Seconds in words, as exact as they are of interest."""
    if length_s < 120:
        return f"{length_s:.0f} s"
    return f"{length_s / 60:.0f} min" if length_s < 7200 else f"{length_s / 3600:.1f} h"
