"""Checkpoints that are whole or absent: no pickles, every byte hashed, the newest that verifies is loaded."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes

from medtrain.config import CheckpointConfig
from medtrain.errors import MachineError
from medtrain.run import read_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class TrainState:
    """Where a run stands: plain numbers, written to state.json and readable without torch.

    `epoch` counts finished epochs (trained and evaluated), `epoch_step` the optimizer steps within the next one, so
    the samples consumed are `epoch_step * global_batch`; `epoch_loss`, `epoch_correct` sum over those steps. `best` is
    the best watched metric so far and `stale_epochs` the epochs since. `global_batch` and `precision` stay what they
    were at the first start. `schedule` and `scaler` are those objects' own.
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


class Damaged(Exception):
    """A checkpoint whose bytes are not those that were written; the message says which file and how."""


class Checkpoints:
    """The folder `checkpoints/`: `step-00000812/` in mid-epoch, `step-00000940-epoch-003/` after an evaluation.

    `last` and `best` are links. `fingerprints` (of config and data) go into each manifest.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, fingerprints: dict[str, str]) -> None:
        self.folder = folder
        self._keep_last = config.keep_last
        self._every_s = config.every_minutes * 60
        self._every_steps = config.every_steps
        self._fingerprints = fingerprints
        self._saved_at = time.monotonic()

    def due(self, state: TrainState) -> bool:
        """Whether a save in mid-epoch is due, by time or by steps."""
        by_time = self._every_s > 0 and time.monotonic() - self._saved_at >= self._every_s
        return by_time or (self._every_steps > 0 and state.step % self._every_steps == 0)

    def save(
        self,
        state: TrainState,
        model: dict[str, torch.Tensor],
        optimizer: dict[str, torch.Tensor],
        best: bool = False,
    ) -> Path:
        """Write a checkpoint, make it durable, then point `last` (and `best`) at it and drop what is not kept.

        Raises OSError where it cannot be written; what was there before is then untouched.
        """
        self._saved_at = time.monotonic()
        final = self.folder / checkpoint_name(state)
        if not _is_whole(final):
            self._write(final, state, model, optimizer)
        _link(self.folder / "last", final.name)
        if best:
            _link(self.folder / "best", final.name)
        _sync_folder(self.folder)
        self._drop_old()
        return final

    def newest(self, say: Callable[[str], None]) -> Loaded | None:
        """The newest checkpoint that verifies, or None; `say` hears which are damaged and how."""
        for folder in reversed(checkpoint_folders(self.folder)):
            try:
                return load_checkpoint(folder)
            except Damaged as fault:
                say(f"checkpoint {folder.name} is damaged ({fault}); trying the one before")
        return None

    def best_epoch(self) -> int:
        """The epoch of the checkpoint that `best` points to; 0 where there is none."""
        return int(read_json(self.folder / "best" / "state.json").get("best_epoch", 0))

    def sweep(self) -> None:
        """Remove what a killed save left half written."""
        for litter in self.folder.glob(".tmp-*"):
            shutil.rmtree(litter, ignore_errors=True) if litter.is_dir() else litter.unlink(missing_ok=True)

    def _write(
        self, final: Path, state: TrainState, model: dict[str, torch.Tensor], optimizer: dict[str, torch.Tensor]
    ) -> None:
        self.sweep()
        temporary = self.folder / f".tmp-{final.name}"
        temporary.mkdir(mode=0o700)
        try:
            tensors = {"model.safetensors": model, "optimizer.safetensors": optimizer}
            files = {name: _write_file(temporary / name, tensors_to_bytes(_plain(t))) for name, t in tensors.items()}
            files["state.json"] = _write_file(
                temporary / "state.json", json.dumps(asdict(state), indent=1, allow_nan=False).encode()
            )
            manifest = {
                "format": 1, "step": state.step, "epoch": state.epoch, "files": files,
                "tensors": {name: _hashes(t) for name, t in tensors.items()}, "fingerprints": self._fingerprints,
            }  # fmt: skip
            _write_file(temporary / MANIFEST, json.dumps(manifest, indent=1).encode())
            _sync_folder(temporary)
            if final.exists():  # damaged: a whole one is never written again
                shutil.rmtree(final)
            temporary.rename(final)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _drop_old(self) -> None:
        folders = checkpoint_folders(self.folder)
        kept = {folder.name for folder in folders[-self._keep_last :]}
        kept |= {(self.folder / link).resolve().name for link in ("last", "best")}
        for folder in folders:
            if folder.name not in kept:
                doomed = folder.with_name(f".tmp-old-{folder.name}")
                folder.rename(doomed)  # so that a half deleted one is never read
                shutil.rmtree(doomed, ignore_errors=True)


def checkpoint_name(state: TrainState) -> str:
    """The folder's name; names sort in the order of training."""
    evaluated = f"-epoch-{state.epoch:03d}" if state.epoch and state.epoch_step == 0 else ""
    return f"step-{state.step:08d}{evaluated}"


def checkpoint_folders(folder: Path) -> list[Path]:
    """All checkpoints, oldest first, whole or not."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def load_checkpoint(folder: Path) -> Loaded:
    """Read a checkpoint and verify every byte against its manifest; raises Damaged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        data = {name: (folder / name).read_bytes() for name in manifest["files"]}
    except (OSError, ValueError, KeyError) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from None
    for name, expected in manifest["files"].items():
        if len(data[name]) != expected["bytes"] or xxhash.xxh3_128_hexdigest(data[name]) != expected["xxh3"]:
            raise Damaged(f"{name} does not match its checksum")
    state = TrainState(**json.loads(data["state.json"]))
    return Loaded(
        folder, state, tensors_from_bytes(data["model.safetensors"]), tensors_from_bytes(data["optimizer.safetensors"])
    )


def load_chosen(folder: Path, wait_s: float = 30) -> Loaded:
    """A checkpoint that rank 0 chose; on another node a shared filesystem may show it a little later."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return load_checkpoint(folder)
        except Damaged as fault:
            if time.monotonic() > deadline:
                fix = "restore it, or remove it to go on from the one before; medtrain doctor looks at the folder"
                raise MachineError(f"{socket.gethostname()} cannot read {folder}: {fault}", fix) from None
            time.sleep(0.5)


def fingerprints_of(folder: Path) -> dict[str, str]:
    """What the run was when this checkpoint was written."""
    return dict(read_json(folder / MANIFEST)["fingerprints"])


def _is_whole(folder: Path) -> bool:
    """Training is exact, so a checkpoint of this name that verifies holds what would be written now."""
    if not folder.exists():
        return False
    try:
        load_checkpoint(folder)
    except Damaged:
        return False
    return True


def _plain(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _hashes(tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    return {name: tensor_hash(tensor) for name, tensor in tensors.items()}


def tensor_hash(tensor: torch.Tensor) -> str:
    """xxh3-128 of a tensor's bytes in row-major order."""
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return xxhash.xxh3_128_hexdigest(raw.numpy().tobytes())


def _write_file(path: Path, data: bytes) -> dict[str, Any]:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": len(data), "xxh3": xxhash.xxh3_128_hexdigest(data)}


def _link(link: Path, target: str) -> None:
    temporary = link.with_name(f".tmp-{link.name}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
