"""The commands around a group of runs: pipeline, retry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from medtrain.cli.flag_types import Flag, SbatchOptions
from medtrain.config.schema import Config
from medtrain.core.console import say, say_json, talk_to_stderr
from medtrain.core.errors import InputError
from medtrain.launch import group_submit, job_chain
from medtrain.launch import pipeline as pipelines
from medtrain.launch.group_status import describe_group
from medtrain.runs.run import Run, command_for, group_names, resume_command, run_folder
from medtrain.runs.run_group import RunGroup

GroupName = Positional[Annotated[str, arg(metavar="GROUP")]]


def pipeline(config: Config, dry_run: bool, json: bool, keep_names: bool, packing: dict[str, Any]) -> None:
    """Send a chain of jobs: check, pack, train each study type, evaluate, report."""
    with talk_to_stderr(json):
        group, sent = pipelines.submit(config, packing, dry_run, keep_names)
    if json:
        say_json({"group": group.name, "folder": str(group.folder), "jobs": [list(one) for one in sent]})
    else:
        say(job_chain.tree(sent))
        if not dry_run:
            say(f"follow it: {command_for(Run(group.folder), 'status')}")


def retry(
    name: GroupName,
    runs: Path = Path("runs"),
    here: Flag = False,
    partition: str = "",
    account: str = "",
    qos: str = "",
    time: str = "",
    mem_gb: float = 0.0,
    sbatch: SbatchOptions = (),
    json: Flag = False,
) -> int:
    """Resume every run of a group, and every stage of its chain, that is neither finished nor under way.

    Args:
        name: Name of the group.
        runs: Folder that holds the runs.
        here: On this machine, also where the group was submitted to Slurm.
        partition: Another partition than before.
        account: Another account than before.
        qos: Another quality of service than before.
        time: Another time limit of one attempt than before.
        mem_gb: Another memory of a node in GB than before.
        sbatch: Further options of sbatch, one by one: --sbatch=--reservation=NAME, or --reservation NAME alone.
        json: Print one JSON document.
    """
    group = find(runs, name)
    with talk_to_stderr(json):
        asked = {
            "partition": partition,
            "account": account,
            "qos": qos,
            "time": time,
            "mem_gb": mem_gb,
            "sbatch": sbatch,
        }
        code = group_submit.retry(group, here, {name: value for name, value in asked.items() if value})
    if json:
        say_json(describe_group(group))
    return code


def find(runs: Path, name: str) -> RunGroup:
    """The group of that name; InputError where there is none."""
    if group := RunGroup.find(runs, name):
        return group
    known = ", ".join(group_names(runs)) or "none"
    raise InputError(
        f"there is no group of runs {name!r} in {runs.absolute()} (groups there: {known})",
        f"resume one run alone: {resume_command(Run(run_folder(runs, name)))}",
    )
