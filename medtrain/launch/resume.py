"""Resume a run from its newest checkpoint, the way it was started, or here."""

from __future__ import annotations

import dataclasses
import os

from medtrain.config import configfile, fingerprint, renamed
from medtrain.config.sbatch_options import without_once
from medtrain.config.schema import Config
from medtrain.core import permissions
from medtrain.core.console import busy, say
from medtrain.core.errors import InputError
from medtrain.launch import dependencies, notify
from medtrain.launch.new_run import with_shards
from medtrain.launch.submit import TRAIN_HERE, send, where
from medtrain.runs import attempts, code_snapshot
from medtrain.runs.checkpoint_manifest import newest_manifest
from medtrain.runs.ownership import LEAVING, alive, take, under_way
from medtrain.runs.run import Run, resume_command
from medtrain.shards import mixture
from medtrain.slurm import job_environment, sbatch
from medtrain.slurm.environment import ensure_not_one_of_many


def resume(run: Run, config: Config, here: bool = False) -> int:
    """Resume a run from its newest checkpoint, the way it was started, or `here`. Returns an exit code."""
    job_environment.reconcile_environment()
    ensure_not_one_of_many()
    ensure_not_alive(run)
    before = dataclasses.replace(configfile.load(run.config_file), runs=config.runs)  # it may be named by its path
    changed = fingerprint.difference(before, config)
    if not changed and complete(run):
        say(f"run {run.name} is finished, and nothing is left to do\n{where(run)}")
        say(f"train it for longer: {resume_command(run)} --epochs N   (it has {before.epochs})")
        return 0
    configfile.check(config, f"run {run.name}")
    if config.notify != before.notify:
        notify.ensure_ready(config)
        config = notify.with_mail(config)
    ensure_same_settings(run, before, config)
    ensure_not_login_node(run, here)
    permissions.apply(config.share)
    if config.slurm.dependency == before.slurm.dependency:  # what it once waited for is long gone
        config = waiting_for_nothing(config)
    config = dataclasses.replace(config, slurm=without_once(config.slurm, before.slurm))
    if run.job_file.exists() and not here:
        config = dependencies.looked_up(config)
    config = make_ready(run, config)
    if changed:
        say("changed: " + "; ".join(changed))
    if run.job_file.exists() and not here:
        sbatch.require_slurm(TRAIN_HERE)
        say(f"run {run.name}: job {send(run, config.slurm, resume_command(run))}")
        return 0
    busy("starting the ranks: PyTorch, the network, the checkpoint")
    from medtrain.launch.supervisor import supervise

    return supervise(run)


def complete(run: Run) -> bool:
    """Whether a run has come to its end, and all that it promises is there."""
    there = (run.report, run.checkpoints / "best", run.code)
    return run.status().get("state") == "finished" and all(path.exists() for path in there)


def waiting_for_nothing(config: Config) -> Config:
    """The config of a job that may start at once."""
    return dataclasses.replace(config, slurm=dataclasses.replace(config.slurm, dependency=""))


def make_ready(run: Run, config: Config, packed: bool = True) -> Config:
    """Prepare a run to resume with settings."""
    take(run)
    config = with_shards(config, packed)
    mixture.ensure_same_shards(config.data, newest_manifest(run.checkpoints), run.name)
    if not run.code.exists():
        code_snapshot.create_snapshot(run)
    configfile.save(config, run.config_file, old_names=code_snapshot.has_old_names(run))
    if not (run.checkpoints / "last").exists():
        say(f"{run.name} has no checkpoint yet: it starts from the beginning")
    run.stop_file.unlink(missing_ok=True)
    return config


def ensure_same_settings(run: Run, before: Config, config: Config) -> None:
    """A run that resumes with other settings or shards would end with other weights than it promised."""
    old, new = fingerprint.binding(before), fingerprint.binding(config)
    had, has = (
        fingerprint.flat(before),
        fingerprint.flat(config),
    )  # a setting that is not used is in neither of the former
    canonical = {name: renamed.canonical(name, None)[0] for name in has}
    names = [name for name, known in canonical.items() if old.get(known) != new.get(known)]
    changed = [f"{name}: {had[name]} -> {has[name]}" for name in names]
    if changed:
        raise InputError(
            f"run {run.name} cannot resume with other settings ({'; '.join(changed)})",
            "start a new run with another --run",
        )


def ensure_not_login_node(run: Run, here: bool) -> None:
    """A run of a hand-written batch script resumes in one, not by accident on the machine this is typed on."""
    starts = attempts.started(attempts.rows_of(run))
    by_hand = bool(starts) and bool(starts[-1]["job"]) and not run.job_file.exists()
    again = resume_command(run)
    if by_hand and not here and "SLURM_JOB_ID" not in os.environ:
        raise InputError(
            f"run {run.name} was started by a batch script of yours",
            f"sbatch ... slurm/train.sbatch {again.removeprefix('medtrain ')}   or on this machine: {again} --here",
        )


def ensure_not_alive(run: Run) -> None:
    """Two owners of one folder would overwrite each other. For a rank that only saves and leaves, taking it waits."""
    place = alive(run, sure=True)
    if place is not None and place.state != LEAVING:
        raise under_way(run, place)
