"""The commands around a run: train, submit, resume, status, logs, stop, rm, recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from medtrain.cli.flag_types import Flag, RunName
from medtrain.config.schema import Config
from medtrain.core.console import say, say_json, show_table, talk_to_stderr
from medtrain.core.errors import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_INPUT
from medtrain.launch import group_members as launch_members
from medtrain.launch import group_submit, new_run
from medtrain.launch import resume as launch_resume
from medtrain.launch import stop as launch_stop
from medtrain.launch import submit as launch
from medtrain.launch.group_status import group_text, statuses
from medtrain.launch.job_chain import tree
from medtrain.runs import removal, renaming
from medtrain.runs.ownership import alive
from medtrain.runs.run import GROUP_FILE, Run, command_for, run_folder, runs_flag
from medtrain.runs.run_group import RunGroup
from medtrain.runs.status import COLOURS, attempts_table, describe, follow, status_table
from medtrain.slurm import job_environment

Follow = Annotated[Flag, arg(name="follow", aliases=("-f",))]


def train(config: Config, json: bool) -> int:
    """Train here, supervised: a crashed rank starts again, a signal saves at the next step's border."""
    job_environment.reconcile_environment()
    config = new_run.with_name(config, here=True)
    with talk_to_stderr(json):
        code = group_submit.train(config) if launch_members.wanted(config) else launch.train(config)
    if json:
        say_json(statuses([config.run], Path(config.runs))[0])
    return code


def submit(config: Config, dry_run: bool, when: bool, json: bool) -> int:
    """Send a run to Slurm; it survives time limits, preemption and requeues by itself."""
    if when:
        from medtrain.launch import start_estimate  # its imports would slow every `status`

        told = start_estimate.estimate(config)
        say_json(told) if json else say(start_estimate.text(told))
        return EXIT_DONE if told["accepted"] else EXIT_ENVIRONMENT
    if launch_members.wanted(config):
        submit_group(new_run.with_name(config), dry_run, json)
        return EXIT_DONE
    run, job = launch.submit(config, dry_run)
    if dry_run:
        return EXIT_DONE
    if json:
        say_json({"run": run.name, "job": job, "folder": str(run.folder)})
    else:
        say(f"run {run.name}: job {job}\nfollow it: {command_for(run, 'status')}   {command_for(run, 'logs')} -f")
    return EXIT_DONE


def submit_group(config: Config, dry_run: bool, json: bool) -> None:
    """Send the runs of a group as one array."""
    with talk_to_stderr(json):
        group, sent = group_submit.submit(config, dry_run)
    if dry_run:
        return
    if json:
        say_json({"group": group.name, "jobs": [list(one) for one in sent], "folder": str(group.folder)})
    else:
        say(f"{tree(sent)}\nfollow it: {command_for(Run(group.folder), 'status')}")


def resume(config: Config, here: bool, json: bool) -> int:
    """Resume a run from its newest checkpoint, the way it was started (--here: on this machine)."""
    run = Run.find(config.runs, config.run)
    with talk_to_stderr(json):
        code = launch_resume.resume(run, config, here)
    if json:
        say_json(describe(run))
    return code


def status(
    names: Positional[Annotated[tuple[str, ...], arg(metavar="[RUN ...]")]] = (),
    runs: Path = Path("runs"),
    json: Flag = False,
) -> None:
    """What every run is doing; of a named one, also each attempt: why it ended, its steps, and what was lost.

    Args:
        names: Names of runs (none: all).
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    rows = statuses(list(names), runs)
    if json:
        say_json(rows)
    elif rows:
        alone = [row for row in rows if not (names and "stages" in row)]
        if alone:
            show_table(status_table(alone), "state", COLOURS)
        for row in rows if names else []:
            if "stages" in row:
                say(group_text(row))
            elif told := attempts_table(row):
                say(f"\n{row['run']}\n{told}" if len(rows) > 1 else f"\n{told}")
    else:
        say(f"no runs in {runs.absolute()}; start one: medtrain train RECIPE --shards DIR --run NAME{runs_flag(runs)}")


def logs(name: RunName, runs: Path = Path("runs"), follow_: Follow = False, json: Flag = False) -> None:
    """Print a run's log.

    Args:
        name: Name of the run.
        runs: Folder that holds the runs.
        follow_: Go on printing what comes, until the run ends.
        json: Print one JSON document.
    """
    run = Run.find(runs, name)
    if json:
        lines = run.log.read_text(errors="replace").splitlines() if run.log.exists() else []
        say_json({"run": run.name, "lines": lines})
        return
    for line in follow(run.log, ended=lambda: not follow_ or alive(run) is None):
        say(line)


def stop(name: RunName, runs: Path = Path("runs"), json: Flag = False) -> None:
    """Ask a run to save at the next step's border and end.

    Args:
        name: Name of the run.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    group = RunGroup.find(runs, name)
    one = group or Run.find(runs, name)
    text = group_submit.stop(group) if group else launch_stop.stop(Run(one.folder))
    if json:
        say_json({"run": one.name, "answer": text})
    else:
        say(text)


def rename(
    name: RunName,
    new: Positional[Annotated[str, arg(metavar="NEW")]],
    runs: Path = Path("runs"),
    json: Flag = False,
) -> None:
    """Give a run another name. Its curve in the tracker keeps the name that it has there.

    Args:
        name: Name of the run.
        new: Its new name.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    run = Run.find(runs, name)
    renamed = renaming.rename(run, new)
    if json:
        say_json({"run": renamed.name, "folder": str(renamed.folder)})
    else:
        say(f"run {run.name} is {renamed.name} now")


def rm(name: RunName, runs: Path = Path("runs"), yes: Flag = False, json: Flag = False) -> int:
    """Remove a run, or a group with all of its runs. Asks first where steps would be lost.

    What a user laid into the folder stays, and so do copies of weights in a --weights_dir.

    Args:
        name: Name of the run or group.
        runs: Folder that holds the runs.
        yes: Do not ask.
        json: Print one JSON document.
    """
    group = RunGroup.find(runs, name)
    members = group.runs if group else [Run.find(runs, name)]
    there = [run for run in members if run.folder.is_dir()]
    for run in there:
        removal.ensure_not_alive(run)
    if group:
        group_submit.ensure_no_jobs(group)
    lost = [words for run in there if (words := removal.loses(run))]
    if lost and not yes and not removal.asked(lost, command_for(Run(run_folder(runs, name)), "rm")):
        say("nothing was removed")
        return EXIT_INPUT
    left = {str(run.folder): removal.remove(run) for run in there}
    if group:
        left[str(group.folder)] = removal.remove(group, GROUP_FILE)
    if json:
        say_json({"removed": list(left), "left": {folder: names for folder, names in left.items() if names}})
    else:
        for folder, names in left.items():
            say(f"removed {folder}" + (f", but for what is not of the run: {', '.join(names)}" if names else ""))
    return EXIT_DONE
