"""Whether a run that crashed starts again in the job that it has, in a new step, without the queue.

A job goes back to the queue where another start at once would hardly do better: nothing was saved since the last one, a
node is out of service or to be avoided, the time limit is near; and where Slurm takes the job away.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from medtrain.config.schema import SlurmConfig
from medtrain.core.console import warn
from medtrain.core.running_time import CLOCK
from medtrain.launch import spare_nodes
from medtrain.launch.rank_processes import Srun
from medtrain.runs import attempts
from medtrain.runs.attempts import Row, note
from medtrain.runs.run import Run
from medtrain.slurm import queries
from medtrain.slurm.environment import own_job
from medtrain.slurm.queries import Fields, seconds
from medtrain.tracking.run_log import tell

START_S = 30.0  # the least that a start is reckoned to take
EARLY_S = 60.0  # Slurm's warning of a time limit may come so much before its time (sbatch, --signal)
STEP_S = 90.0  # for the last of a step: after UnkillableStepTimeout, 60 s by default, Slurm drains its node
SILENT_S = 6 * 3600.0  # a controller that is down, or being upgraded: meanwhile nobody else can use the nodes
LOOK_S = 0.5
GONE = "Invalid job id"


def why_not_here(run: Run, end: Row, ranks: Srun, slurm: SlurmConfig, leaving: Callable[[], bool]) -> str:
    """Why the attempt that ended with the row `end` is not followed by one in the same job; empty where it is.

    A controller that does not answer is waited for: only it starts a step, and ends or requeues a job. `leaving` says
    that this is not to be waited for any more.
    """
    if end["kind"] not in attempts.CRASHES:
        return str(end["cause"])
    begun = [row["step"] for row in attempts.started(attempts.rows_of(run)) if row["attempt"] == end["attempt"]]
    if not begun or end["step"] <= begun[0]:
        return "it has saved nothing new"
    answered, held, ended = CLOCK.now(), 0.0, ""
    while not leaving():
        fields, nodes, problem = _state(own_job())
        now = CLOCK.now()
        if GONE in problem or (problem and now > answered + SILENT_S):
            return problem
        if not problem:
            near = _taken(fields) or _too_late(run, end, fields, slurm.signal_seconds)
            if why := near or _lacks(nodes, slurm.spare_nodes) or _avoids(run, nodes, slurm):
                return why
            if not (step := ranks.left()):
                return ""
            answered, held = now, held or now
            if now > held + STEP_S:
                return f"step {step} does not end"
            if step != ended:
                queries.ask_controller("scancel", step)
                ended = step
        time.sleep(LOOK_S)
    return "it was asked to stop"


def _state(job: str) -> tuple[Fields, list[Fields], str]:
    """What the controller says of a job and of its nodes, or why it does not."""
    fields, problem = queries.show(job)
    if problem:
        return {}, [], problem
    return fields, *spare_nodes.of_job(fields.get("NodeList", ""))


def _taken(fields: Fields) -> str:
    """Whether Slurm ends the job, or preempts it."""
    state = fields.get("JobState", "")
    if state not in queries.RUNS:
        return f"the job is {state}"
    if queries.preempted(fields):
        return "the job is preempted"
    return ""


def _lacks(nodes: list[Fields], spare: int) -> str:
    """Whether a node of the job is out of service, and no spare one there for it."""
    lost = spare_nodes.lost(nodes)
    return f"out of service: {', '.join(lost)}" if lost and not spare_nodes.enough(nodes, set(lost), spare) else ""


def _too_late(run: Run, end: Row, fields: Fields, warned_s: float) -> str:
    """Whether a new attempt would hardly have begun when it is warned of the time limit, by how long this run took to
    start and to save."""
    limit = seconds(fields, "EndTime")
    if limit is None:
        return ""
    start, save = end.get("start_seconds") or 0.0, run.status().get("save_seconds") or 0.0
    needed = max(START_S, start) + max(save, warned_s + EARLY_S)
    left = limit - time.time()
    return "" if left > needed else f"its time limit is near: {left:.0f} s are left, and {needed:.0f} s needed"


def _avoids(run: Run, nodes: list[Fields], slurm: SlurmConfig) -> str:
    """Whether it could start on nodes where it has not crashed twice; without spare ones that takes the queue."""
    bad = attempts.nodes_to_avoid(attempts.rows_of(run))
    if not bad or spare_nodes.enough(nodes, bad.union(spare_nodes.lost(nodes)), slurm.spare_nodes):
        return ""
    left_out, why_not = queries.nodes_without(own_job(), bad, slurm.min_nodes)
    if left_out:
        return f"two attempts crashed on {', '.join(sorted(bad))}"
    note_avoided(run, bad, why_not)  # no job of its kind can do without
    return ""


def note_avoided(run: Run, nodes: set[str], problem: str) -> None:
    """Say and write down that the next attempt avoids nodes where two attempts crashed, or why it does not."""
    number = attempts.started(attempts.rows_of(run))[-1]["attempt"]
    note(run, {"attempt": number, "event": "exclude", "time": time.time(), "nodes": sorted(nodes), "problem": problem})
    names = ", ".join(sorted(nodes))
    if problem:
        warn(f"two attempts crashed on {names}, and the next may be there again: {problem}")
    else:
        tell(run, f"{run.name}: two attempts crashed on {names}; the next one avoids it")
