"""What a checkpoint says of itself, readable without torch: its manifest and its state, each proved before it is
believed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import xxhash

MANIFEST = "manifest.json"
STATE = "state.json"
FORMAT = 2
NAME = re.compile(r"step-\d{8,}(-epoch-\d{3,})?")
CHECKSUM = re.compile(rb',\n "xxh3": "([0-9a-f]{32})"\n\}\n\Z')


@dataclass(frozen=True)
class TrainState:
    """Where a run stands: plain numbers, written to state.json and readable without torch.

    `epoch` counts finished epochs (trained and evaluated), `epoch_step` the optimizer steps within the next one, so
    the samples consumed are `epoch_step * global_batch`; `epoch_loss`, `epoch_correct` sum over those steps. `best` is
    the best monitored metric so far and `stale_epochs` the epochs since. `global_batch` and `precision` stay what they
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


class CorruptCheckpointError(Exception):
    """A checkpoint whose bytes are not those that were written; the message says which file and how."""


def checkpoint_name(state: TrainState) -> str:
    """The folder's name: `step-00000812` in mid-epoch, `step-00000940-epoch-003` after an evaluation. Names sort in
    the order of training."""
    evaluated = f"-epoch-{state.epoch:03d}" if state.epoch and state.epoch_step == 0 else ""
    return f"step-{state.step:08d}{evaluated}"


def checkpoint_folders(folder: Path) -> list[Path]:
    """All checkpoints, oldest first, whole or not."""
    return sorted(path for path in folder.glob("step-*") if NAME.fullmatch(path.name) and path.is_dir())


def epoch_folder(folder: Path, epoch: int) -> Path | None:
    """The checkpoint after the evaluation of an epoch (the first is 1); None where it is not there."""
    own = (path for path in checkpoint_folders(folder) if path.name.endswith(f"-epoch-{epoch:03d}"))
    return next(own, None)


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """The file `manifest.json`: its last entry is the checksum of all the others."""
    return _dump({**manifest, "xxh3": xxhash.xxh3_128_hexdigest(_dump(manifest))})


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint, to the byte as it was written; raises CorruptCheckpointError."""
    try:
        data = (folder / MANIFEST).read_bytes()
        manifest: dict[str, Any] = json.loads(data)
    except (OSError, ValueError) as error:
        raise CorruptCheckpointError(f"{MANIFEST}: {_reason(error)}") from None
    # The text and not what it says is looked at: to write it once more takes longer than all else about a checkpoint.
    checksum = CHECKSUM.search(data)
    if checksum is None or xxhash.xxh3_128_hexdigest(data[: checksum.start()] + b"\n}\n") != checksum[1].decode():
        raise CorruptCheckpointError(f"{MANIFEST} does not match its checksum")
    del manifest["xxh3"]
    if manifest["format"] != FORMAT:
        raise CorruptCheckpointError(f"{MANIFEST}: format {manifest['format']}; this version reads {FORMAT}")
    return manifest


def verified(path: Path, expected: dict[str, Any]) -> bytes:
    """The bytes of a file, which are as its entry in a manifest says; raises CorruptCheckpointError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptCheckpointError(f"{path.name}: {_reason(error)}") from None
    if len(data) != expected["bytes"]:
        raise CorruptCheckpointError(f"{path.name} has {len(data):,} bytes instead of {expected['bytes']:,}")
    if xxhash.xxh3_128_hexdigest(data) != expected["xxh3"]:
        raise CorruptCheckpointError(f"{path.name} does not match its checksum")
    return data


def digest(path: Path) -> str:
    """The XXH3 of a file, of 128 bits in hexadecimal; empty where it cannot be read."""
    try:
        return xxhash.xxh3_128_hexdigest(path.read_bytes())
    except OSError:
        return ""


def read_state(folder: Path) -> TrainState:
    """The state in a checkpoint, confirmed by the manifest beside it; raises CorruptCheckpointError."""
    return parse_state(verified(folder / STATE, read_manifest(folder)["files"][STATE]))


def parse_state(data: bytes) -> TrainState:
    """From the bytes of a state.json; raises CorruptCheckpointError for one of another version."""
    try:
        return TrainState(**json.loads(data))
    except TypeError as error:
        raise CorruptCheckpointError(f"{STATE} is of another version ({error})") from None


def newest_manifest(folder: Path) -> dict[str, Any]:
    """What the newest checkpoint in `folder` says that it was made with; should it be damaged, an older one; `{}`."""
    for candidate in reversed(checkpoint_folders(folder)):
        try:
            return read_manifest(candidate)
        except CorruptCheckpointError:
            continue
    return {}


def newest_state(folder: Path) -> TrainState | None:
    """The newest state that its manifest confirms; None where there is none."""
    for candidate in reversed(checkpoint_folders(folder)):
        try:
            return read_state(candidate)
        except CorruptCheckpointError:
            continue
    return None


def _dump(manifest: dict[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1) + "\n").encode()


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
