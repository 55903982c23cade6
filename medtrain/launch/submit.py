"""Turn settings into a run and start it: here, in a Slurm job through submitit, or again after a stop."""

from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from medtrain.config import configfile, fingerprint
from medtrain.config.backbones import surely_fits
from medtrain.config.schema import PUBLISHED, Config, SlurmConfig
from medtrain.core import permissions, processes
from medtrain.core.console import say
from medtrain.core.errors import InputError, MachineError
from medtrain.core.jsonfiles import write_json
from medtrain.launch import dependencies, members
from medtrain.runs import attempts, code_snapshot, fence, removal
from medtrain.runs.checkpoint_manifest import newest_manifest
from medtrain.runs.run import Run, default_name, resume_command, set_status
from medtrain.runs.takeover import LEAVING, VERIFYING, alive, take, under_way
from medtrain.shards import compatibility, mixture
from medtrain.slurm import job_environment, sbatch
from medtrain.slurm.environment import in_slurm_job, own_job, refuse_step_of_many

TRAIN_HERE = "train here: medtrain train RECIPE ..."


def new_run(config: Config, packed: bool = True) -> tuple[Run, Config]:
    """Check `config` and make its run folder; published weights are fetched here, ranks look only in the cache."""
    config = ready(config, packed)
    permissions.apply(config.share)
    run = Run(Path(config.runs) / config.run)
    if removal.make_way(run):
        say(f"run {run.name} had ended before its first step: it is made anew")
    run.refuse_existing()  # before anything is downloaded for it
    if config.model.weights in PUBLISHED:
        from medtrain import models  # torch

        models.fetch(config.model.backbone, config.model.weights)
    run = Run.create(config.runs, config.run, config.share)
    take(run)
    code_snapshot.freeze(run)  # first: its config.yaml is what makes a folder a run
    configfile.save(config, run.config_file)
    fence.release(run.folder)
    return run, config


def ready(config: Config, packed: bool = True) -> Config:
    """The config with a name and absolute paths (a job starts elsewhere), after a look at what they hold; its shards
    may not be `packed` yet."""
    config = with_name(config)
    configfile.check(config, f"recipe {config.recipe}")
    if config.save_dir:
        config = dataclasses.replace(config, save_dir=str(Path(config.save_dir).absolute()))
    config = with_shards(config, packed)
    if packed and not config.slurm.after:  # what it waits for may be what packs them
        compatibility.refuse_unfit(config)
    refuse_unfit_backbone(config)
    return with_weights(config)


def refuse_unfit_backbone(config: Config) -> None:
    """InputError where there is no such network, or it cannot take images or clips of that size."""
    if not surely_fits(config.model.backbone, config.data.image_size, config.data.frames):
        from medtrain import models  # torch
        from medtrain.evaluation import inputs

        models.refuse_unfit(config.model, inputs.input_shape(config))


def with_shards(config: Config, packed: bool = True) -> Config:
    """The config with an absolute shards folder, after a look at what is in it where it is `packed`."""
    shards = config.data.shards or ("shards" if config.data.datasets else f"shards/{config.recipe}")
    data = dataclasses.replace(config.data, shards=str(Path(shards).absolute()))
    if packed and not config.slurm.after:  # what it waits for may be what packs them
        known = mixture.classes(data)
        if data.study_type not in (*mixture.TOGETHER, members.ALL):
            mixture.refuse_study_type(data.study_type, known)
        mixture.refuse_watch(dataclasses.replace(config, data=data))
    return dataclasses.replace(config, data=data)


def with_weights(config: Config) -> Config:
    """The config with an absolute weights file that is there: a job would tell only when it runs at last."""
    if config.model.weights in ("", *PUBLISHED):
        return config
    path = Path(config.model.weights).absolute()
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such file of weights",
            "give --weights FILE.safetensors, imagenet or kinetics (medtrain data weights BACKBONE), or '' for none",
        )
    return dataclasses.replace(config, model=dataclasses.replace(config.model, weights=str(path)))


