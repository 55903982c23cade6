"""Why a stage of a chain failed: which task, what its log or Slurm says, and what helps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from medtrain.runs.run_group import RunGroup, finished
from medtrain.slurm.queries import ENDED, Fields, records

# The line of a log that says why: medtrain's own two lines, the end of a traceback, and Slurm's words.
CAUSE = re.compile(r"(?:\S+: )?(error: .+|[A-Z]\w*(?:Error|Exception|Interrupt)\b.*)")
LOG_BYTES = 100_000
Why = dict[str, str]


def began(group: RunGroup, stage: str, jobs: dict[str, str]) -> bool:
    """Whether any job of a stage has started: it prints, and what never starts has no log."""
    return any(_logs(group, stage, job) for job in jobs.values())


def cause(group: RunGroup, stage: str, jobs: dict[str, str], runs: list[dict[str, Any]]) -> Why | None:
    """Of a stage that failed the first task that did, its cause, its log and the command that helps."""
    if stage == "train":
        found = next(
            (_of_run(row, group) for row in runs if row["state"] in ("failed", "crashed", "interrupted")), None
        )
    else:
        found = next((why for task, job in jobs.items() if (why := _of_job(group, stage, task, job))), None)
    if found is None and stage == "evaluate":
        found = next((_not_trained(group, number) for number in range(len(group.runs)) if _lacks(group, number)), None)
    return {**found, "remedy": group.again} if found else None


def _of_run(row: dict[str, Any], group: RunGroup) -> Why:
    run = next(run for run in group.runs if run.name == row["run"])
    said = row["error"] or row["last_cause"] or row["note"]
    return {"task": row["run"], "cause": str(said), "log": str(run.log) if run.log.exists() else ""}


def _lacks(group: RunGroup, number: int) -> bool:
    return not finished(group.runs[number])


def _not_trained(group: RunGroup, number: int) -> Why:
    return {"task": group.runs[number].name, "cause": "its training is not finished", "log": ""}


def _of_job(group: RunGroup, stage: str, task: str, job: str) -> Why | None:
    """Why a job, or the first task of an array that failed, did; None where it did not, or never started."""
    rows, _ = records(job)
    failed = {_name(row): row for row in rows if row["JobState"] in ENDED - {"COMPLETED"}}
    for log in _logs(group, stage, job):
        if rows and log.stem not in failed:
            continue
        said = _last_cause(log)
        state = _state(failed[log.stem]) if log.stem in failed else ""
        if said or state:
            return {"task": _task(stage, task, log.stem), "cause": said or state, "log": str(log)}
    return None


def _task(stage: str, task: str, job: str) -> str:
    named = task if stage == "pack" else stage  # packing has steps with names, the others numbers
    return f"{named} (job {job})"


def _name(row: Fields) -> str:
    return f"{row['ArrayJobId']}_{row['ArrayTaskId']}" if "ArrayTaskId" in row else row["JobId"]


def _state(row: Fields) -> str:
    code = row.get("ExitCode", "").partition(":")[0]
    return f"Slurm says {row['JobState']}" + (f", exit code {code}" if code not in ("", "0") else "")


def _logs(group: RunGroup, stage: str, job: str) -> list[Path]:
    """What the job, or each task of the array, has printed."""
    folder = Path(group.packing["out"]) / "slurm" if stage == "pack" else group.slurm
    tasks = sorted(folder.glob(f"{job}_*.log"), key=lambda path: (len(path.stem), path.stem))
    return [path for path in (folder / f"{job}.log", *tasks) if path.exists()]


def _last_cause(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return next((found[1] for line in reversed(lines) if (found := CAUSE.fullmatch(line.strip()))), "")
