"""The successor of a run's job: it waits in the queue, and continues the run where Slurm ends the job for good.

Some sites cancel what they preempt. There each attempt makes sure at its start that a job waits by
`--dependency=afternotok` for the end of its own; where nodes may not call sbatch, `--successors N` sends a chain of
them from the login node. A dependency proves nothing: afternotok is met by scancel, too, and by a job that the
controller has forgotten. What decides is job.json, which names the jobs that may continue the run, and then the
fencing number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import time

from medtrain.config.sbatch_options import without_once
from medtrain.config.schema import SlurmConfig
from medtrain.core import processes
from medtrain.core.console import say, warn
from medtrain.core.errors import MachineError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.launch import grace_time
from medtrain.runs.ownership import SAVING_S
from medtrain.runs.run import Run, resume_command
from medtrain.slurm import queries, sbatch
from medtrain.slurm.environment import in_batch_script, own_job

WORD = "successor"  # behind the run's folder in the command of a batch script
AUTOMATIC = -1  # of slurm.successors


def waiting(run: Run) -> str:
    """The first of the run's successors that waits in the queue; empty where none does."""
    return next((job for job in run.successors() if (place := queries.queue_state(job)) and place.waits), "")


def supervisor(run: Run) -> str:
    """The batch script's command. Not a pickle, which would need the installed medtrain when the job starts."""
    return shlex.join(processes.command("medtrain.launch.supervisor", str(run.folder), root=run.code))


def requeued_first() -> dict[str, str]:
    """What a job of a run asks for besides, where the site lets it: to run again at once when it is requeued. Not for
    other jobs: one that fails would be held in the queue, and only a batch script with a trap for it ends."""
    return {"requeue": "expedite"} if queries.expedites() else {}


def send_chain(run: Run, slurm: SlurmConfig, job: str, count: int) -> None:
    """Send `count` jobs, each the successor of the one before and the first of `job`, and write them down."""
    sent: list[str] = []
    for _ in range(count):
        asked = dataclasses.replace(without_once(slurm), dependency=f"afternotok:{sent[-1] if sent else job}")
        script = sbatch.executor(run.slurm, run.name, asked, **requeued_first())
        sent.append(sbatch.send(script, f"{supervisor(run)} {WORD}", sbatch.AGAIN))
        _note(run, job, sent)


def ensure(run: Run, slurm: SlurmConfig) -> None:
    """At the start of an attempt in a job that medtrain sent: that a successor waits, where one is wanted."""
    job = own_job()
    sent = in_batch_script() and read_json(run.job_file).get("job") in ("", job)  # the empty one: just now
    if not sent or waiting(run) or not _wanted(slurm, job):
        return
    left_out = queries.show(job)[0].get("ExcNodeList", "(null)")
    if left_out != "(null)":  # also nodes where attempts crashed
        slurm = dataclasses.replace(slurm, sbatch=(*slurm.sbatch, f"--exclude={left_out}"))
    try:
        send_chain(run, slurm, job, 1)
    except (MachineError, OSError) as error:
        told = getattr(error, "problem", error)
        warn(f"job {job} has no successor, should Slurm cancel it ({told}); from a login node: --successors N")
    if run.stop_file.exists():
        revoke(run)


def adopt(run: Run) -> bool:
    """In a job that was sent as a successor: become the job of the run. False where it may not continue it: the run
    was stopped, finished or given up, or its job was cancelled by scancel."""
    told, own = read_json(run.job_file), own_job()
    head, chain = str(told.get("job", "")), run.successors()
    if head == own:  # it was requeued since
        return True
    why = _why_not(run, head, own, chain)
    if why:
        say(f"run {run.name}: job {own} does not continue it: {why}")
        return False
    _note(run, own, chain[chain.index(own) + 1 :])
    return True


def takes_over(run: Run, job: str) -> str:
    """The waiting successor of a job that Slurm cancels right now; empty where the job must requeue itself, as a task
    of an array does: others may wait for it by its number."""
    if "_" in job:
        return ""
    preempted = queries.preempted(queries.show(job)[0])
    return waiting(run) if preempted and grace_time.cancels(job) else ""


def revoke(run: Run) -> list[str]:
    """The run ends, or is stopped: no job may continue it any more. Returns those that were in the queue."""
    jobs = run.successors()
    if jobs:
        with contextlib.suppress(OSError):  # the disk may be full; scancel remains
            _note(run, str(read_json(run.job_file).get("job", "")), [])
    for job in reversed(jobs):  # each would start when the one before it is cancelled
        queries.ask_controller("scancel", job)
    return jobs


def _wanted(slurm: SlurmConfig, job: str) -> bool:
    return grace_time.cancels(job) if slurm.successors == AUTOMATIC else slurm.successors > 0


def _why_not(run: Run, head: str, own: str, chain: list[str]) -> str:
    """Why a successor does not continue the run; it waits for the last processes of the job before it."""
    if own not in chain:
        return "the run was stopped, or another job continues it"
    if (state := run.status().get("state")) in ("finished", "failed"):
        return f"it is {state}"
    deadline = time.monotonic() + SAVING_S
    while queries.queue_state(head) is not None:
        if time.monotonic() > deadline:
            return f"job {head} is still there"
        time.sleep(1)
    if _cancelled(head):
        revoke(run)
        return f"job {head} was cancelled; resume: {resume_command(run)}"
    return ""


def _cancelled(job: str) -> bool:
    """Whether somebody cancelled a job, as far as Slurm remembers; a preempted one has its time noted."""
    fields, _ = queries.show(job)
    if not fields:
        return queries.sacct_record(job, time.time()).get("State", "").startswith("CANCELLED")
    return fields.get("JobState") == "CANCELLED" and queries.seconds(fields, "PreemptTime") is None


def _note(run: Run, job: str, heirs: list[str]) -> None:
    write_json(run.job_file, {**read_json(run.job_file), "job": job, "successors": heirs})
