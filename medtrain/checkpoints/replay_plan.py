"""Which steps of a run are trained again, from where and by how many ranks."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from medtrain.config import configfile, sbatch_options
from medtrain.core.counts import counted
from medtrain.core.errors import InputError, MachineError
from medtrain.runs import journal
from medtrain.runs.checkpoint_manifest import checkpoint_folders, read_manifest, read_state
from medtrain.runs.environment_record import recorded
from medtrain.runs.run import Run, command_for
from medtrain.slurm.environment import in_slurm_job, in_task, tasks_given

LONG_S = 900  # a run with one checkpoint is not trained again from the beginning unasked where that takes longer
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
                found[kind, number] = {key: value for key, value in row.items() if key not in journal.NOT_COMPUTED}
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
        ensure_short(run, after["step"])
    before = states[start] if start else {"step": 0, "epoch": 0}
    made = read_manifest(newest)["ranks"]
    return Plan(run, start, newest, before, after, resolve_ranks(run, made, ranks, bool(after.get("virtual_ranks"))))


def ensure_short(run: Run, steps: int) -> None:
    """Training from the beginning may take days: raises InputError unless the journal says that it is short."""
    times = [row["time"] for row in journal.rows(run.journal, "step")]
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    seconds = steps * gaps[len(gaps) // 2] if gaps else 0.0
    if seconds > LONG_S:
        raise InputError(
            f"run {run.name} has one checkpoint only: a replay from the beginning takes about {seconds / 60:.0f} min",
            "do it all the same: --from_step 0   or prove the files alone: --files_only",
        )


def resolve_ranks(run: Run, made: int, asked: int, exact: bool) -> int:
    """How many ranks train here; raises where that number or this machine cannot give the same bits."""
    given = tasks_given() if in_slurm_job() else 0
    ranks = asked or (given if exact and given else made)
    if ranks != made and not exact:
        raise InputError(
            f"the newest checkpoint of run {run.name} was made by {counted(made, 'ranks')}; {ranks} would sum in"
            " another order",
            "omit --ranks (only --determinism exact gives the same bits at any number)",
        )
    if given and given != ranks:
        raise InputError(f"this allocation has {given} tasks, and {ranks} are needed", allocation(run, made))
    if not given and not in_task():
        ensure_gpu(run, ranks, allocation(run, made))
    return ranks


def ensure_gpu(run: Run, ranks: int, fix: str) -> None:
    """What a GPU computed, a CPU computes otherwise; and ranks that share a GPU may not fit into its memory."""
    device = recorded(run).get("device", "")
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
    each = sbatch_options.ranks_per_node(slurm)
    nodes = ranks // each if slurm.min_nodes and ranks % each == 0 else slurm.nodes
    nodes = nodes if ranks % nodes == 0 else 1
    request = {
        "nodes": nodes,
        "ntasks-per-node": ranks // nodes,
        "gpus-per-node": sbatch_options.typed_gpus(slurm),
        "cpus-per-task": slurm.cpus_per_task,
        "partition": slurm.partition,
        "account": slurm.account,
    }
    own: dict[str, str | None] = {name: str(value) for name, value in request.items() if value}
    place = (*sbatch_options.OF_SHAPE, "exclude", "reservation")
    further = {name: value for name, value in sbatch_options.named(slurm.sbatch).items() if name in place}
    flags = shlex.join(sbatch_options.spelled(own | further))
    return f"in an allocation: salloc {flags} {command_for(run, 'verify')}"
