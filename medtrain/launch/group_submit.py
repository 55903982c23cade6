"""Start the runs of a group: here, one after another, or as the stages of a chain of Slurm jobs."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtrain.config import configfile
from medtrain.config.sbatch_options import without_once
from medtrain.config.schema import Config
from medtrain.core.console import say, show_error
from medtrain.core.counts import counted
from medtrain.core.errors import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_RESUMABLE, InputError, MachineError
from medtrain.launch import dependencies, new_run, resume
from medtrain.launch import group_members as launch_members
from medtrain.launch import stop as launch_stop
from medtrain.launch import submit as launch
from medtrain.launch.job_chain import SubmittedJobs, send, tree
from medtrain.runs import code_snapshot, removal, run_group
from medtrain.runs.ownership import alive
from medtrain.runs.run import GROUP_FILE, Run, command_for
from medtrain.runs.run_group import RunGroup
from medtrain.slurm import job_environment, sbatch
from medtrain.slurm.environment import ensure_not_one_of_many, in_batch_script, in_slurm_job
from medtrain.slurm.queries import queue_state


def train(config: Config) -> int:
    """Train every run of a new group here, one after another; one that fails is left, and the others continue.

    Returns the exit code of the first that did not finish. In a batch script that Slurm has requeued it goes on.
    """
    ensure_not_one_of_many()
    requeued = "SLURM_RESTART_COUNT" in os.environ and in_slurm_job()
    group = RunGroup.find(config.runs, config.run)
    if group is None or not requeued or not all(map(launch.made_by_this_job, group.runs)):
        group = new_group(config, again=requeued)
    return go_on(group, [run for run in group.runs if run.status().get("state") not in ("finished", "failed")])


def new_group(
    config: Config,
    packing: dict[str, Any] | None = None,
    types: tuple[str, ...] = (),
    by_slurm: bool = False,
    again: bool = False,
) -> RunGroup:
    """Check `config` and make the folders of the group's runs and of the group; `packing` is what is packed before, and
    `types` are then the study types that it will have. `again`: runs that are there were made before a requeue."""
    config = new_run.ready(config, packed=not packing)
    members = launch_members.members(config, types or launch_members.study_types(config))
    if not again:
        launch_members.ensure_new(config, members)
    for member in members:
        if not Run(Path(config.runs) / member.run).config_file.exists():
            new_run.new_run(member, packed=not packing)
    group = RunGroup.create(config.runs, config.run, [member.run for member in members], packing or {}, by_slurm)
    say(f"group {group.name}: {counted(len(members), 'runs')} in {group.folder.parent}")
    return group


def go_on(group: RunGroup, runs: list[Run]) -> int:
    """Supervise runs one after another, then build the report of what there is. A stop ends it at once."""
    from medtrain.launch.supervisor import supervise

    codes: dict[Run, int] = {}
    for run in runs:
        if run not in group.open():  # somebody else has taken it up meanwhile
            continue
        if "SLURM_RESTART_COUNT" in os.environ:
            code_snapshot.exec_snapshot(run, sys.argv[1:])
        say(f"run {run.name} ({group.runs.index(run) + 1} of {len(group.runs)})")
        codes[run] = supervise(run, alone=False)
        if codes[run] == EXIT_RESUMABLE:
            if not in_batch_script():
                say(f"the others wait; resume all: {group.again}")
            return EXIT_RESUMABLE
    build_report(group)
    bad = [codes.get(run, EXIT_ENVIRONMENT) for run in group.runs if not run_group.finished(run)]
    return bad[0] if bad else EXIT_DONE


def build_report(group: RunGroup) -> None:
    """Evaluate what the group's chain would, and write its report."""
    from medtrain.evaluation.inference import rebuild_model
    from medtrain.reporting import group_report  # torch
    from medtrain.reporting.split_report import evaluate_opened

    for run in group.runs if group.packing else ():
        if run_group.finished(run) and not run_group.evaluated(run):
            evaluate_opened(rebuild_model(run), "val", lambda text: None)
    try:
        group_report.build_report(group, say)
    except InputError as error:
        show_error(error.problem, error.fix)


