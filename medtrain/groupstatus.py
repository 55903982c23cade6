"""What a group of runs is doing: its stages and its runs, as plain values and as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medtrain.chain import STAGES
from medtrain.console import table
from medtrain.run import Run, group_names, read_json, run_names
from medtrain.rungroup import RunGroup
from medtrain.slurmjob import Place, queue_state
from medtrain.status import describe, status_table

UNDER_WAY = ("running", "starting", "waiting", "completing", "configuring")


def describe_group(group: RunGroup) -> dict[str, Any]:
    """Everything that is known of a group: a row as of one run, with all its `runs` and the `stages` of its chain."""
    runs = [describe(run) for run in group.runs]
    stages = _stages(group, runs)
    states = [stage["state"] for stage in stages]
    state = next((word for word in ("running", "waiting", "failed") if word in states), "finished")
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
        "where": f"{len(runs)} runs",
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
        groups = [RunGroup(runs / name) for name in group_names(runs)]
        inside = {run.name for group in groups for run in group.runs}
        return [
            *(describe(Run.find(runs, name)) for name in run_names(runs) if name not in inside),
            *map(describe_group, groups),
        ]
    found = [(name, RunGroup.find(runs, name)) for name in names]
    return [describe_group(group) if group else describe(Run.find(runs, name)) for name, group in found]


def group_text(row: dict[str, Any]) -> str:
    """The stages and runs of a group, for a person."""
    heads = ("stage", "state", "done", "jobs")
    jobs = [", ".join(dict.fromkeys(job.partition("_")[0] for job in stage["jobs"])) for stage in row["stages"]]
    cells = [
        (stage["stage"], stage["state"], f"{stage['done']}/{stage['of']}", job or "-")
        for stage, job in zip(row["stages"], jobs, strict=True)
    ]
    lines = [f"{row['run']}: {row['state']}", "", table(heads, cells), "", status_table(row["runs"])]
    if row["state"] == "failed":
        lines.append(f"\ngo on with what is not done: {row['again']}")
    if row["report"]:
        lines.append(f"\nreport  {row['report']}")
    return "\n".join(lines)


def _stages(group: RunGroup, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each stage of the chain: what is done of it, and what the rest does."""
    known = group.jobs()
    trained = [run["state"] == "finished" for run in runs]
    done = {"train": trained, "report": [_reported(group, [run["run"] for run in runs if run["state"] == "finished"])]}
    if group.packing:
        packed = (Path(group.packing["out"]) / "manifest.json").exists()
        evaluated = [(run.evaluation / "val.json").exists() for run in group.runs]
        done |= {"check": [group.check.exists()], "pack": [packed], "evaluate": evaluated}
    found = []
    for stage in (name for name in STAGES if name in done):
        places = _places(stage, known, runs, done[stage])
        found.append(
            {
                "stage": stage,
                "state": _state(done[stage], places),
                "done": sum(done[stage]),
                "of": len(done[stage]),
                "jobs": list(known.get(stage, {}).values()),
            }
        )
    return found


def _reported(group: RunGroup, finished: list[str]) -> bool:
    """Whether the report of the group has the results of all these runs."""
    told = read_json(group.report).get("runs")
    return told is not None and all(told[name]["finished"] for name in finished)


def _places(stage: str, known: dict[str, dict[str, str]], runs: list[dict[str, Any]], done: list[bool]) -> list[str]:
    """The states of what is under way of a stage."""
    if stage == "train":
        return ["waiting" if run["state"] == "waiting" else "running" for run in runs if run["state"] in UNDER_WAY]
    if all(done):
        return []
    places = [queue_state(job) for job in known.get(stage, {}).values()]
    return [_word(place) for place in places if place]


def _word(place: Place) -> str:
    return "waiting" if place.state == "PENDING" else "running"


def _state(done: list[bool], places: list[str]) -> str:
    if all(done):
        return "finished"
    return next((word for word in ("running", "waiting") if word in places), "failed")


def _words(stage: dict[str, Any]) -> str:
    if stage["of"] > 1:
        return f"{stage['stage']} {stage['done']}/{stage['of']}" + (" failed" if stage["state"] == "failed" else "")
    return f"{stage['stage']} {stage['state']}"
