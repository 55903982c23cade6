"""Start a run that is made: here, supervised, or as a Slurm job."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from medtrain.config.schema import Config, SlurmConfig
from medtrain.core.console import busy, say, warn
from medtrain.core.errors import MachineError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.launch import dependencies, successor
from medtrain.launch.new_run import new_run, ready, with_name
from medtrain.launch.successor import supervisor
from medtrain.runs import attempts, code_snapshot, fencing, removal
from medtrain.runs.run import Run, set_status
from medtrain.slurm import sbatch
from medtrain.slurm.environment import ensure_not_one_of_many, in_slurm_job, own_job

TRAIN_HERE = "train here: medtrain train RECIPE ..."


def made_by_this_job(run: Run) -> bool:
    """Whether this job has trained a run before it was requeued: another's that has the same name is not gone on with.
    Where it was requeued before the first attempt, no job has."""
    starts = attempts.started(attempts.rows_of(run))
    return starts[-1]["job"] == own_job() if starts else not run.job_file.exists()


def train(config: Config) -> int:
    """Train here under supervision; in a Slurm job or allocation, on all of its ranks, once
    `job_environment.reconcile_environment` has been called."""
    ensure_not_one_of_many()
    config = with_name(config, here=True)
    run = Run(Path(config.runs) / config.run)
    requeued = "SLURM_RESTART_COUNT" in os.environ and run.config_file.exists() and made_by_this_job(run)
    if requeued:
        code_snapshot.exec_snapshot(run, sys.argv[1:])
    from medtrain.launch.supervisor import supervise  # the installed one may be broken by now

    if not (requeued and in_slurm_job()):
        run, _ = new_run(config)
    say(f"run {run.name} in {run.folder}")
    busy("starting the ranks: PyTorch, the network, the shards")
    code = supervise(run)
    if code == 0:
        say(where(run))
    return code


def where(run: Run) -> str:
    """Where a finished run's results lie."""
    best = run.checkpoints / "best"
    average = best / "ema.safetensors"
    places = {
        "best weights": average if average.exists() else best / "model.safetensors",
        "test report": run.report,
        "report page": run.page,
        "figures": run.figures,
        "curve": run.journal,
        "log": run.log,
    }
    return "\n".join(f"{name:<13} {path}" for name, path in places.items() if path != run.page or path.is_file())


def submit(config: Config, dry_run: bool = False) -> tuple[Run, str]:
    """Send a run to Slurm, or with `dry_run` only print the script that would be sent. Returns the run and job id."""
    if dry_run:
        config = ready(dependencies.looked_up(config) if sbatch.there() else config)
        run = Run(Path(config.runs) / config.run)
        sbatch.send(executor(run, config.slurm), supervisor(run), "", dry_run)
        return run, ""
    sbatch.require_slurm(TRAIN_HERE)
    config = dependencies.looked_up(config)
    run, config = new_run(config)
    try:
        return run, send(run, config.slurm, sbatch.AGAIN)
    except MachineError:
        removal.remove(run)
        raise


def send(run: Run, slurm: SlurmConfig, again: str) -> str:
    """Hand a run to Slurm and note its job id in the run folder; `again` is what to do where Slurm says no."""
    before_sending(run)
    job = sbatch.send(executor(run, slurm), supervisor(run), again)
    note_sent(run, job)
    try:
        successor.send_chain(run, slurm, job, max(slurm.successors, 0))
    except MachineError as error:  # the job itself is in the queue
        warn(f"run {run.name}: job {job} has fewer successors than configured: {error.problem}")
    return job


def before_sending(run: Run) -> None:
    """If Slurm says no, the run still is one of Slurm: it is asked again then, and nothing trains here."""
    attempts.close_silent(run)
    write_json(run.job_file, {"job": ""})


def note_sent(run: Run, job: str) -> None:
    """Write down that a run is in the queue as a job."""
    write_json(run.job_file, {**read_json(run.job_file), "job": job, "submitted": time.time()})
    set_status(run, state="queued")
    fencing.release(run.folder)


def script(run: Run, slurm: SlurmConfig) -> str:
    """The batch script, to the letter."""
    return sbatch.script(executor(run, slurm), supervisor(run))


def executor(run: Run, slurm: SlurmConfig) -> Any:
    """submitit's executor for a run. Its batch script runs the supervisor, which starts the ranks with srun."""
    return sbatch.executor(run.slurm, run.name, slurm, **successor.requeued_first())
