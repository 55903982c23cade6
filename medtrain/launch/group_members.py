"""Which runs a group is made of, from its settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.runs import removal
from medtrain.runs.ownership import alive
from medtrain.runs.run import GROUP_FILE, Run, command_for
from medtrain.runs.run_group import RunGroup
from medtrain.shards import mixture
from medtrain.shards.packed_dataset import is_packed

ALL = "all"  # --study_type all: one run for each


def wanted(config: Config) -> bool:
    """Whether these settings ask for several runs."""
    return config.data.study_type == ALL or config.ensemble > 1


def study_types(config: Config) -> tuple[str, ...]:
    """The study types that the packed dataset has images of to train on."""
    if config.slurm.dependency and not is_packed(Path(config.data.shards)):
        raise InputError(
            f"{config.data.shards} is not packed yet, and which study types it will have is not known",
            f"the whole chain at once: medtrain pipeline {config.recipe} --root DIR",
        )
    index = mixture.open_split(replace(config.data, study_type=""), "train")
    known = np.any(index.samples["labels"] >= 0, axis=0)
    return tuple(name for name, has in zip(index.classes, known.tolist(), strict=True) if has)


def members(config: Config, types: tuple[str, ...]) -> list[Config]:
    """The settings of each run: of each study type where all are wanted, and of as many seeds as the ensemble has."""
    chosen = types if config.data.study_type == ALL else (config.data.study_type,)
    found = []
    for study_type in chosen:
        for number in range(config.ensemble):
            several = config.ensemble > 1
            named = "" if several and config.data.study_type != ALL else study_type or "combined"
            parts = (config.run, named, str(number + 1) if several else "")
            folder = f"{config.weights_dir}/{number + 1}" if config.weights_dir and several else config.weights_dir
            found.append(
                replace(
                    config,
                    run="-".join(filter(None, parts)),
                    seed=config.seed + number,
                    ensemble=1,
                    weights_dir=folder,
                    data=replace(config.data, study_type=study_type),
                )
            )
    return found


def ensure_new(config: Config, runs: list[Config]) -> None:
    """InputError where a run or group has one of the names: before any is made."""
    folder = Path(config.runs)
    old = RunGroup.find(folder, config.run)
    if old and not old.by_slurm and not any(removal.began(run) or alive(run) for run in old.runs):
        removal.remove(old, GROUP_FILE)  # it failed before its first step; its runs are made anew one by one
    for name in (config.run, *(own.run for own in runs)):
        if (folder / name / GROUP_FILE).exists():
            raise InputError(
                f"there is a group {name} in {config.runs} already",
                f"resume it: {command_for(Run(folder / name), 'retry')}   remove it:"
                f" {command_for(Run(folder / name), 'rm')}   or choose another --run",
            )
    found = [Run(folder / name) for name in (config.run, *(own.run for own in runs))]
    there = [run.name for run in found if run.config_file.exists() and (removal.began(run) or alive(run))]
    if there:
        raise InputError(f"{', '.join(there)}: exists already in {config.runs}", "choose another --run")
