"""The chain of a recipe from raw images to a report, planned and submitted at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from medtrain import datasets
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.datasets.record import Record
from medtrain.launch import group_submit, job_chain, new_run
from medtrain.launch.group_members import ALL
from medtrain.runs.run_group import RunGroup
from medtrain.shards import sample_names
from medtrain.shards.pack_checks import ensure_apart
from medtrain.shards.pack_request import Request, options_for
from medtrain.shards.packing_jobs import ensure_can_pack
from medtrain.shards.plan import MAX_REJECTS, PackOptions
from medtrain.slurm import sbatch

FLAGS = ("root", "encoding", "size", "tasks", "max_rejects")  # of a pipeline, besides the settings of its recipe
HERE = "a chain needs Slurm; here: ./run_hpc_training.sh RECIPE --root DIR"


def submit(
    config: Config, given: dict[str, Any], dry_run: bool, keep_names: bool = False
) -> tuple[RunGroup, job_chain.SubmittedJobs]:
    """Send check, packing, training, evaluation and report, or print their scripts; `given` are the values of FLAGS.
    With `keep_names` packing writes a table beside the shards that names the file of each sample."""
    if config.task != "abnormality":
        raise InputError(
            f"a pipeline is for studies of several types (mura); the task of {config.recipe} is {config.task}",
            f"medtrain shard DATASET --slurm ..., then: medtrain submit {config.recipe} --dependency JOB",
        )
    if "root" not in given:
        raise InputError("the folder of the raw images is not given", "give --root DIR")
    if not dry_run:
        sbatch.require_slurm(HERE)
    config = new_run.with_name(config)
    if not config.data.study_type and config.ensemble == 1:  # the paper's ensemble is of all types together
        config = replace(config, data=replace(config.data, study_type=ALL))
    packing, types = plan(config, given, keep_names)
    if dry_run:
        group = group_submit.planned(new_run.ready(config, packed=False), types, packing)
        return group, job_chain.send(group, config.slurm, dry_run)
    group = group_submit.new_group(config, packing, types, by_slurm=True)
    return group_submit.send_new(group, config)


def plan(config: Config, given: dict[str, Any], keep_names: bool = False) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is packed, and the study types that the raw dataset has images of to train on."""
    dataset, root = datasets.of_recipe(config.recipe), Path(given["root"]).absolute()
    size = _number(given, "size", config.data.image_size)
    options = options_for(datasets.source(dataset), PackOptions(encoding=given.get("encoding", "jpeg"), size=size))
    rejects = _number(given, "max_rejects", MAX_REJECTS)
    asked = Request(dataset, root, options, max_rejects=rejects, partial=False, keep_names=keep_names)
    out = Path(config.data.shards or f"shards/{dataset}").absolute()
    ensure_apart(root, out)
    if keep_names:
        sample_names.ensure_can_keep(out)
    tasks = _number(given, "tasks", 8)
    source, records = ensure_can_pack(asked, out, tasks)
    packing = {
        "request": asked.told(),
        "out": str(out),
        "tasks": tasks,
        "share": config.share,
        "partition": given.get("pack_partition", config.slurm.partition),
    }
    return packing, _types(records, source.classes)


def _types(records: list[Record], classes: tuple[str, ...]) -> tuple[str, ...]:
    known = {
        name
        for record in records
        if record.split != "test"
        for name, state in record.labels.items()
        if state is not None
    }
    return tuple(name for name in classes if name in known)


def _number(given: dict[str, Any], name: str, otherwise: int) -> int:
    text = str(given.get(name, otherwise))
    if not text.isdigit():
        raise InputError(f"{name} is {text!r}", f"give a number: --{name} {otherwise}")
    return int(text)
