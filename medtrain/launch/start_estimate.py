"""When would a job start? What Slurm plans, what this user's own jobs waited, and how wrong past plans were."""

from __future__ import annotations

import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any

from medtrain.config import configfile
from medtrain.config.moldable import fewest_to_train
from medtrain.config.schema import Config
from medtrain.core.counts import counted
from medtrain.core.errors import MedtrainError
from medtrain.core.jsonfiles import read_json
from medtrain.launch.submit import TRAIN_HERE, script
from medtrain.runs import planned_starts
from medtrain.runs.attempts import rows_of, started
from medtrain.runs.run import Run, run_names
from medtrain.runs.suspensions import duration
from medtrain.slurm import queries, queue_times, sbatch
from medtrain.slurm.queue_times import Wait

ENOUGH = 3  # jobs of the same size: then those of others do not count


def estimate(config: Config) -> dict[str, Any]:
    """What is known of when a job of these settings would start; nothing is sent. Times in seconds.

    `accepted` is only that: the start that `sbatch --test-only` names is not used. `waited_s` is None where no past
    wait is known.
    """
    sbatch.require_slurm(TRAIN_HERE)
    slurm = dataclasses.replace(config.slurm, dependency="")  # a wait counts from when the job could start
    runs = [Run(Path(config.runs) / name) for name in run_names(config.runs)]
    refused = sbatch.refusal(script(Run(Path(config.runs) / (config.run or "when")), slurm))
    usual = queue_times.default_partition()
    partition = slurm.partition or usual
    known = queue_times.accounted_waits() or [wait for run in runs if (wait := _of_run(run, usual))]
    fewest = fewest_to_train(slurm)
    waits, alike = _alike(known, partition, range(fewest, slurm.nodes + 1))
    queue = queue_times.queue(partition)
    return {
        "accepted": not refused,
        "refused_why": refused,
        "partition": partition,
        "nodes": slurm.nodes,
        "min_nodes": fewest,
        "waited_s": _spread([wait.seconds for wait in waits]),
        "same_size": alike,
        "jobs_waiting": queue.jobs,
        "planned_starts": list(queue.planned),
        "plan_error_s": _spread([error for run in runs for error in planned_starts.errors(run)]),
    }


def text(told: dict[str, Any]) -> str:
    """The same for a person, the answer first."""
    lines = {
        "starts": _starts(told) if told["accepted"] else "never, as it is requested",
        "accepted": "yes (sbatch --test-only)" if told["accepted"] else f"no: {told['refused_why']}",
        "queue": _queue(told),
        "plans": _plans(told["plan_error_s"]),
    }
    return "\n".join(f"{name:<9} {line}" for name, line in lines.items())


def _starts(told: dict[str, Any]) -> str:
    waited, where = told["waited_s"], f"in partition {told['partition']}" if told["partition"] else "here"
    if waited is None:
        return f"unknown: no past wait of yours {where} is known (sacct, and the runs in --runs)"
    fewest, most = told["min_nodes"], told["nodes"]
    size = (
        f" of {counted(most, 'nodes') if fewest == most else f'{fewest}-{most} nodes'}"
        if told["same_size"]
        else " of any size"
    )
    jobs = f"as your {counted(waited['count'], 'jobs')}{size} {where}"
    return f"{_range(waited)} after it is sent, {jobs}"


def _queue(told: dict[str, Any]) -> str:
    waiting, planned = told["jobs_waiting"], told["planned_starts"]
    if not waiting:
        return "no job waits in the partition"
    last = f", the last for {time.strftime('%Y-%m-%d %H:%M', time.localtime(planned[-1]))}" if planned else ""
    return f"{counted(waiting, 'jobs')} waiting in the partition; Slurm has planned {len(planned)} of them{last}"


def _plans(error: dict[str, Any] | None) -> str:
    if error is None:
        return "how good Slurm's are is unknown: medtrain status has seen none for your runs"
    low, high = (f"{duration(abs(s))} {'late' if s > 0 else 'early'}" for s in (error["low"], error["high"]))
    span = low if low == high else f"{low} to {high}"
    return f"your jobs started {span} against them ({counted(error['count'], 'plans')})"


def _range(spread: dict[str, Any]) -> str:
    low, middle, high = (duration(spread[name]) for name in ("low", "median", "high"))
    return low if low == high else f"{low} to {high} (median {middle})"


def _spread(values: list[float]) -> dict[str, Any] | None:
    """The middle 80 % of values and their median; of fewer than ten, all of them."""
    if not values:
        return None
    cuts = statistics.quantiles(values, n=10, method="inclusive") if len(values) >= 10 else sorted(values)
    return {
        "count": len(values),
        "low": round(cuts[0], 1),
        "median": round(statistics.median(values), 1),
        "high": round(cuts[-1], 1),
    }


def _alike(waits: list[Wait], partition: str, nodes: range) -> tuple[list[Wait], bool]:
    """The waits in a partition, or only those of so many nodes where there are ENOUGH; and whether it is these."""
    there = [wait for wait in waits if wait.partition == partition]
    same = [wait for wait in there if wait.nodes in nodes]
    return (same, True) if len(same) >= ENOUGH or len(same) == len(there) > 0 else (there, False)


def _of_run(run: Run, usual: str) -> Wait | None:
    """The wait of a run's job before its first attempt, `usual` being the partition of a job that names none; None
    where that depended on others, is not known, or what says it is damaged or private."""
    try:
        sent, slurm = read_json(run.job_file), configfile.load(run.config_file).slurm
    except (OSError, MedtrainError):
        return None
    begun = next((row for row in started(rows_of(run)) if row["job"] and row["job"] == sent.get("job")), None)
    if begun is None or slurm.dependency or not isinstance(sent.get("submitted"), int | float):
        return None
    nodes = len(queries.hosts(begun["nodes"])) if slurm.min_nodes else slurm.nodes
    return Wait(begun["job"], slurm.partition or usual, nodes, max(begun["time"] - sent["submitted"], 0.0))
