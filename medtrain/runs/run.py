"""A run is a folder; this file holds the name of everything in it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
from pathlib import Path
from typing import Any

from medtrain.core import permissions
from medtrain.core.counts import counted
from medtrain.core.errors import InputError, nearest
from medtrain.core.jsonfiles import DamagedFile, _said, read_json, write_json
from medtrain.runs import fencing

STEP = re.compile(r"step-[0-9]{8,}(-epoch-[0-9]{3,})?$")  # a checkpoint; `step-backup` is none
CONFIG_FILE = "config.yaml"  # makes a folder a run
GROUP_FILE = "group.json"  # makes it a group of runs
EXPORT_FILE = "medtrain.json"  # makes it an export


class Run:
    """The folder `runs/NAME` and the paths inside it. Opening one reads nothing."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).absolute()
        self.name = self.folder.name
        self.config_file = self.folder / CONFIG_FILE
        self.status_file = self.folder / "status.json"
        self.journal = self.folder / "metrics.jsonl"
        self.log = self.folder / "train.log"
        self.environment = self.folder / "environment.txt"
        self.code = self.folder / "code"
        self.checkpoints = self.folder / "checkpoints"
        self.attempts = self.folder / "attempts.jsonl"
        self.figures = self.folder / "figures"
        self.evaluation = self.folder / "evaluation"
        self.page = self.folder / "report.html"
        self.model_card = self.folder / "model_card.md"
        self.first_weights = self.folder / "first_weights.json"
        self.labels = self.folder / "labels.json"
        self.clips = self.folder / "clips.json"
        self.images = self.folder / "images.json"  # of one whose images are in color
        self.slurm = self.folder / "slurm"
        self.job_file = self.slurm / "job.json"
        self.trackers = self.folder / "trackers"
        self.gpus = self.folder / "gpus"  # what they did, a file a node
        self.stop_file = self.folder / "stop"
        self.failure_file = self.folder / "failure.json"
        self.numbers = self.folder / fencing.FOLDER  # who owns the run
        self.lock_file = self.folder / "lock"  # of older versions
        self.hangs = self.folder / "hangs"

    @property
    def rgb(self) -> bool:
        """Whether its network was trained on images in color; those of clips are apart."""
        return bool(read_json(self.images).get("channels") == 3)

    @classmethod
    def create(cls, runs: Path | str, name: str, share: str = "private") -> Run:
        """Make the folder, private to the user; an existing run is never touched."""
        run = cls(Path(runs) / name)
        run.ensure_new()
        if run.folder.exists():
            permissions.warn_of_open(run.folder, share)
        run.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        for folder in (run.checkpoints, run.slurm):
            folder.mkdir(exist_ok=True, mode=0o750)
        return run

    def ensure_new(self) -> None:
        """InputError where a run or group of that name is there."""
        ensure_not_a_group(self.folder.parent, self.name)
        if self.config_file.exists():
            raise InputError(
                f"run {self.name} exists already in {self.folder.parent}",
                f"resume it: {resume_command(self)}   remove it: {command_for(self, 'rm')}   or choose another --run",
            )

    @classmethod
    def find(cls, runs: Path | str, name: str) -> Run:
        """The existing run of that name, or in that folder; an InputError with the nearest name where there is none."""
        run = cls(run_folder(runs, name))
        if not name or not run.config_file.exists():
            runs, name = (run.folder.parent, run.name) if is_path(name) else (runs, name)
            ensure_not_a_group(runs, name)
            if name and (run.folder / EXPORT_FILE).is_file():
                raise InputError(
                    f"{run.folder} is an export, and this needs the run that it was made from",
                    f"name the run; of an export: medtrain predict {shlex.quote(str(run.folder))} FILES",
                )
            known = run_names(runs)
            where = f"there is no run {name!r} in {Path(runs).absolute()}{nearest(name, known)}"
            raise InputError(where, f"list the runs: medtrain status{runs_flag(runs)}   (another folder: --runs DIR)")
        return run

    def last_step(self) -> int:
        """The optimizer step of the newest checkpoint, by its name; 0 where there is none."""
        names = [path.name for path in self.checkpoints.glob("step-*") if STEP.match(path.name)]
        return int(max(names).split("-")[1]) if names else 0

    def status(self) -> dict[str, Any]:
        """What the run last said of itself; `{}` before the first word."""
        return _said(self.status_file)

    @property
    def report(self) -> Path:
        """The report of the test at its end: of the validation split where there is no test split."""
        test, val = (self.evaluation / f"{split}.json" for split in ("test", "val"))
        return val if val.exists() and not test.exists() else test

    def counts(self) -> dict[str, tuple[int, int]]:
        """label -> images that its training draws where it is absent, and present, in the order of the dataset's
        labels; empty where nobody counted them."""
        rows: Any = read_json(self.labels)
        found: dict[str, tuple[int, int]] = {}
        try:
            for row in rows:
                absent, present = found.get(row["label"], (0, 0))
                found[row["label"]] = absent + row["negative"], present + row["positive"]
        except (TypeError, KeyError) as error:
            raise DamagedFile(self.labels, f"{type(error).__name__}: {error}") from None
        return found

    def successors(self) -> list[str]:
        """The jobs that may continue the run after its own, in their order."""
        return [str(job) for job in _said(self.job_file).get("successors") or ()]

    def failure(self) -> dict[str, Any]:
        """What the first rank that failed in this attempt said; `{}` where none did."""
        return _said(self.failure_file)


