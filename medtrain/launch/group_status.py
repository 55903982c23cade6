"""What a group of runs is doing: its stages and its runs, as plain values and as tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from medtrain.core.console import table
from medtrain.core.counts import counted
from medtrain.core.errors import MedtrainError
from medtrain.launch.job_chain import STAGES
from medtrain.launch.stage_cause import began, cause
from medtrain.runs.run import Run, group_names, run_names
from medtrain.runs.run_group import RunGroup, evaluated, finished
from medtrain.runs.status import NOT_YET, describe, status_table
from medtrain.shards.packed_dataset import is_packed
from medtrain.slurm.queries import JobStatus, queue_state


def describe_group(group: RunGroup) -> dict[str, Any]:
    """Everything that is known of a group: a row as of one run, with all its `runs` and the `stages` of its chain."""
    runs = [row(run, describe) for run in group.runs]
    stages = _stages(group, runs)
    states = [stage["state"] for stage in stages]
    words = ("running", "waiting", "failed", "stopped", "not yet")
    state = next((word for word in words if word in states), "finished")
    return {
        "run": group.name,
        "group": True,
        "folder": str(group.folder),
        "state": state,
        "step": sum(run["step"] for run in runs),
        "epoch": None,
        "epochs": None,
        "best": None,
        "attempts": sum(run["attempts"] for run in runs),
        "where": counted(len(runs), "runs"),
        "note": " > ".join(_words(stage) for stage in stages),
        "updated": max((run["updated"] or 0.0 for run in runs), default=0.0) or None,
        "stages": stages,
        "runs": runs,
        "report": str(group.report) if group.report.exists() else None,
        "again": group.again,
    }


def statuses(names: list[str], runs: Path) -> list[dict[str, Any]]:
    """`describe` of the named runs and groups; of all in the folder, where the runs of a group are told in its row."""
    if not names:
        groups = {name: opened(runs / name) for name in group_names(runs)}
        inside = {run.name for group in groups.values() if group for run in group.runs}
        return [
            *(row(Run(runs / name), describe) for name in run_names(runs) if name not in inside),
            *(
                row(group, describe_group) if group else damaged(Run(runs / name), "its group.json is damaged")
                for name, group in groups.items()
            ),
        ]
    found = [(name, RunGroup.find(runs, name)) for name in names]
    return [row(group, describe_group) if group else row(Run.find(runs, name), describe) for name, group in found]


Known = TypeVar("Known", Run, RunGroup)


def row(one: Known, told: Callable[[Known], dict[str, Any]]) -> dict[str, Any]:
    """What is `told` of a run or group; of one whose files are damaged that they are: the others are told all the
    same."""
    try:
        return told(one)
    except (MedtrainError, OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        why = error.problem if isinstance(error, MedtrainError) else f"{type(error).__name__}: {error}"
        return damaged(one, why)


def opened(folder: Path) -> RunGroup | None:
    """A group; None where its file is damaged."""
    try:
        return RunGroup(folder)
    except (ValueError, OSError, TypeError, AttributeError):
        return None


def damaged(one: Run | RunGroup, why: str) -> dict[str, Any]:
    """The row of a run or group that cannot be read."""
    nothing = dict.fromkeys(("epochs", "watch", "best", "loss", "last_cause", "waiting", "where", "updated"))
    counts = dict.fromkeys(("step", "saved_step", "epoch", "best_epoch", "attempts"), 0)
    return {**nothing, **counts, "run": one.name, "folder": str(one.folder), "state": "damaged", "history": [],
            "note": why}  # fmt: skip


def group_text(row: dict[str, Any]) -> str:
    """The stages and runs of a group, for a person."""
    heads = ("stage", "state", "done", "jobs")
    jobs = [", ".join(dict.fromkeys(job.partition("_")[0] for job in stage["jobs"])) for stage in row["stages"]]
    cells = [
        (stage["stage"], stage["state"], f"{stage['done']}/{stage['of']}", job or "-")
        for stage, job in zip(row["stages"], jobs, strict=True)
    ]
    lines = [f"{row['run']}: {row['state']}", "", table(heads, cells), "", status_table(row["runs"])]
    for stage in row["stages"]:
        if why := stage["why"]:
            lines.append(f"\n{stage['stage']} failed: {why['task']}: {why['cause']}")
            lines += [f"  log    {why['log']}"] if why["log"] else []
            lines.append(f"  fix    {why['remedy']}")
    if row["state"] in ("failed", "stopped", "not yet"):
        lines.append(f"\nresume what is not done: {row['again']}")
    if row["report"]:
        lines.append(f"\nreport  {row['report']}")
    return "\n".join(lines)


def _stages(group: RunGroup, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each stage of the chain: what is done of it, and what the rest does."""
    known = group.jobs()
    done = {"train": [run["state"] == "finished" for run in runs], "report": [group.reported()]}
    if group.packing:
        packed = is_packed(Path(group.packing["out"]))
        tested = [finished(run) and evaluated(run) for run in group.runs]
        done |= {"check": [group.check.exists() or packed], "pack": [packed], "evaluate": tested}
    found: list[dict[str, Any]] = []
    for stage in (name for name in STAGES if name in done):
        places = [] if all(done[stage]) else _places(stage, known, runs)
        jobs = list(known.get(stage, {}).values())
        ended = (
            _ended(runs) if stage == "train" else "failed" if began(group, stage, known.get(stage, {})) else "not yet"
        )
        state = "finished" if all(done[stage]) else next((w for w in ("running", "waiting") if w in places), ended)
        why = cause(group, stage, known.get(stage, {}), runs) if state == "failed" else None
        counts = {"done": sum(done[stage]), "of": len(done[stage])}
        found.append({"stage": stage, "state": state, **counts, "jobs": jobs, "why": why})
    return found


def _ended(runs: list[dict[str, Any]]) -> str:
    """How the trainings stand of which none is under way, and some are not finished."""
    states = {run["state"] for run in runs} - {"finished"}
    if states & {"failed", "crashed", "interrupted"}:
        return "failed"
    return "not yet" if states <= {"new", NOT_YET} else "stopped"


def _places(stage: str, known: dict[str, dict[str, str]], runs: list[dict[str, Any]]) -> list[str]:
    """The states of what is under way of a stage."""
    if stage == "train":
        return ["waiting" if run["state"] == "waiting" else "running" for run in runs if run["where"]]
    places = [queue_state(job) for job in known.get(stage, {}).values()]
    return [_word(place) for place in places if place]


def _word(place: JobStatus) -> str:
    return "waiting" if place.waits else "running"


def _words(stage: dict[str, Any]) -> str:
    if stage["of"] > 1:
        return f"{stage['stage']} {stage['done']}/{stage['of']}" + (" failed" if stage["state"] == "failed" else "")
    return f"{stage['stage']} {stage['state']}"