def submit(config: Config, dry_run: bool = False) -> tuple[RunGroup, SubmittedJobs]:
    """Send a new group to Slurm as one array and a job that puts its reports together, or print their scripts."""
    if not dry_run:
        sbatch.require_slurm(launch.TRAIN_HERE)
    if sbatch.there():
        config = dependencies.looked_up(config)
    if dry_run:
        config = new_run.ready(config)
        group = planned(config, launch_members.study_types(config))
        return group, send(group, config.slurm, dry_run)
    return send_new(new_group(config, by_slurm=True), config)


def send_new(group: RunGroup, config: Config) -> tuple[RunGroup, SubmittedJobs]:
    """Send a group that was just made; where Slurm takes nothing of it, nothing of it stays."""
    try:
        return group, send(group, config.slurm)
    except MachineError as error:
        if group.jobs():
            raise
        for run in group.runs:
            removal.remove(run)
        removal.remove(group, GROUP_FILE)
        raise MachineError(error.problem, error.fix.replace(group.again, sbatch.AGAIN)) from None


def planned(config: Config, types: tuple[str, ...], packing: dict[str, Any] | None = None) -> RunGroup:
    """A group that is not made: what it would be."""
    group = RunGroup(Path(config.runs) / config.run)
    group.runs = [Run(Path(config.runs) / member.run) for member in launch_members.members(config, types)]
    group.packing = packing or {}
    return group


def retry(group: RunGroup, here: bool = False, request: dict[str, Any] | None = None) -> int:
    """Resume what is neither finished nor under way, as it was started (or `here`); `request` changes what is asked
    of Slurm. Returns an exit code."""
    job_environment.reconcile_environment()
    ensure_not_one_of_many()
    by_slurm, runs = group.by_slurm and not here, group.open()
    if by_slurm:
        sbatch.require_slurm(launch.TRAIN_HERE)
    for run in runs:
        if not by_slurm:
            resume.ensure_not_login_node(run, here)
        config = resume.waiting_for_nothing(configfile.load(run.config_file))
        slurm = configfile.with_checked_options(without_once(config.slurm), request or {})
        config = replace(config, slurm=slurm)
        resume.make_ready(run, config, packed=not (by_slurm and group.packing))
    if not by_slurm:
        return go_on(group, runs)
    slurm = configfile.load((runs or group.runs)[0].config_file).slurm
    say(f"group {group.name}:\n{tree(send(group, slurm)) or 'nothing is left to do'}")
    return EXIT_DONE


def ensure_no_jobs(group: RunGroup) -> None:
    """InputError where a job of a group's chain is still in the queue."""
    known = [job for jobs in group.jobs().values() for job in jobs.values()]
    if waiting := [job for job in dict.fromkeys(known) if queue_state(job)]:
        raise InputError(
            f"group {group.name} has jobs in the queue ({', '.join(waiting)})",
            f"end them first: {command_for(Run(group.folder), 'stop')}",
        )


def stop(group: RunGroup) -> str:
    """Ask each run to save and end, and cancel what waits; a line for each that was under way."""
    jobs = group.jobs()
    _cancel([*jobs.get("report", {}).values(), *jobs.get("evaluate", {}).values()])
    under_way = [run for run in group.runs if not run_group.finished(run) and alive(run) is not None]
    for run in group.runs if under_way else ():
        if not run_group.finished(run):
            run.stop_file.touch()  # also of those whose turn would come next; all save at once
    told = [launch_stop.stop(run) for run in under_way]
    _cancel([*jobs.get("pack", {}).values(), *jobs.get("check", {}).values()])
    return "\n".join(told) or f"no run of group {group.name} is under way"


def _cancel(jobs: list[str]) -> None:
    """scancel of those that are still in the queue."""
    for job in jobs:
        if queue_state(job):
            with contextlib.suppress(MachineError):  # it may end just now
                launch_stop.cancel(job)