def run_folder(runs: Path | str, name: str) -> Path:
    """The folder of the run or group that a person names: by its name in the folder `runs`, or by the path of its
    folder."""
    named = Path(runs) / name
    if not is_path(name) or any((named / mark).exists() for mark in (CONFIG_FILE, GROUP_FILE)):
        return named
    return Path(os.path.normpath(Path(name).absolute()))


def is_path(name: str) -> bool:
    """Whether it is the path of a run's folder rather than its name."""
    return "/" in name or name in (".", "..")


def run_names(runs: Path | str) -> list[str]:
    """Names of the runs in a folder, newest last."""
    configs = sorted(Path(runs).glob("*/config.yaml"), key=lambda path: path.stat().st_mtime)
    return [path.parent.name for path in configs]


def group_names(runs: Path | str) -> list[str]:
    """Names of the groups of runs in a folder, newest last."""
    files = sorted(Path(runs).glob(f"*/{GROUP_FILE}"), key=lambda path: path.stat().st_mtime)
    return [path.parent.name for path in files]


def ensure_not_a_group(runs: Path | str, name: str) -> None:
    """InputError where a name is that of a group."""
    if name in group_names(runs):
        members = list(_said(Path(runs) / name / GROUP_FILE).get("runs", ()))
        all_of_them = command_for(Run(Path(runs) / name), "status")
        raise InputError(
            f"{name} is a group of {counted(len(members), 'runs')}",
            f"name one of them ({', '.join(members)}), or all: {all_of_them}   (retry, stop, report)",
        )


def runs_flag(runs: Path | str) -> str:
    """What to add to a printed command so that it finds the runs folder from the folder where it is printed."""
    return "" if Path(runs).absolute() == Path("runs").absolute() else f" --runs {shlex.quote(str(runs))}"


def command_for(run: Run, command: str) -> str:
    """What a person types, in the folder they are in, to have a command done to a run."""
    return f"medtrain {command} {shlex.quote(run.name)}{runs_flag(run.folder.parent)}"


def resume_command(run: Run) -> str:
    """The same to resume it."""
    return command_for(run, "resume")


def again_command(run: Run) -> str:
    """The same where it may never have begun: of a chain that packs first, the chain resumes and not the run."""
    chain = next((name for name in group_names(run.folder.parent) if run.name in _packs_for(run, name)), "")
    return (
        command_for(Run(run.folder.parent / chain), "retry") if chain and not run.last_step() else resume_command(run)
    )


def _packs_for(run: Run, group: str) -> list[str]:
    told = _said(run.folder.parent / group / GROUP_FILE)
    return list(told.get("runs", ())) if told.get("packing") else []


def default_name(recipe: str, job: str = "") -> str:
    """`mednist-1120-140501`; of a run that trains in the Slurm job 812, `mednist-812`."""
    return f"{recipe}-{job}" if job else f"{recipe}-{time.strftime('%m%d-%H%M%S')}"


def set_status(run: Run, **changes: Any) -> None:
    """Merge `changes` into a run's status.json; a full disk leaves the old one."""
    with contextlib.suppress(OSError):
        fencing.ensure_highest(run.folder)
        write_json(run.status_file, {**run.status(), **changes, "updated": time.time()})
