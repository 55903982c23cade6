"""When Slurm meant to start a run's job, written down, so that it can be compared with when it did."""

from __future__ import annotations

import contextlib
from pathlib import Path

from medtrain.core.jsonfiles import append_json, read_json_lines
from medtrain.runs.attempts import rows_of, started
from medtrain.runs.run import Run
from medtrain.slurm.queries import JobStatus, seconds

BY_SLURM = ("Priority", "Resources")  # of other waits the time is a user's --begin or a requeue's delay
Life = tuple[str, int]  # a job, and how often it was requeued before
FIELDS: dict[str, type | tuple[type, ...]] = {"job": str, "restarts": int, "planned": (int, float)}


def file_of(run: Run) -> Path:
    """A line for each life of a job that was seen waiting: the first start that Slurm planned for it."""
    return run.slurm / "planned_starts.jsonl"


def note(run: Run, place: JobStatus) -> None:
    """Write down the start that Slurm plans for a waiting job, once in each of its lives; a folder of others, or a full
    disk, is no fault of who looks."""
    start = seconds(place.fields, "StartTime")
    life = (place.id, int(place.fields.get("Restarts", 0)))
    if start is None or place.reason not in BY_SLURM or life in _planned(run):
        return
    with contextlib.suppress(OSError):
        append_json(file_of(run), {"job": life[0], "restarts": life[1], "planned": start})


def errors(run: Run) -> list[float]:
    """By how many seconds the job started later than planned (earlier: negative), of each life with a plan."""
    begun = {(row["job"], row.get("restarts", 0)): row["time"] for row in reversed(started(rows_of(run)))}
    return [begun[life] - planned for life, planned in _planned(run).items() if life in begun]


def _planned(run: Run) -> dict[Life, float]:
    lines = read_json_lines(file_of(run))
    whole = [line for line in lines if all(isinstance(line.get(name), kind) for name, kind in FIELDS.items())]
    return {(line["job"], line["restarts"]): float(line["planned"]) for line in whole}
