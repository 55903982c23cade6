"""What an attempt did and what its time was worth, from the journal's lines."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from medtrain.runs.journal import SUSPENDED, parsed
from medtrain.runs.step_times import measured_parts

STALL = 10  # a step of so many times the average length was held up: the rest of it counts as waiting
BLOCK = 1 << 16


@dataclass(frozen=True)
class Work:
    """What the journal says of an attempt: the step it began at, the last one it reached, the seconds in its steps, and
    when the first of them was done; of these steps, what rank 0's clock measured, by the names of the journal."""

    first: int
    reached: int
    seconds: float
    last_time: float  # of its last line; 0 where it wrote none
    first_time: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


def work(journal: Path, since: float, step: int) -> Work:
    """What an attempt did, by the lines that it wrote: those since it started, at the checkpoint of `step`.

    A step's time goes from the line before to its own, and is at most STALL times the average, so that a step
    that was held up does not shine. The line before may be an epoch's: validating is no step. The attempt's first step
    has no line before it and counts as an average one. In no step is the time in which its rank was suspended.
    """
    lines = _since(journal, since)
    steps = [row for row in lines if row["kind"] == "step"]
    if not steps:
        return Work(step, step, 0.0, lines[-1]["time"] if lines else 0.0)
    lengths = [_length(line, later) for line, later in pairwise(lines) if later["kind"] == "step"]
    longest = STALL * statistics.fmean(lengths or [0.0])
    spent = sum(min(length, longest) for length in lengths) * len(steps) / max(1, len(lengths))
    return Work(
        steps[0]["step"] - 1, steps[-1]["step"], spent, lines[-1]["time"], steps[0]["time"], measured_parts(steps)
    )


def _length(line: dict[str, Any], later: dict[str, Any]) -> float:
    stopped = later.get(SUSPENDED, 0.0)
    return float(max(0.0, later["time"] - line["time"] - (stopped if isinstance(stopped, int | float) else 0.0)))


def goodput(seconds: float, done: int, lost: int, wall_s: float) -> float:
    """The share (0 to 1) of an attempt's wall time, from its start to its end, that went into steps that counted.
    The caller takes from that time what it was suspended.

    `seconds` is the time in all its steps (see `work`), from which the share of the lost ones is taken. Imports,
    loading a checkpoint, validating, and what comes after the last step are no steps.
    """
    if done <= 0 or wall_s <= 0:
        return 0.0
    return max(0.0, min(1.0, seconds * (1 - lost / done) / wall_s))


def _since(path: Path, when: float) -> list[dict[str, Any]]:
    """The journal's lines from the time `when` on, read from the end of the file: it may be long."""
    if not path.exists():
        return []
    block = BLOCK
    with path.open("rb") as file:
        size = path.stat().st_size
        while True:
            start = max(0, size - block)
            file.seek(start)
            lines = file.read(size - start).split(b"\n")[1 if start else 0 : -1]
            rows = [row for line in lines if (row := parsed(line + b"\n"))]
            if start == 0 or (rows and rows[0]["time"] < when):
                return [row for row in rows if row["time"] >= when]
            block *= 4


@dataclass(frozen=True)
class Spent:
    """Where the allocated seconds of an attempt went: steps that counted, steps that were done again, all else."""

    attempt: int
    counted: float
    lost: float
    other: float


def spent(history: Iterable[dict[str, Any]]) -> list[Spent]:
    """Of each attempt of a history whose steps are known, as `attempt_history` has it."""
    found = []
    for one in history:
        wall, steps = one["allocated_seconds"], one["steps"]
        if one["goodput_percent"] is None or wall <= 0:
            continue
        counted = one["goodput_percent"] / 100 * wall
        lost = one["step_seconds"] * one["lost"] / steps if steps and one["lost"] else 0.0
        lost = min(lost, wall - counted)
        found.append(Spent(one["attempt"], counted, lost, wall - counted - lost))
    return found


def over_attempts(attempts: Iterable[Spent]) -> float | None:
    """The goodput of all of them together, 0 to 1; None where nothing is known."""
    counted, wall = 0.0, 0.0
    for one in attempts:
        counted, wall = counted + one.counted, wall + one.counted + one.lost + one.other
    return counted / wall if wall > 0 else None
