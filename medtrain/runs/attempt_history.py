"""What a person is told of the attempts of a run: one row for each, also for one that runs or ended unseen."""

from __future__ import annotations

import time

from medtrain.runs import suspensions
from medtrain.runs.attempts import Row, rows_of, silent_end, started, unended
from medtrain.runs.goodput import goodput, work
from medtrain.runs.run import Run
from medtrain.slurm.queries import JobStatus

FINISHED = "finished"  # as exit_causes has it


def attempt_history(run: Run, place: JobStatus | None, finishes_at: float | None = None) -> list[Row]:
    """One row for each attempt: start, end, nodes, cause, steps done and lost, suspensions, goodput.

    `lost` counts the steps that the next attempt had to do again, or will have to. What goodput is, `goodput` says; of
    an attempt that runs, steps that are not saved yet count too, and of one that began in the allocation of the one
    before it (`same_allocation`), the time since that one's end. The time in which Slurm suspended it counts nowhere,
    and is told beside it. `finishes_at` is given by the last attempt itself, which has done all its work and ends then:
    what is written at its end is read long after it.
    """
    rows = rows_of(run)
    starts, last = started(rows), unended(rows)
    ends = {row["attempt"]: row for row in rows if row["event"] == "end"}
    runs_on = last is not None and place is not None and _same_life(last, place)
    if last is not None and finishes_at is not None:
        ends[last["attempt"]] = {**_so_far(run, last, None), "cause": FINISHED, "kind": FINISHED, "time": finishes_at}
    elif last is not None:
        ends[last["attempt"]] = _so_far(run, last, place) if runs_on else silent_end(run, last)
    before = _allocation_kept(rows)
    avoided = {row["attempt"]: row for row in rows if row["event"] == "exclude"}
    told = []
    for start, following in zip(starts, [*starts[1:], None][: len(starts)], strict=True):
        again = run.last_step() if following is None else following["step"]
        if following is not None:  # it may have gone back further than to the newest checkpoint, which was damaged
            again = ends.get(following["attempt"], {}).get("first", again)
        kept = None if runs_on and following is None else again
        left_out = avoided.get(start["attempt"], {"nodes": [], "problem": ""})
        last_end = ends.get(before.get(start["attempt"], 0), {}).get("time")
        since = start["time"] if last_end is None else last_end
        stops = suspensions.of_attempt(rows, start["attempt"])
        still = suspensions.now(place) if kept is None and runs_on else None
        one = _told(start, ends.get(start["attempt"], {}), kept, since, stops, [still] if still else [])
        one["same_allocation"] = start["attempt"] in before
        told.append({**one, "excluded": left_out["nodes"], "not_excluded_why": left_out["problem"]})
    return told


def _same_life(start: Row, place: JobStatus) -> bool:
    """Whether the attempt is what runs at `place`, and not an earlier life of the same job."""
    if place.waits:
        return False
    restarts = place.fields.get("Restarts")
    return place.kind != "job" or restarts is None or int(restarts) == start.get("restarts", 0)


def _so_far(run: Run, start: Row, place: JobStatus | None) -> Row:
    done = work(run.journal, start["time"], start["step"])
    silent = place is not None and place.kind == "job" and not place.fields
    words = "under way, as far as is known: Slurm does not answer" if silent else "under way"
    return {
        "first": done.first,
        "reached": done.reached,
        "step_seconds": done.seconds,
        "parts": done.parts,
        "cause": words,
        "kind": "running",
    }


def _allocation_kept(rows: list[Row]) -> dict[int, int]:
    """attempt -> the one before it, where both were in one life of a Slurm job and nobody started the run between."""
    kept: dict[int, int] = {}
    last: Row = {}
    for row in rows:
        if row["event"] == "begin":
            last = {}
        elif row["event"] == "start":
            same = last and all(row.get(name, 0) == last.get(name, 0) for name in ("job", "restarts"))
            if same and row["job"]:
                kept[row["attempt"]] = last["attempt"]
            last = row
    return kept


def _told(start: Row, end: Row, again: int | None, since: float, stops: list[Row], now: list[Row]) -> Row:
    reached, first = end.get("reached"), end.get("first", start["step"])
    lost = None if again is None or reached is None else max(0, reached - again)
    done = None if reached is None else reached - first
    stopped = suspensions.total([*stops, *now])
    wall = end.get("time", time.time()) - since - stopped
    good = None if done is None else goodput(end["step_seconds"], done, lost or 0, wall)
    names = ("cause", "kind", "rank", "node", "exit_code", "found_later")
    return {
        "attempt": start["attempt"],
        "start": start["time"],
        "end": end.get("time"),
        "job": start["job"],
        "nodes": start["nodes"],
        "ranks": start["ranks"],
        **{name: end.get(name) for name in names},
        "first_step": first,
        "last_step": reached,
        "steps": done,
        "lost": lost,
        "suspended_seconds": round(stopped, 1),
        "suspended": suspensions.words([*stops, *now]),
        "suspended_now": suspensions.words(now),
        "goodput_percent": None if good is None else round(100 * good, 1),
        "allocated_seconds": round(max(0.0, wall), 1),
        "step_seconds": round(float(end.get("step_seconds") or 0.0), 1),
        "parts": parts if isinstance(parts := end.get("parts"), dict) else {},
    }
