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
from functools import partial
from pathlib import Path

from medtrain.checkpoints.replay_plan import Plan, Row
from medtrain.config import yaml12
from medtrain.core import processes
from medtrain.core.console import say, warn
from medtrain.core.errors import MachineError
from medtrain.core.files import UNFINISHED
from medtrain.core.processes import end_with
from medtrain.core.progress import Progress
from medtrain.runs import code_snapshot, journal
from medtrain.runs.checkpoint_manifest import read_manifest
from medtrain.runs.environment_record import recorded
from medtrain.runs.run import Run
from medtrain.slurm.environment import in_slurm_job

POLL_S = 0.3
TAIL_BYTES = 1 << 16


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
    if not in_slurm_job():
        values["slurm"].pop("container", None)  # ranks are in one where srun starts them
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
            "fix what it says above, or prove the files alone: --files_only",
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
    threads = recorded(plan.run).get("threads")
    values = {**os.environ, **({"OMP_NUM_THREADS": threads} if threads else {})}
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