def with_name(config: Config, here: bool = False) -> Config:
    """The config with a name for its run: what trains `here` in a job has its job's number, which a requeue does not
    change."""
    job = os.environ.get("SLURM_JOB_ID", "") if here else ""
    return dataclasses.replace(config, run=config.run or default_name(config.recipe, job))


def made_by_this_job(run: Run) -> bool:
    """Whether this job has trained a run before it was requeued: another's that has the same name is not gone on with.
    Where it was requeued before the first attempt, no job has."""
    starts = attempts.started(attempts.rows_of(run))
    return starts[-1]["job"] == own_job() if starts else not run.job_file.exists()


def train(config: Config) -> int:
    """Train here under supervision; in a Slurm job or allocation, on all of its ranks, once `jobenv.settle` has been
    called."""
    refuse_step_of_many()
    config = with_name(config, here=True)
    run = Run(Path(config.runs) / config.run)
    requeued = "SLURM_RESTART_COUNT" in os.environ and run.config_file.exists() and made_by_this_job(run)
    if requeued:
        code_snapshot.hand_over(run, sys.argv[1:])
    from medtrain.launch.supervisor import supervise  # the installed one may be broken by now

    if not (requeued and in_slurm_job()):
        run, _ = new_run(config)
    say(f"run {run.name} in {run.folder}")
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
        "figures": run.figures,
        "curve": run.journal,
        "log": run.log,
    }
    return "\n".join(f"{name:<13} {path}" for name, path in places.items())


def submit(config: Config, dry_run: bool = False) -> tuple[Run, str]:
    """Send a run to Slurm, or with `dry_run` only print the script that would be sent. Returns the run and job id."""
    if dry_run:
        config = ready(dependencies.looked_up(config) if sbatch.there() else config)
        run = Run(Path(config.runs) / config.run)
        sbatch.send(executor(run, config.slurm), supervisor(run), "", dry_run)
        return run, ""
    sbatch.need_slurm(TRAIN_HERE)
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
    return job


def before_sending(run: Run) -> None:
    """If Slurm says no, the run still is one of Slurm: it is asked again then, and nothing trains here."""
    attempts.close_silent(run)
    write_json(run.job_file, {"job": ""})


def note_sent(run: Run, job: str) -> None:
    """Write down that a run is in the queue as a job."""
    write_json(run.job_file, {"job": job, "submitted": time.time()})
    set_status(run, state="queued")
    fence.release(run.folder)


def script(run: Run, slurm: SlurmConfig) -> str:
    """The batch script, to the letter."""
    return sbatch.script(executor(run, slurm), supervisor(run))


def supervisor(run: Run) -> str:
    """The batch script's command. Not a pickle, which would need the installed medtrain when the job starts."""
    return shlex.join(processes.command("medtrain.launch.supervisor", str(run.folder), root=run.code))


def executor(run: Run, slurm: SlurmConfig) -> Any:
    """submitit's executor for a run. Its batch script runs the supervisor, which starts the ranks with srun."""
    return sbatch.executor(run.slurm, run.name, slurm)


def resume(run: Run, config: Config, here: bool = False) -> int:
    """Go on with a run from its newest checkpoint, the way it was started, or `here`. Returns an exit code."""
    job_environment.settle()
    refuse_step_of_many()
    refuse_if_alive(run)
    before = configfile.load(run.config_file)
    changed = fingerprint.difference(before, config)
    if not changed and complete(run):
        say(f"run {run.name} is finished, and nothing is left to do\n{where(run)}")
        say(f"train it for longer: {resume_command(run)} --epochs N   (it has {before.epochs})")
        return 0
    configfile.check(config, f"run {run.name}")
    refuse_other_settings(run, before, config)
    refuse_login_node(run, here)
    permissions.apply(config.share)
    config = make_ready(run, config)
    if changed:
        say("changed: " + "; ".join(changed))
    if run.job_file.exists() and not here:
        sbatch.need_slurm(TRAIN_HERE)
        say(f"run {run.name}: job {send(run, config.slurm, resume_command(run))}")
        return 0
    from medtrain.launch.supervisor import supervise

    return supervise(run)


