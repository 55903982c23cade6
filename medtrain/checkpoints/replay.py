"""Train a run's last steps again, beside it, and compare what comes out with its newest checkpoint.

The steps are trained by the ordinary supervisor and the run's own copy of medtrain, in a scratch run that begins from a
link to an earlier checkpoint. Nothing is written in the run itself.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from medtrain.config import configfile, yaml12
from medtrain.core import processes
from medtrain.core.console import Progress, say, warn
from medtrain.core.errors import InputError, MachineError
from medtrain.core.files import UNFINISHED
from medtrain.core.processes import end_with
from medtrain.runs import code_snapshot, journal
from medtrain.runs.checkpoint_manifest import checkpoint_folders, read_manifest, read_state
from medtrain.runs.run import Run, command_for
from medtrain.slurm.environment import in_slurm_job, in_task, tasks_given

LONG_S = 900  # a run with one checkpoint is not trained again from the beginning unasked where that takes longer
POLL_S = 0.3
TAIL_BYTES = 1 << 16
CPUS = ("x86_64", "aarch64", "arm64", "ppc64le")  # what environment.txt names as the device where there was no GPU
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is trained again: from the checkpoint `start` (None: from the beginning) to `newest`."""

    run: Run
    start: Path | None
    newest: Path
    before: Row  # the state in `start`, and in `newest`
    after: Row
    ranks: int

    @property
    def evaluated(self) -> bool:
        """Whether the newest checkpoint was saved after an evaluation, at the end of an epoch."""
        return "-epoch-" in self.newest.name

    def reached(self, rows: list[Row]) -> bool:
        """Whether training has begun to save this checkpoint, or is beyond it, by some rows of its journal."""
        if self.evaluated:
            return any(row["epoch"] >= self.after["epoch"] + (row["kind"] == "step") for row in rows)
        return any(row["step"] >= self.after["step"] for row in rows)

    def rows(self, run: Run) -> dict[tuple[str, int], Row]:
        """The rows of a journal between the two checkpoints, without the time."""
        found = {}
        for row in journal.rows(run.journal):
            kind, number = row["kind"], row[row["kind"]]
            if self.before[kind] < number <= self.after[kind]:
                found[kind, number] = {key: value for key, value in row.items() if key != "time"}
        return found


# ---- what to train again --------------------------------------------------------------------------------------------


def plan(run: Run, from_step: int = -1, ranks: int = 0) -> Plan:
    """From the newest checkpoint back to `from_step` (-1: the checkpoint before), on `ranks` (0: as many as made it).

    Raises InputError where that cannot be, MachineError where this machine is not one for it. The checkpoints must have
    been found whole.
    """
    folders = checkpoint_folders(run.checkpoints)
    newest, after = folders[-1], asdict(read_state(folders[-1]))
    if after["step"] == 0:
        raise InputError(f"run {run.name} has trained no step yet", "prove the files alone: --files_only")
    states = {folder: asdict(read_state(folder)) for folder in folders}
    earlier = {state["step"]: folder for folder, state in states.items() if state["step"] < after["step"]}
    if from_step > 0 and from_step not in earlier:
        kept = ", ".join(map(str, earlier)) or "none"
        raise InputError(
            f"run {run.name} has no checkpoint of step {from_step} before its newest, of step {after['step']}",
            f"give the step of an earlier one ({kept}), or 0 for the beginning",
        )
    start = earlier[max(earlier) if from_step < 0 else from_step] if earlier and from_step else None
    if start is None and from_step < 0:
        refuse_long(run, after["step"])
    before = states[start] if start else {"step": 0, "epoch": 0}
    made = read_manifest(newest)["ranks"]
    return Plan(run, start, newest, before, after, settle_ranks(run, made, ranks, bool(after.get("virtual_ranks"))))


