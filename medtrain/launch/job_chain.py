"""The jobs of a group of runs in Slurm: each stage waits for the one before, and what is done is not done again."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtrain.config.dependency import as_sbatch_has_it
from medtrain.config.schema import SlurmConfig
from medtrain.core import processes
from medtrain.core.counts import counted
from medtrain.launch import submit
from medtrain.runs import code_snapshot
from medtrain.runs.ownership import alive
from medtrain.runs.run import Run
from medtrain.runs.run_group import RunGroup, evaluated, finished
from medtrain.shards import pack_request as shards_request
from medtrain.shards import packing_jobs
from medtrain.shards.packed_dataset import is_packed
from medtrain.slurm import sbatch
from medtrain.slurm.queries import queue_state

STAGES = ("check", "pack", "train", "evaluate", "report")
SubmittedJobs = list[tuple[str, str, int]]  # stage, job, tasks (0: no array)


def tree(sent: SubmittedJobs) -> str:
    """Jobs that wait for each other, a line each."""
    lines = [f"{name:<9} job {job}" + (f", {counted(tasks, 'tasks')}" if tasks else "") for name, job, tasks in sent]
    return "\n".join(f"{'  ' * depth}{'└ ' if depth else ''}{line}" for depth, line in enumerate(lines))


def send(group: RunGroup, slurm: SlurmConfig, dry_run: bool = False) -> SubmittedJobs:
    """Hand to Slurm what is not done and not under way: check, packing, an array of trainings, one of evaluations, each
    of which waits for its training, and the report, which waits for all, however they end."""
    copy = Run(group.folder)
    queued = any(_queued(job) for jobs in group.jobs().values() for job in jobs.values())
    if not dry_run and not (queued and copy.code.exists()):
        code_snapshot.create_snapshot(copy)  # whoever edits medtrain while jobs wait does not change what they do
    sender = _Sender(group, slurm, dry_run)
    after = sender.prepare() if group.packing else slurm.dependency
    train = sender.train(after)
    evaluated = sender.evaluate(train) if group.packing else []
    sender.report([job for job in (train, *evaluated) if job])
    return sender.sent


class _Sender:
    """Sends the stages of a group's chain in their order."""

    def __init__(self, group: RunGroup, slurm: SlurmConfig, dry_run: bool) -> None:
        self.group, self.dry_run = group, dry_run
        self.slurm = replace(slurm, dependency="")
        partition = group.packing.get("partition") or slurm.partition
        one = replace(self.slurm, nodes=1, spare_nodes=0, tasks_per_node=1, gpus_per_node=0)
        self.light = replace(one, mem_gb=0.0, constraint="", partition=partition)  # what only reads, packs and tells
        self.code = Run(group.folder).code  # the group's own copy of medtrain
        self.sent: SubmittedJobs = []
        self.trained: set[int] = set()

    def prepare(self) -> str:
        """Check and packing; returns the job that the trainings wait for, where it is still to come."""
        packing, known = self.group.packing, self.group.jobs()
        request, out = shards_request.Request.of(packing["request"]), Path(packing["out"])
        if is_packed(out):
            return ""
        if _queued(job := known.get("pack", {}).get("finish", "")):
            return job
        words = ("check", request.dataset, "--root", str(request.root), "--json")
        target = shlex.quote(str(self.group.check))
        checked = self._one("check", f"{self._medtrain(*words)} > {target}.part && mv {target}.part {target}")
        jobs = packing_jobs.submit(
            request, out, packing["tasks"], self.light, checked, self.dry_run, needs=self.group.check,
            share=packing.get("share", "private"),
        )  # fmt: skip
        tasks = (packing["tasks"], packing["tasks"], 0)
        self.sent += list(zip(packing_jobs.STAGES, jobs, tasks, strict=True))
        self._note("pack", dict(zip(packing_jobs.STAGES, jobs, strict=True)))
        return jobs[-1]

    def train(self, after: str) -> str:
        """The array of trainings, a task for each run that is neither finished nor under way."""
        wanted = self.group.runs if self.dry_run else self.group.open()
        lines = {i: submit.supervisor(run) for i, run in enumerate(self.group.runs) if run in wanted}
        self.trained = set(lines)
        if not lines:
            return ""
        own = [self.group.runs[i] for i in lines]
        if not self.dry_run:
            for run in own:
                submit.before_sending(run)
        job = self._array("train", lines, self.slurm, as_sbatch_has_it(after))
        if not self.dry_run:
            for i, run in zip(lines, own, strict=True):
                submit.note_sent(run, f"{job}_{i}")
        return job

    def evaluate(self, train: str) -> list[str]:
        """The evaluations on the validation split: an array with a task that waits for its training, one of what is
        trained already, and a job for each run that is under way elsewhere."""
        slurm = replace(
            self.slurm, nodes=1, spare_nodes=0, tasks_per_node=1, gpus_per_node=min(1, self.slurm.gpus_per_node)
        )
        known, lines = self.group.jobs().get("evaluate", {}), {}
        for i, run in enumerate(self.group.runs):
            if not (finished(run) and evaluated(run)) and not _queued(known.get(str(i), "")):
                runs = str(run.folder.parent)
                proof = shlex.join(processes.command("medtrain.launch.dependencies", str(run.folder), root=self.code))
                command = self._medtrain("evaluate", run.name, "--runs", runs, "--split", "val")
                lines[i] = f"{proof} && {command}"
        parts: dict[str, dict[int, str]] = {}
        for i, line in lines.items():
            if (dependency := self._ready(i, train)) is not None:
                parts.setdefault(dependency, {})[i] = line
        return [self._array("evaluate", part, slurm, dependency) for dependency, part in parts.items()]

    def _ready(self, i: int, train: str) -> str | None:
        """What the evaluation of a run waits for, where it can be told."""
        run = self.group.runs[i]
        if finished(run):
            return ""
        if i in self.trained:
            return f"aftercorr:{train}"
        place = alive(run)
        return f"afterok:{place.id}" if place and place.kind == "job" else None

    def report(self, after: list[str]) -> None:
        """The job that puts the reports together: where anything comes before it, or where it was lost."""
        others = [run for i, run in enumerate(self.group.runs) if i not in self.trained]
        after += [place.id for run in others if (place := alive(run)) and place.kind == "job"]
        lost = not self.group.reported() and any(map(finished, self.group.runs))
        waits = _queued(self.group.jobs().get("report", {}).get("0", ""))
        if self.sent or (lost and not waits):
            command = self._medtrain("report", self.group.name, "--runs", str(self.group.folder.parent))
            extra = {"dependency": f"afterany:{':'.join(after)}"} if after else {}
            self._one("report", command, **extra)

    def _medtrain(self, *words: str) -> str:
        """A command of the group's own copy of medtrain."""
        return shlex.join(processes.command("medtrain.cli.main", *words, root=self.code))

    def _one(self, stage: str, command: str, **extra: Any) -> str:
        job = self._send(stage, command, self.light, output=f"{self.group.slurm}/%j.log", **extra)
        self.sent.append((stage, job, 0))
        self._note(stage, {"0": job})
        return job

    def _array(self, stage: str, lines: dict[int, str], slurm: SlurmConfig, dependency: str) -> str:
        """An array with a command for each of its tasks."""
        cases = "\n".join(f"{i}) {line};;" for i, line in lines.items())
        command = f"case $SLURM_ARRAY_TASK_ID in\n{cases}\nesac"
        extra = {"dependency": dependency} if dependency else {}
        array = {"array": ",".join(map(str, lines)), "output": f"{self.group.slurm}/%A_%a.log"}
        job = self._send(stage, command, slurm, **array, **extra)
        self.sent.append((stage, job, len(lines)))
        self._note(stage, {str(i): f"{job}_{i}" for i in lines})
        return job

    def _send(self, stage: str, command: str, slurm: SlurmConfig, **extra: Any) -> str:
        # A task whose training failed would wait for ever.
        if "dependency" in extra:
            extra["kill_on_invalid_dep"] = "yes"
        executor = sbatch.executor(self.group.slurm, f"{self.group.name}-{stage}", slurm, **extra)
        return sbatch.send(executor, command, self.group.again, self.dry_run)

    def _note(self, stage: str, jobs: dict[str, str]) -> None:
        if not self.dry_run:
            self.group.note_jobs(stage, jobs)


def _queued(job: str) -> bool:
    """Whether a job waits or runs."""
    return bool(job) and queue_state(job) is not None
