"""Start the runs of a group: here, one after another, or as the stages of a chain of Slurm jobs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from medtrain import configfile, freeze, launch, rungroup, sbatch
from medtrain.chain import Sent, send, tree
from medtrain.config import Config
from medtrain.console import say, show_error
from medtrain.errors import EXIT_DONE, EXIT_RESUMABLE, InputError
from medtrain.place import in_slurm_job, refuse_step_of_many
from medtrain.run import Run
from medtrain.rungroup import RunGroup
from medtrain.slurmjob import queue_state
from medtrain.status import alive

OVER = ("finished", "failed")


def train(config: Config) -> int:
    """Train every run of a new group here, one after another; one that fails is left, and the others go on.

    Returns the exit code of the first that did not finish. In a batch script that Slurm has requeued it goes on.
    """
    refuse_step_of_many()
    group = RunGroup.find(config.runs, config.run)
    if group is None or not ("SLURM_RESTART_COUNT" in os.environ and in_slurm_job()):
        group = new_group(config)
    return go_on(group, [run for run in group.runs if run.status().get("state") not in OVER])


def new_group(config: Config, packing: dict[str, Any] | None = None, types: tuple[str, ...] = ()) -> RunGroup:
    """Check `config` and make the folders of the group's runs and of the group; `packing` is what is packed before, and
    `types` are then the study types that it will have."""
    config = launch.ready(config, packed=not packing)
    members = rungroup.members(config, types or rungroup.study_types(config))
    rungroup.refuse_existing(config, members)
    for member in members:
        launch.new_run(member, packed=not packing)
    group = RunGroup.create(config.runs, config.run, [member.run for member in members], packing)
    say(f"group {group.name}: {len(members)} runs in {group.folder.parent}")
    return group


def go_on(group: RunGroup, runs: list[Run]) -> int:
    """Supervise runs one after another, then put together what there is. A stop ends it at once."""
    from medtrain.supervise import supervise

    codes = [EXIT_DONE]
    for run in runs:
        if "SLURM_RESTART_COUNT" in os.environ:
            freeze.hand_over(run, sys.argv[1:])
        say(f"run {run.name} ({group.runs.index(run) + 1} of {len(group.runs)})")
        codes.append(supervise(run))
        if codes[-1] == EXIT_RESUMABLE:
            say(f"the others wait; go on with all: {group.again}")
            return EXIT_RESUMABLE
    from medtrain import groupreport  # torch

    try:
        groupreport.put_together(group, say)
    except InputError as error:
        show_error(error.problem, error.fix)
    return next((code for code in codes if code), EXIT_DONE)


def submit(config: Config, dry_run: bool = False) -> tuple[RunGroup, Sent]:
    """Send a new group to Slurm as one array and a job that puts its reports together, or print their scripts."""
    if dry_run:
        config = launch.ready(config)
        group = planned(config, rungroup.study_types(config))
    else:
        sbatch.need_slurm(launch.TRAIN_HERE)
        group = new_group(config)
    return group, send(group, config.slurm, dry_run)


def planned(config: Config, types: tuple[str, ...], packing: dict[str, Any] | None = None) -> RunGroup:
    """A group that is not made: what it would be."""
    group = RunGroup(Path(config.runs) / config.run)
    group.runs = [Run(Path(config.runs) / member.run) for member in rungroup.members(config, types)]
    group.packing = packing or {}
    return group


def retry(group: RunGroup, here: bool = False) -> int:
    """Go on with what is neither finished nor under way, as it was started (or `here`). Returns an exit code."""
    refuse_step_of_many()
    runs = [run for run in group.unfinished() if alive(run) is None]
    by_slurm = bool(group.jobs()) and not here
    if by_slurm:
        sbatch.need_slurm(launch.TRAIN_HERE)
    for run in runs:
        config = configfile.load(run.config_file)
        launch.make_ready(run, config, packed=not (by_slurm and group.packing))
    if not by_slurm:
        return go_on(group, runs)
    sent = send(group, configfile.load(group.runs[0].config_file).slurm)
    say(f"group {group.name}: {tree(sent) or 'nothing is left to do'}")
    return EXIT_DONE


def stop(group: RunGroup) -> list[str]:
    """Cancel what waits, and ask each run to save and end; a line for each that was under way."""
    others = {job for stage, jobs in group.jobs().items() if stage != "train" for job in jobs.values()}
    for job in sorted(others):
        if queue_state(job):
            launch.cancel(job)
    return [launch.stop(run) for run in group.runs if alive(run) is not None]
