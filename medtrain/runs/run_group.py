"""Several runs under one name: a model for each study type, or of several seeds, to be averaged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from medtrain.core.jsonfiles import read_json, write_json
from medtrain.runs.ownership import alive
from medtrain.runs.run import GROUP_FILE, Run, command_for, run_folder


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
        self.page = self.folder / "report.html"
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
        """The group of that name, or in that folder; None where there is none."""
        folder = run_folder(runs, name)
        return cls(folder) if name and (folder / GROUP_FILE).exists() else None

    @property
    def again(self) -> str:
        """What a person types to resume what is not finished."""
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
