"""The form of a checkpoint: no pickles, every byte hashed; reading one proves that it is what was written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes

from medtrain.checkpoints.finite import not_finite
from medtrain.checkpoints.safetensors_layout import tensor_hash
from medtrain.core.errors import MachineError
from medtrain.core.running_time import CLOCK
from medtrain.runs.checkpoint_manifest import (
    STATE,
    CorruptCheckpointError,
    TrainState,
    checkpoint_folders,
    parse_state,
    read_manifest,
    verified,
)
from medtrain.slurm.environment import node_name

MODEL, OPTIMIZER, AVERAGE = "model.safetensors", "optimizer.safetensors", "ema.safetensors"
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that verified."""

    folder: Path
    state: TrainState
    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]  # empty where it was not asked for
    average: dict[str, torch.Tensor]  # of the weights; empty where the run keeps none
    fingerprints: dict[str, str]
    journal: dict[str, Any] | None  # bytes and xxh3 of the journal by then; None where an older version wrote it

    @property
    def files(self) -> dict[str, dict[str, torch.Tensor]]:
        """File -> name -> tensor."""
        return {MODEL: self.model, OPTIMIZER: self.optimizer, AVERAGE: self.average}


def newest(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that verifies and is finite, or None; `say` hears which are not, and how."""
    return next(intact(folder, say), None)


def intact(folder: Path, say: Callable[[str], None]) -> Iterator[Checkpoint]:
    """The checkpoints that verify and are finite, newest first."""
    for candidate in reversed(checkpoint_folders(folder)):
        try:
            found = load_checkpoint(candidate)
        except CorruptCheckpointError as fault:
            say(f"checkpoint {candidate.name} is damaged ({fault}); trying the one before")
            continue
        broken = [text for name, tensors in found.files.items() for text in _broken(name, tensors)]
        if broken:
            say(f"no run can resume from checkpoint {candidate.name} ({broken[0]}); trying the one before")
        else:
            yield found


def load_checkpoint(folder: Path, optimizer: bool = True) -> Checkpoint:
    """Read a checkpoint and verify every byte of it against its manifest; without the `optimizer`, twice the size of
    the weights, for what only predicts. Raises CorruptCheckpointError."""
    manifest = read_manifest(folder)
    own = _files(manifest, optimizer)
    data = {name: verified(folder / name, expected) for name, expected in own.items()}
    hashes = {name: each for name, each in manifest["tensors"].items() if name in own}
    tensors = {name: _tensors(name, data.pop(name), each) for name, each in hashes.items()}
    state = parse_state(data[STATE])
    model, moments, average = tensors[MODEL], tensors.get(OPTIMIZER, {}), tensors.get(AVERAGE, {})
    return Checkpoint(folder, state, model, moments, average, manifest["fingerprints"], manifest.get("journal"))


def find_corruption(folder: Path, optimizer: bool = True) -> list[str]:
    """Every file of a checkpoint that is not as it was written, or that older versions wrote though its numbers were
    broken, one sentence each; empty where it is whole. Without the `optimizer` for what only predicts."""
    try:
        manifest = read_manifest(folder)
    except CorruptCheckpointError as fault:
        return [str(fault)]
    found = []
    for name, expected in _files(manifest, optimizer).items():
        try:
            data = verified(folder / name, expected)
            if name in manifest["tensors"]:
                found += _broken(name, _tensors(name, data, manifest["tensors"][name]))
        except CorruptCheckpointError as fault:
            found.append(str(fault))
    return found


def load_chosen(folder: Path, wait_s: float = 30, optimizer: bool = True) -> Checkpoint:
    """A checkpoint that rank 0 chose; on another node a shared filesystem may show it a little later."""
    deadline = CLOCK.now() + wait_s
    while True:
        try:
            return load_checkpoint(folder, optimizer)
        except CorruptCheckpointError as fault:
            if CLOCK.now() > deadline:
                fix = "restore it, or remove it to resume from the one before; medtrain doctor checks the folder"
                raise MachineError(f"{node_name()} cannot read {folder}: {fault}", fix) from None
            time.sleep(0.5)


def _files(manifest: dict[str, Any], optimizer: bool) -> dict[str, dict[str, Any]]:
    """File -> its bytes and hash, by a manifest; with the optimizer's or without."""
    return {name: expected for name, expected in manifest["files"].items() if optimizer or name != OPTIMIZER}


def _tensors(name: str, data: bytes, hashes: dict[str, str]) -> dict[str, torch.Tensor]:
    """The tensors in the bytes of a file, each as its hash says."""
    try:
        tensors = tensors_from_bytes(data)
    except SafetensorError as error:
        raise CorruptCheckpointError(f"{name}: {error}") from None
    found = {key: tensor_hash(tensor) for key, tensor in tensors.items()}
    if found != hashes:
        wrong = next(key for key in found | hashes if found.get(key) != hashes.get(key))
        raise CorruptCheckpointError(f"{name}: tensor {wrong} does not match its checksum")
    return tensors


def _broken(name: str, tensors: Tensors) -> list[str]:
    """What is not finite in a file, in a sentence; `[]` where all is."""
    bad = not_finite(tensors)
    return [f"{name}: {len(bad)} of {len(tensors)} tensors are not finite, the first is {bad[0]}"] if bad else []
