"""Several runs under one name: a model for each study type, or of several seeds, to be averaged."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medtrain import mixture, removal
from medtrain.config import Config
from medtrain.errors import InputError
from medtrain.run import GROUP_FILE, Run, command_for, read_json, write_json
from medtrain.takeover import alive

ALL = "all"  # --study_type all: one run for each


class RunGroup:
    """The folder `runs/NAME` of a group; its runs, `NAME-XR_WRIST` and so on, lie beside it.

    `runs` are in the order of their tasks in a Slurm array.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).absolute()
        self.name = self.folder.name
        self.file = self.folder / GROUP_FILE
        self.jobs_file = self.folder / "jobs.json"
        self.slurm = self.folder / "slurm"
        self.figures = self.folder / "figures"
        self.evaluation = self.folder / "evaluation"
        self.check = self.folder / "check.json"
        self.report = self.evaluation / "test.json"
        told = read_json(self.file)
        self.runs = [Run(self.folder.parent / name) for name in told.get("runs", ())]
        self.packing: dict[str, Any] = told.get("packing", {})
        self.by_slurm: bool = told.get("slurm", False)

    @classmethod
    def create(
        cls, runs: Path | str, name: str, members: list[str], packing: dict[str, Any], by_slurm: bool
    ) -> RunGroup:
        """Make the folder, private to the user; `packing` is what a pipeline packs before it trains, and `by_slurm`
        says that its runs are jobs that medtrain submits."""
        group = cls(Path(runs) / name)
        group.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        group.slurm.mkdir(exist_ok=True, mode=0o750)
        write_json(group.file, {"runs": members, "packing": packing, "slurm": by_slurm})
        return cls(group.folder)

    @classmethod
    def find(cls, runs: Path | str, name: str) -> RunGroup | None:
        """The group of that name; None where there is none."""
        return cls(Path(runs) / name) if name and (Path(runs) / name / GROUP_FILE).exists() else None

    @property
    def again(self) -> str:
        """What a person types to go on with what is not finished."""
        return command_for(Run(self.folder), "retry")

    def jobs(self) -> dict[str, dict[str, str]]:
        """stage -> task -> its newest Slurm job; what is one job is the task "0"."""
        return read_json(self.jobs_file)

    def note_jobs(self, stage: str, jobs: dict[str, str]) -> None:
        """Write down new jobs of a stage."""
        known = self.jobs()
        write_json(self.jobs_file, {**known, stage: {**known.get(stage, {}), **jobs}})

    def open(self) -> list[Run]:
        """The runs that are neither finished nor under way."""
        return [run for run in self.runs if not finished(run) and alive(run, sure=True) is None]

    def reported(self) -> bool:
        """Whether the report of the group has the results that its finished runs have now, and there are some."""
        told = read_json(self.report).get("runs", {})
        own = [(run, told.get(run.name, {})) for run in self.runs if finished(run)]
        return bool(own) and all(row.get("digest") == digest(run) for run, row in own)


def finished(run: Run) -> bool:
    """Whether a run has come to its end."""
    return run.status().get("state") == "finished"


def digest(run: Run) -> str:
    """Pins the result of a run; empty where it has none."""
    return hashlib.sha256(run.report.read_bytes()).hexdigest() if run.report.exists() else ""


def evaluated(run: Run) -> bool:
    """Whether the best weights that a finished run has now were scored on its validation split."""
    report, best = run.evaluation / "val.json", run.checkpoints / "best"
    return report.exists() and best.exists() and report.stat().st_mtime >= best.stat().st_mtime


def wanted(config: Config) -> bool:
    """Whether these settings ask for several runs."""
    return config.data.study_type == ALL or config.ensemble > 1


def study_types(config: Config) -> tuple[str, ...]:
    """The study types that the packed dataset has images of to train on."""
    if config.slurm.after and not (Path(config.data.shards) / "manifest.json").exists():
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
            folder = f"{config.save_dir}/{number + 1}" if config.save_dir and several else config.save_dir
            found.append(
                replace(
                    config,
                    run="-".join(filter(None, parts)),
                    seed=config.seed + number,
                    ensemble=1,
                    save_dir=folder,
                    data=replace(config.data, study_type=study_type),
                )
            )
    return found


def refuse_existing(config: Config, runs: list[Config]) -> None:
    """InputError where a run or group has one of the names: before any is made."""
    folder = Path(config.runs)
    old = RunGroup.find(folder, config.run)
    if old and not old.by_slurm and not any(removal.began(run) or alive(run) for run in old.runs):
        removal.remove(old, GROUP_FILE)  # it failed before its first step; its runs are made anew one by one
    for name in (config.run, *(own.run for own in runs)):
        if (folder / name / GROUP_FILE).exists():
            raise InputError(
                f"there is a group {name} in {config.runs} already",
                f"go on with it: {command_for(Run(folder / name), 'retry')}   remove it:"
                f" {command_for(Run(folder / name), 'rm')}   or choose another --run",
            )
    found = [Run(folder / name) for name in (config.run, *(own.run for own in runs))]
    there = [run.name for run in found if run.config_file.exists() and (removal.began(run) or alive(run))]
    if there:
        raise InputError(f"{', '.join(there)}: exists already in {config.runs}", "choose another --run")