def refuse_long(run: Run, steps: int) -> None:
    """Training from the beginning may take days: raises InputError unless the journal says that it is short."""
    times = [row["time"] for row in journal.rows(run.journal, "step")]
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    seconds = steps * gaps[len(gaps) // 2] if gaps else 0.0
    if seconds > LONG_S:
        raise InputError(
            f"run {run.name} has one checkpoint only: a replay from the beginning takes about {seconds / 60:.0f} min",
            "do it all the same: --from_step 0   or prove the files alone: --files_only",
        )


def settle_ranks(run: Run, made: int, asked: int, exact: bool) -> int:
    """How many ranks train here; raises where that number or this machine cannot give the same bits."""
    given = tasks_given() if in_slurm_job() else 0
    ranks = asked or (given if exact and given else made)
    if ranks != made and not exact:
        raise InputError(
            f"the newest checkpoint of run {run.name} was made by {made} rank(s); {ranks} would sum in another order",
            "leave --ranks away (only --determinism exact gives the same bits at any number)",
        )
    if given and given != ranks:
        raise InputError(f"this allocation has {given} tasks, and {ranks} are needed", allocation(run, made))
    if not given and not in_task():
        refuse_without_gpu(run, ranks, allocation(run, made))
    return ranks


def refuse_without_gpu(run: Run, ranks: int, fix: str) -> None:
    """What a GPU computed, a CPU computes otherwise; and ranks that share a GPU may not fit into its memory."""
    lines = run.environment.read_text(errors="replace").splitlines() if run.environment.exists() else []
    device = next((line.removeprefix("device ") for line in lines if line.startswith("device ")), "")
    if not device or device in CPUS:
        return
    import torch

    if torch.cuda.device_count() < ranks:
        raise MachineError(
            f"run {run.name} trains on {ranks} x {device}, and here are {torch.cuda.device_count()} GPUs", fix
        )


def allocation(run: Run, ranks: int) -> str:
    """The command that verifies a run in an allocation as it was made in."""
    slurm = configfile.load(run.config_file).slurm
    nodes = slurm.nodes if ranks % slurm.nodes == 0 else 1
    request = {
        "nodes": nodes,
        "ntasks-per-node": ranks // nodes,
        "gpus-per-node": slurm.gpus_per_node,
        "cpus-per-task": slurm.cpus_per_task,
        "partition": slurm.partition,
        "account": slurm.account,
    }
    flags = " ".join(f"--{name}={value}" for name, value in request.items() if value)
    return f"in an allocation: salloc {flags} {command_for(run, 'verify')}"


# ---- training it again ----------------------------------------------------------------------------------------------


@contextmanager
def scratch(plan: Plan, parent: Path) -> Iterator[Run]:
    """A run that stands where `plan` starts, with what `plan.run` trains with; removed in the end.

    Its name in `parent` belongs to the run: who owns the run may clear away what a killed replay left.
    """
    outer = parent / f".{plan.run.name}.verify{UNFINISHED}"
    again = Run(outer / plan.run.name)  # two levels down: it is no run of that folder for `medtrain status`
    try:
        shutil.rmtree(outer, ignore_errors=True)
        try:
            lay_out(plan, again)
        except (OSError, shutil.Error) as error:
            raise MachineError(
                f"{outer}: the replay finds no place there ({getattr(error, 'strerror', '') or error})",
                "make room, or give another folder that all its nodes see: --scratch DIR",
            ) from None
        yield again
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def lay_out(plan: Plan, again: Run) -> None:
    """Fill the folder of the scratch run."""
    for folder in (again.folder.parent, again.folder, again.checkpoints, again.slurm):
        folder.mkdir(mode=0o700)
    if plan.run.code.exists():  # a copy, because Python would write its caches into the run's own
        shutil.copytree(plan.run.code, again.code, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    again.config_file.write_text(json.dumps(settings(plan), ensure_ascii=False, indent=1), encoding="utf-8")
    if plan.start is None:
        return
    if entry := read_manifest(plan.start).get("journal"):  # which it begins behind
        with plan.run.journal.open("rb") as file, again.journal.open("wb") as copy:
            copy.write(file.read(entry["bytes"]))
    best = (plan.run.checkpoints / "best").resolve()
    if best.exists() and best.name <= plan.start.name:  # a later one will be made again
        (again.checkpoints / best.name).symlink_to(best)
        (again.checkpoints / "best").symlink_to(best.name)
    if best.name != plan.start.name:
        (again.checkpoints / plan.start.name).symlink_to(plan.start)


def settings(plan: Plan) -> Row:
    """The run's settings, but it saves where the newest checkpoint was, and tells no tracker. JSON, which is YAML: the
    run's copy of medtrain may have settings that the one here does not know."""
    values = yaml12.read_yaml(plan.run.config_file)
    at = {"keep_every": plan.after["epoch"]} if plan.evaluated else {"every_steps": plan.after["step"]}
    saves = {"every_minutes": 0.0, "every_steps": 0, "keep_last": 5, "keep_every": 0, **at}
    values["checkpoint"] = {**values.get("checkpoint", {}), **saves}
    values["tracking"] = {**values.get("tracking", {}), "tracker": "none"}
    values["slurm"] = {**values.get("slurm", {}), "tasks_per_node": plan.ranks}
    if plan.start is None:  # what the first attempt settled
        values["data"] = {**values.get("data", {}), "global_batch": plan.after["global_batch"]}
        values["precision"] = plan.after["precision"]
    if values.get("schedule", {}).get("schedule") != "cosine":  # whose rates depend on the number of epochs
        values["epochs"], values["patience"] = (
            plan.after["epoch"] + 1000,
            0,
        )  # it ends when it is told, and tests nothing
    return values


def train(plan: Plan, again: Run) -> float:
    """Train the scratch run up to the newest checkpoint; returns the seconds it took. Raises MachineError."""
    total = max(1, plan.after["step"] - plan.before["step"])
    progress = Progress(total, f"{plan.run.name}: training again", "steps")
    began, log = time.monotonic(), again.folder / "replay.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            processes.command("medtrain.launch.supervisor", str(again.folder), root=code_snapshot.root_of(again)),
            env=environment(plan),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C comes here alone
            preexec_fn=partial(end_with, os.getpid(), signal.SIGTERM),
        )
    heard = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: clear up and go
    try:
        while process.poll() is None:
            rows = last_rows(again.journal)
            step = min(max((row["step"] for row in rows), default=0), plan.after["step"])
            progress.advance(max(0, step - plan.before["step"] - progress.done))
            if plan.reached(rows) and not again.stop_file.exists():
                stop(again, process)  # what is being saved now becomes durable before it leaves
            time.sleep(POLL_S)
    finally:
        signal.signal(signal.SIGTERM, heard)
        progress.close()
        end(process)
    if not (again.checkpoints / plan.newest.name).exists():
        told = again.status()
        warn("the replay printed:")
        say("\n".join(log.read_text(errors="replace").splitlines()[-20:]))
        raise MachineError(
            f"run {plan.run.name} could not be trained again from step {plan.before['step']}:"
            f" {told.get('error') or 'it ended before step ' + str(plan.after['step'])}",
            "mend what it says above, or prove the files alone: --files_only",
        )
    return time.monotonic() - began


def last_rows(path: Path) -> list[Row]:
    """The rows in the last part of a journal, which may be written or cut meanwhile."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")[1 if size > TAIL_BYTES else 0 : -1]
    except FileNotFoundError:
        return []
    return [row for line in lines if (row := journal.parsed(line + b"\n"))]


def stop(again: Run, process: subprocess.Popen[bytes]) -> None:
    """As `medtrain stop`. In an allocation by the file alone: a signal would go to all of its steps."""
    again.stop_file.touch()
    if not in_slurm_job():
        process.terminate()


def environment(plan: Plan) -> dict[str, str]:
    """This process's, with as many threads as the run began with: their number decides the order of sums."""
    lines = plan.run.environment.read_text(errors="replace").splitlines() if plan.run.environment.exists() else []
    threads = [line.split()[1] for line in lines if line.startswith("threads ")]
    values = {**os.environ, **({"OMP_NUM_THREADS": threads[0]} if threads else {})}
    values.pop("ENVIRONMENT", None)  # in a batch script a crash would put the job back in the queue
    return values


def end(process: subprocess.Popen[bytes], wait_s: float = 60) -> None:
    """Have the supervisor and its ranks leave, where they have not yet."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(wait_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
