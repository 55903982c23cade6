"""The form of a checkpoint: no pickles, every byte hashed; reading one proves that it is what was written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes

from medtrain.errors import MachineError
from medtrain.finite import not_finite
from medtrain.place import node_name
from medtrain.tensorfile import tensor_hash

MANIFEST = "manifest.json"
STATE = "state.json"
MODEL, OPTIMIZER, AVERAGE = "model.safetensors", "optimizer.safetensors", "ema.safetensors"
FORMAT = 2
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class TrainState:
    """Where a run stands: plain numbers, written to state.json and readable without torch.

    `epoch` counts finished epochs (trained and evaluated), `epoch_step` the optimizer steps within the next one, so
    the samples consumed are `epoch_step * global_batch`; `epoch_loss`, `epoch_correct` sum over those steps. `best` is
    the best watched metric so far and `stale_epochs` the epochs since. `global_batch` and `precision` stay what they
    were at the first start; so do, where training is exact, `virtual_ranks` and the CPU `threads` of a rank.
    `schedule` and `scaler` are those objects' own.
    """

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    global_batch: int = 0
    epoch_loss: float = 0.0
    epoch_correct: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    stale_epochs: int = 0
    precision: str = ""
    virtual_ranks: int = 0
    threads: int = 0
    schedule: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)

    def after_step(self) -> TrainState:
        """One optimizer step later."""
        return replace(self, step=self.step + 1, epoch_step=self.epoch_step + 1)


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that verified."""

    folder: Path
    state: TrainState
    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor]  # of the weights; empty where the run keeps none
    fingerprints: dict[str, str]

    @property
    def files(self) -> dict[str, dict[str, torch.Tensor]]:
        """File -> name -> tensor."""
        return {MODEL: self.model, OPTIMIZER: self.optimizer, AVERAGE: self.average}


class Damaged(Exception):
    """A checkpoint whose bytes are not those that were written; the message says which file and how."""


def checkpoint_name(state: TrainState) -> str:
    """The folder's name: `step-00000812` in mid-epoch, `step-00000940-epoch-003` after an evaluation. Names sort in
    the order of training."""
    evaluated = f"-epoch-{state.epoch:03d}" if state.epoch and state.epoch_step == 0 else ""
    return f"step-{state.step:08d}{evaluated}"


def checkpoint_folders(folder: Path) -> list[Path]:
    """All checkpoints, oldest first, whole or not."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def newest(folder: Path, say: Callable[[str], None]) -> Loaded | None:
    """The newest checkpoint that verifies and is finite, or None; `say` hears which are not, and how."""
    for candidate in reversed(checkpoint_folders(folder)):
        try:
            found = load_checkpoint(candidate)
        except Damaged as fault:
            say(f"checkpoint {candidate.name} is damaged ({fault}); trying the one before")
            continue
        broken = [text for name, tensors in found.files.items() for text in _broken(name, tensors)]
        if not broken:
            return found
        say(f"nothing can go on from checkpoint {candidate.name} ({broken[0]}); trying the one before")
    return None


def load_checkpoint(folder: Path) -> Loaded:
    """Read a checkpoint and verify every byte against its manifest; raises Damaged."""
    manifest = read_manifest(folder)
    data = {name: _verified(folder / name, expected) for name, expected in manifest["files"].items()}
    tensors = {name: _tensors(name, data.pop(name), hashes) for name, hashes in manifest["tensors"].items()}
    state = TrainState(**json.loads(data[STATE]))
    return Loaded(folder, state, tensors[MODEL], tensors[OPTIMIZER], tensors.get(AVERAGE, {}), manifest["fingerprints"])


def damage(folder: Path) -> list[str]:
    """Every file of a checkpoint that is not as it was written, or that older versions wrote though its numbers were
    broken, one sentence each; empty where it is whole."""
    try:
        manifest = read_manifest(folder)
    except Damaged as fault:
        return [str(fault)]
    found = []
    for name, expected in manifest["files"].items():
        try:
            data = _verified(folder / name, expected)
            if name in manifest["tensors"]:
                found += _broken(name, _tensors(name, data, manifest["tensors"][name]))
        except Damaged as fault:
            found.append(str(fault))
    return found


def load_chosen(folder: Path, wait_s: float = 30) -> Loaded:
    """A checkpoint that rank 0 chose; on another node a shared filesystem may show it a little later."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return load_checkpoint(folder)
        except Damaged as fault:
            if time.monotonic() > deadline:
                fix = "restore it, or remove it to go on from the one before; medtrain doctor looks at the folder"
                raise MachineError(f"{node_name()} cannot read {folder}: {fault}", fix) from None
            time.sleep(0.5)


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """The file `manifest.json`: its last entry is the checksum of all the others."""
    return _dump({**manifest, "xxh3": xxhash.xxh3_128_hexdigest(_dump(manifest))})


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint, to the byte as it was written; raises Damaged."""
    try:
        data = (folder / MANIFEST).read_bytes()
        manifest: dict[str, Any] = json.loads(data)
    except (OSError, ValueError) as error:
        raise Damaged(f"{MANIFEST}: {_reason(error)}") from None
    kept = {name: value for name, value in manifest.items() if name != "xxh3"} if isinstance(manifest, dict) else {}
    if manifest_bytes(kept) != data:
        raise Damaged(f"{MANIFEST} does not match its checksum")
    if kept["format"] != FORMAT:
        raise Damaged(f"{MANIFEST}: format {kept['format']}; this version reads {FORMAT}")
    return kept


def _verified(path: Path, expected: dict[str, Any]) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{path.name}: {_reason(error)}") from None
    if len(data) != expected["bytes"]:
        raise Damaged(f"{path.name} has {len(data):,} bytes instead of {expected['bytes']:,}")
    if xxhash.xxh3_128_hexdigest(data) != expected["xxh3"]:
        raise Damaged(f"{path.name} does not match its checksum")
    return data


def _tensors(name: str, data: bytes, hashes: dict[str, str]) -> dict[str, torch.Tensor]:
    """The tensors in the bytes of a file, each as its hash says."""
    try:
        tensors = tensors_from_bytes(data)
    except SafetensorError as error:
        raise Damaged(f"{name}: {error}") from None
    found = {key: tensor_hash(tensor) for key, tensor in tensors.items()}
    if found != hashes:
        wrong = next(key for key in found | hashes if found.get(key) != hashes.get(key))
        raise Damaged(f"{name}: tensor {wrong} does not match its checksum")
    return tensors


def _broken(name: str, tensors: Tensors) -> list[str]:
    """What is not finite in a file, in a sentence; `[]` where all is."""
    bad = not_finite(tensors)
    return [f"{name}: {len(bad)} of {len(tensors)} tensors are not finite, the first is {bad[0]}"] if bad else []


def _dump(manifest: dict[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1) + "\n").encode()


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