def complete(run: Run) -> bool:
    """Whether a run has come to its end, and all that it promises is there."""
    there = (run.report, run.checkpoints / "best", run.code)
    return run.status().get("state") == "finished" and all(path.exists() for path in there)


def make_ready(run: Run, config: Config, packed: bool = True) -> Config:
    """Prepare a run to go on with settings; what it once waited for is long gone."""
    take(run)
    config = with_shards(dataclasses.replace(config, slurm=dataclasses.replace(config.slurm, after="")), packed)
    mixture.refuse_others(config.data, newest_manifest(run.checkpoints), run.name)
    if not run.code.exists():
        code_snapshot.freeze(run)
    configfile.save(config, run.config_file)
    if not (run.checkpoints / "last").exists():
        say(f"{run.name} has no checkpoint yet: it starts from the beginning")
    run.stop_file.unlink(missing_ok=True)
    return config


def refuse_other_settings(run: Run, before: Config, config: Config) -> None:
    """A run that goes on with other settings or shards would end with other weights than it promised."""
    old, new = fingerprint.binding(before), fingerprint.binding(config)
    had, has = (
        fingerprint.flat(before),
        fingerprint.flat(config),
    )  # a setting that is not used is in neither of the former
    names = [name for name in has if old.get(name) != new.get(name)]
    changed = [f"{name}: {had[name]} -> {has[name]}" for name in names]
    if changed:
        raise InputError(
            f"run {run.name} cannot go on with other settings ({'; '.join(changed)})",
            "start a new run with another --run",
        )


def refuse_login_node(run: Run, here: bool) -> None:
    """A run of a hand-written batch script goes on in one, not by accident on the machine this is typed on."""
    starts = attempts.started(attempts.rows_of(run))
    by_hand = bool(starts) and bool(starts[-1]["job"]) and not run.job_file.exists()
    again = resume_command(run)
    if by_hand and not here and "SLURM_JOB_ID" not in os.environ:
        raise InputError(
            f"run {run.name} was started by a batch script of yours",
            f"sbatch ... slurm/train.sbatch {again.removeprefix('medtrain ')}   or on this machine: {again} --here",
        )


def refuse_if_alive(run: Run) -> None:
    """Two owners of one folder would overwrite each other. For a rank that only saves and leaves, taking it waits."""
    place = alive(run, sure=True)
    if place is not None and place.state != LEAVING:
        raise under_way(run, place)


def stop(run: Run, wait_s: float = 120) -> str:
    """Ask a run to save and end, wait until it has, and say how it stands."""
    place = alive(run, sure=True)
    if place is None or place.state == VERIFYING:
        return f"run {run.name} is not under way" + (f": process {place.id} verifies it" if place else "")
    again = f"go on with: {resume_command(run)}"
    if place.waits:
        cancel(place.id)
        attempts.close_silent(run)
        set_status(run, state="stopped")
        return f"run {run.name}: job {place.id} was waiting and is cancelled; {again}"
    run.stop_file.touch()  # before the signal: the supervisor reads it when the ranks have ended
    if place.kind == "job":
        # Only to be quick: the ranks look for the stop file as well.
        subprocess.run(["scancel", "--quiet", "--signal=TERM", place.id], check=False)
    elif place.kind == "process":  # one on another machine looks for the file
        os.kill(int(place.id), signal.SIGTERM)
    deadline = time.monotonic() + wait_s
    while alive(run) is not None:
        if time.monotonic() > deadline:
            return f"run {run.name}: {place.kind} {place.id} was asked to save and end, and has not yet"
        time.sleep(0.5)
    return f"run {run.name} is saved at step {run.last_step():,} and has ended; {again}"


def cancel(job: str) -> None:
    """scancel, or a MachineError with what it said."""
    done = subprocess.run(["scancel", job], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MachineError(
            f"job {job} could not be reached: {done.stderr.strip()}", "ask Slurm again in a moment (squeue)"
        )
