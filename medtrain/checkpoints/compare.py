"""How a checkpoint differs from its replay, and what may have caused it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from medtrain.checkpoints.format import find_corruption
from medtrain.checkpoints.replay_plan import Plan
from medtrain.core.errors import MachineError
from medtrain.runs.attempts import here, rows_of, started
from medtrain.runs.checkpoint_manifest import CorruptCheckpointError, read_manifest, read_state
from medtrain.runs.code_snapshot import snapshot_manifest
from medtrain.runs.environment_record import DIFFERS, differing, recorded
from medtrain.runs.run import Run


@dataclass(frozen=True)
class Comparison:
    """What was compared, and each difference in a sentence; `causes` are guesses, the likeliest first."""

    tensors: int
    values: int
    journal_lines: int
    differences: tuple[str, ...]
    causes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "same": not self.differences}


def compare(plan: Plan, again: Run) -> Comparison:
    """Hold the newest checkpoint and the journal's lines up to it against those of its replay."""
    folder = again.checkpoints / plan.newest.name
    if found := find_corruption(folder):
        raise MachineError(f"{folder}: the replay's own checkpoint is damaged ({found[0]})", "look at this disk")
    try:
        made, remade = (read_manifest(place)["tensors"] for place in (plan.newest, folder))
    except CorruptCheckpointError as fault:  # it was whole a moment ago
        raise MachineError(f"{plan.newest}: {fault}", "look at this disk") from None
    journal = _journal(plan, again)
    tensors = _tensors(plan.newest, made, folder, remade)
    differences = (*tensors, *_state(plan.after, asdict(read_state(folder))), *journal)
    return Comparison(
        tensors=sum(map(len, made.values())),
        values=sum(_values(plan.newest / file) for file in made),
        journal_lines=len(plan.rows(plan.run)),
        differences=differences,
        causes=tuple(_causes(plan, again, bool(journal))) if differences else (),
    )


# ---- differences ----------------------------------------------------------------------------------------------------


def _tensors(folder: Path, made: dict[str, Any], other: Path, remade: dict[str, Any]) -> list[str]:
    """How many tensors differ, and how the first one does."""
    places = sorted({(file, name) for hashes in (made, remade) for file in hashes for name in hashes[file]})
    unlike = [(file, name) for file, name in places if made.get(file, {}).get(name) != remade.get(file, {}).get(name)]
    if not unlike:
        return []
    file, name = unlike[0]
    if name not in made.get(file, {}) or name not in remade.get(file, {}):
        where = "the replay" if name in made.get(file, {}) else "the checkpoint"
        how = f"is not in {where}"
    else:
        how = _how(_tensor(folder / file, name), _tensor(other / file, name))
    return [f"{len(unlike):,} of {len(places):,} tensors differ; the first, {name} in {file}, {how}"]


def _tensor(path: Path, name: str) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        tensor: torch.Tensor = file.get_tensor(name)
        return tensor


def _how(made: torch.Tensor, remade: torch.Tensor) -> str:
    if (made.shape, made.dtype) != (remade.shape, remade.dtype):
        return f"is {list(made.shape)} {made.dtype} and {list(remade.shape)} {remade.dtype} in the replay"
    one, other = (tensor.reshape(-1).view(torch.uint8).reshape(tensor.numel(), -1) for tensor in (made, remade))
    count = int((one != other).any(dim=1).sum())  # by their bits: a NaN is like itself
    largest = (made.double() - remade.double()).abs().max().item()
    return f"in {count:,} of {made.numel():,} values, by at most {largest:.3g}"


def _values(path: Path) -> int:
    with safe_open(path, framework="pt") as file:
        return sum(torch.Size(file.get_slice(name).get_shape()).numel() for name in file.keys())  # noqa: SIM118


def _state(made: dict[str, Any], remade: dict[str, Any]) -> list[str]:
    names = [name for name in {**made, **remade} if made.get(name) != remade.get(name)]
    return [f"the state's {name} is {made.get(name)}, and {remade.get(name)} in the replay" for name in names]


def _journal(plan: Plan, again: Run) -> list[str]:
    """The first line that differs, in the order of training."""
    made, remade = plan.rows(plan.run), plan.rows(again)
    for key, row in remade.items():
        if made.get(key) == row:
            continue
        if key not in made:
            return [f"metrics.jsonl lacks the line of {key[0]} {key[1]}"]
        name = next(name for name in {**row, **made[key]} if row.get(name) != made[key].get(name))
        values = f"{made[key].get(name)}, and {row.get(name)} in the replay"
        return [f"metrics.jsonl is unlike the replay from {key[0]} {key[1]} on: its {name} is {values}"]
    return []


# ---- causes ---------------------------------------------------------------------------------------------------------


def _causes(plan: Plan, again: Run, curve_differs: bool) -> list[str]:
    run, told = plan.run, []
    if not curve_differs:
        told.append("every line of the curve is the same: it was changed in the last step, in saving, or later")
    before, now = recorded(run), recorded(again)
    for name, value in differing(before, now).items():
        has = f"{name} {now[name]}" if name in now else "nothing of the kind"
        told.append(f"the run began with {name} {value}, the replay has {has}")
    if run.log.exists():
        warned = [line for line in run.log.read_text(errors="replace").splitlines() if DIFFERS in line]
        told += [f"train.log: {line}" for line in warned[-3:]]
    attempts = _attempts_between(plan)
    counts = sorted({row["ranks"] for row in attempts} | {plan.ranks})
    if len(counts) > 1 and not plan.after.get("virtual_ranks"):
        told.append(f"the steps between were made by {' and '.join(map(str, counts))} ranks (replay: {plan.ranks})")
    told += [f"it was made on {nodes}, the replay on {here()}" for nodes in {r["nodes"] for r in attempts} - {here()}]
    for entry in snapshot_manifest(run).get("history", [])[1:]:
        if entry["step"] > plan.before["step"]:
            told.append(f"the run took another medtrain at step {entry['step']} (resume --update-code)")
    return told or ["nothing that medtrain knows of differs: suspect memory, disk or GPU, and replay once more"]


def _attempts_between(plan: Plan) -> list[dict[str, Any]]:
    """The attempts that trained from the earlier checkpoint to the newest one."""
    rows = started(rows_of(plan.run))
    first = max((i for i, row in enumerate(rows) if row["step"] <= plan.before["step"]), default=0)
    return [row for row in rows[first:] if row["step"] < plan.after["step"]]
