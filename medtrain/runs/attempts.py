"""The attempts of a run: what each did, what it lost, and why it ended.

attempts.jsonl holds a line for each event. `begin`: a person started the run, so what crashed before is past.
`start`: the ranks start. `signal`: the supervisor heard one, and what Slurm said at once. `suspended`: Slurm had
stopped all processes for so long, and they run again. `end`: the ranks are gone, and why. `exclude`: nodes that the
next attempt avoids. An attempt that was killed with its supervisor has no `end`;
the next one writes it, from what is left, before it cuts the journal back.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medtrain.core.console import warn
from medtrain.core.jsonfiles import append_json, note_damaged, read_json_lines
from medtrain.runs import fencing, suspensions
from medtrain.runs.exit_causes import Cause, Evidence, diagnose
from medtrain.runs.goodput import work
from medtrain.runs.run import Run
from medtrain.slurm.environment import in_batch_script, own_job
from medtrain.slurm.queries import RUNS, Fields, failed_nodes, preemptor, sacct_record, seconds, show

CRASHES = ("crashed", "killed", "hung", "memory")  # an attempt of these kinds failed by itself
NODE_TO_BLAME = ("crashed", "killed", "hung")  # too little memory is not the node's fault
FAILURES_OF_A_NODE = 2
EVIDENCE = ("JobState", "Reason", "Restarts", "RunTime", "TimeLimit", "EndTime", "PreemptTime")
Row = dict[str, Any]
Kind = type | tuple[type, ...]
NUMBER: Kind = (int, float)
FIELDS: dict[str, dict[str, Kind]] = {  # what each event's line has, and later attempts and `status` build on
    "begin": {},
    "start": {"attempt": int, "time": NUMBER, "step": int, "job": str, "nodes": str},
    "signal": {"attempt": int, "shown": dict, "preemptor": str},
    "suspended": {"attempt": int, "seconds": NUMBER, "preemptor": str},
    "end": {"attempt": int, "state": str, "step": int},
    "exclude": {"attempt": int, "nodes": list, "problem": str},
}
_writing = threading.Lock()  # a signal's line may come while another is written


def note(run: Run, row: Row) -> None:
    """Write a line about an attempt; where the disk is full the run still continues."""
    fencing.ensure_highest(run.folder)
    try:
        with _writing:
            append_json(run.attempts, row)
    except OSError as error:
        warn(f"{run.attempts}: {error.strerror}")


def rows_of(run: Run) -> list[Row]:
    """The lines of attempts.jsonl that can be used; one whose names or values were damaged is left out, and warned of
    as one that is no JSON."""
    rows = read_json_lines(run.attempts)
    note_damaged(run.attempts, [number for number, row in enumerate(rows, 1) if not _is_row(row)])
    return [row for row in rows if _is_row(row)]


def _is_row(row: Row) -> bool:
    needed = FIELDS.get(row["event"]) if isinstance(row.get("event"), str) else None
    return needed is not None and all(isinstance(row.get(name), kind) for name, kind in needed.items())


def started(rows: list[Row]) -> list[Row]:
    """The `start` rows."""
    return [row for row in rows if row["event"] == "start"]


def unended(rows: list[Row]) -> Row | None:
    """The start of the last attempt, where nothing says that it ended."""
    last = next((row for row in reversed(rows) if row["event"] in ("start", "end")), None)
    return last if last and last["event"] == "start" else None


def start_row(run: Run, ranks: int, nodes: str = "") -> Row:
    """The line for an attempt that starts now, with what later explains its end; `nodes` where it has not all."""
    job = own_job()
    fields = show(job)[0] if job else {}
    return {
        "attempt": 1 + len(started(rows_of(run))),
        "event": "start",
        "time": time.time(),
        "step": run.last_step(),
        "job": job,
        "nodes": nodes or here(),
        "ranks": ranks,
        "pid": os.getpid(),
        "restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0")),
        "until": seconds(fields, "EndTime"),
        "log_at": log_file(run, job).stat().st_size if job and log_file(run, job).exists() else 0,
    }


def log_file(run: Run, job: str) -> Path:
    """Where srun and the ranks of a job print."""
    return run.slurm / f"{job}.log"


def log_tail(run: Run, start: Row) -> str:
    """What srun, slurmstepd and the ranks of an attempt have printed: the last of it, should it be much."""
    path = log_file(run, start.get("job", ""))
    if not start.get("job") or not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(start.get("log_at", 0), path.stat().st_size - 1_000_000))
        return file.read().decode(errors="replace")


def hear(run: Run, name: str) -> Fields:
    """Note that the supervisor was sent a signal, and what Slurm says of the job at once: it may be dead soon."""
    start = unended(rows_of(run))
    fields: Fields = {}
    if start and start["job"]:
        fields = show(start["job"])[0]
        ending = fields.get("JobState") == "COMPLETING" or seconds(fields, "PreemptTime") is not None
        other = preemptor(fields, start["nodes"], time.time()) if ending else ""
        row = {"attempt": start["attempt"], "event": "signal", "time": time.time(), "signal": name}
        told = {name: fields[name] for name in EVIDENCE if name in fields}
        note(run, {**row, "shown": told, "preemptor": other})
    return fields


def end_row(run: Run, start: Row, code: int, first: str, name: str, warned_s: float) -> Row:
    """The line for an attempt whose ranks have just gone; the supervisor is there to ask what it wants to know.

    `code` and `first` are the exit code and, where known, the rank that left with it; `name` is that of the signal
    that the supervisor got. Whatever goes wrong in finding
    out why, the run goes on.
    """
    known: dict[str, Any] = {"code": code, "first": first, "signal": name, "warned_s": warned_s}
    evidence = Evidence(started=start["time"], ended=time.time(), status=run.status(), **known)
    try:
        left, stop = _left_behind(run, start), run.stop_file.exists()
        evidence = Evidence(**left, ended=time.time(), asked_to_stop=stop, **known)
        if start["job"]:
            evidence = _ask_slurm(evidence, start)
    except Exception as error:
        warn(f"why attempt {start['attempt']} ended is not known for sure: {type(error).__name__}: {error}")
    return _end(run, start, evidence)


def close_silent(run: Run) -> None:
    """Write down how the last attempt ended, where nobody could: before anything hides what it left behind."""
    if silent := unended(rows_of(run)):
        try:
            note(run, silent_end(run, silent))
        except Exception as error:
            warn(f"how attempt {silent['attempt']} ended is not known: {type(error).__name__}: {error}")


def ended_by_user(run: Run, end: Row) -> bool:
    """Whether the user wants the job gone, also where a crash hid it: Slurm would take a cancelled job back.

    After a requeue or a node failure Slurm shows the same as after scancel, and brings the job back whatever this
    process does.
    """
    if end["kind"] not in CRASHES or not in_batch_script():
        return bool(end["kind"] == "cancelled")
    fields, _ = show(own_job())
    begun = max((row["time"] for row in started(rows_of(run))), default=0.0)
    preempted = (seconds(fields, "PreemptTime") or 0.0) >= begun - 1
    return fields.get("JobState") == "COMPLETING" and fields.get("Reason") != "TimeLimit" and not preempted


def silent_end(run: Run, start: Row) -> Row:
    """The line for an attempt that nobody saw end, from what it left behind and from what Slurm still knows.

    It ended at its last heartbeat: a step in the journal, a word in its log or in status.json.
    """
    signs = [
        run.status().get("updated") or 0.0,
        work(run.journal, start["time"], start["step"]).last_time,
        start["time"],
    ]
    for path in (run.log, log_file(run, start["job"])):
        if start["job"] and path.exists():
            signs.append(path.stat().st_mtime)
    evidence = Evidence(**_left_behind(run, start), ended=max(signs), asked_to_stop=run.stop_file.exists())
    if start["job"]:
        evidence = _ask_slurm(evidence, start)
    return {**_end(run, start, evidence), "found_later": True}


def _left_behind(run: Run, start: Row) -> dict[str, Any]:
    """The evidence in the run folder."""
    rows = rows_of(run)
    later = suspensions.total(suspensions.of_attempt(rows, start["attempt"]))  # Slurm moves the limit by as much
    signals = [row for row in rows if row["event"] == "signal" and row["attempt"] == start["attempt"]]
    return {
        "started": start["time"],
        "job": start["job"],
        "restarts": start.get("restarts", 0),
        "time_limit_at": start["until"] + later if start.get("until") else None,
        "status": run.status(),
        "failure": run.failure(),
        "log_tail": log_tail(run, start),
        "scontrol_records": tuple(row["shown"] for row in signals if row["shown"]),
        "preemptor": next((row["preemptor"] for row in signals if row["preemptor"]), ""),
    }


def _ask_slurm(known: Evidence, start: Row) -> Evidence:
    """The same evidence with what Slurm says now, and of the past where nobody saw the end."""
    fields, _ = show(start["job"])
    same_life = int(fields.get("Restarts", "0")) == known.restarts
    records = (*known.scontrol_records, fields) if fields else known.scontrol_records
    # Of a job that has ended it is when that was, of one that runs when its limit comes.
    limit = seconds(fields, "EndTime") if same_life and fields.get("JobState") in RUNS else None
    unseen = known.code is None
    told = replace(
        known,
        scontrol_records=records,
        time_limit_at=limit or known.time_limit_at,
        sacct_record=sacct_record(start["job"], start["time"]) if unseen else {},
        failed_nodes=tuple(failed_nodes(start["nodes"], known.ended))
        if unseen or "NODE FAILURE" in known.log_tail
        else (),
    )
    if told.preemptor or diagnose(told).kind != "preempted":
        return told
    return replace(told, preemptor=preemptor(fields, start["nodes"], known.ended))  # it lists the whole queue


def _end(run: Run, start: Row, evidence: Evidence) -> Row:
    cause, done = diagnose(evidence), work(run.journal, start["time"], start["step"])
    return {
        "attempt": start["attempt"],
        "event": "end",
        "time": evidence.ended,
        "step": run.last_step(),
        "first": done.first,
        "reached": done.reached,
        "step_seconds": round(done.seconds, 3),
        "parts": done.parts,
        "start_seconds": round(done.first_time - start["time"], 3) if done.first_time else None,
        "exit_code": evidence.code,
        "cause": cause.words,
        **{name: value for name, value in asdict(cause).items() if name != "words"},
        "state": _state(cause),
    }


def _state(cause: Cause) -> str:
    """What counts towards giving up is a crash; what came from outside, a node failure too, is a stop."""
    return "finished" if cause.kind == "finished" else "crashed" if cause.kind in CRASHES else "stopped"


def blamed(rows: list[Row]) -> set[str]:
    """Nodes where the first failing rank of two attempts was, since a person last started the run."""
    ends = (row for row in since_begun(rows) if row["event"] == "end" and row.get("kind") in NODE_TO_BLAME)
    times = Counter(row.get("node") for row in ends)
    return {node for node in times if node and times[node] >= FAILURES_OF_A_NODE}


def nodes_to_avoid(rows: list[Row]) -> set[str]:
    """Those of them that the job has not been asked to avoid yet."""
    return blamed(rows) - {node for row in since_begun(rows) if row["event"] == "exclude" for node in row["nodes"]}


def since_begun(rows: list[Row]) -> list[Row]:
    """The rows since a person last started the run."""
    return rows[max((i for i, row in enumerate(rows) if row["event"] == "begin"), default=0) :]


def here() -> str:
    """The nodes of this job as Slurm writes them, or this host."""
    return os.environ.get("SLURM_JOB_NODELIST") or socket.gethostname()
