"""Writes checkpoints behind the training step: a copy in kept memory, then a thread that makes it durable.

The copy is all that training waits for. Kept memory, because fresh memory costs its page faults on top. The ranks on
the first node each write their part of the tensors into the same files; the first of them, the lead, writes the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash

from medtrain.checkpoints.finite import NotFinite, finite
from medtrain.checkpoints.format import Tensors
from medtrain.checkpoints.safetensors_layout import Layout, layout, tensor_bytes
from medtrain.core.files import write_whole
from medtrain.core.running_time import CLOCK
from medtrain.runs.checkpoint_manifest import FORMAT, MANIFEST, STATE, TrainState, checkpoint_name, manifest_bytes

PARTS_WITHIN_S = 600
PIECE_BYTES = 1 << 24
TensorKey = tuple[str, str]  # file, tensor


@dataclass(frozen=True)
class Team:
    """The ranks that write: this one's `place` among `size` (None: it writes nothing), and a word that only the ranks
    of this attempt know, so that none writes into what a killed attempt has left."""

    place: int | None
    size: int
    word: str


@dataclass(frozen=True)
class Outcome:
    """What became of a save: durable, or the reason why not; `not_finite` where that is the numbers themselves."""

    name: str
    step: int
    seconds: float
    error: str
    not_finite: bool = False


@dataclass(frozen=True)
class Save:
    """What a checkpoint will hold. `buffers` names the tensors that differ between ranks: those of the lead count.

    In the lead's thread `before` runs ahead of the manifest, which holds `facts` and what it returns, and `publish`
    moves the finished folder to its name.
    """

    state: TrainState
    files: Mapping[str, Tensors]
    buffers: frozenset[str]
    facts: dict[str, Any]
    before: Callable[[], dict[str, Any]]
    publish: Callable[[Path, str], None]


class Writer:
    """One save in flight at a time. Every rank of the team starts the same saves in the same order."""

    def __init__(self, folder: Path, team: Team) -> None:
        self._folder = folder
        self._team = team
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._job: Future[Outcome] | None = None
        self._kept: dict[TensorKey, torch.Tensor] = {}
        self._count = 0

    @property
    def busy(self) -> bool:
        """Whether a save is in flight."""
        return self._job is not None and not self._job.done()

    def start(self, save: Save) -> None:
        """Copy this rank's part and start writing it; the outcome of the save before must have been taken."""
        self._count += 1
        if self._team.place is None:
            return
        own = self._copy(save.files, _share(save, self._team))
        copied = torch.cuda.Event() if torch.cuda.is_available() else None
        if copied is not None:
            copied.record()
        layouts = {file: layout(tensors) for file, tensors in save.files.items()}
        hidden = self._folder / f".tmp-{self._team.word}-{self._count}"
        self._job = self._pool.submit(_Writing(save, self._team, own, copied, layouts, hidden).run)

    def outcome(self, wait_s: float | None = 0) -> Outcome | None:
        """Of the save in flight, told once; None where there is none, or where it takes longer than `wait_s` (None:
        however long it takes)."""
        if self._job is None:
            return None
        with suppress(NotYet):
            found = self._job.result(wait_s)
            self._job = None
            return found
        return None

    def _copy(self, files: Mapping[str, Tensors], own: list[TensorKey]) -> dict[TensorKey, torch.Tensor]:
        """The tensors as they are now, in memory that the next call uses again; on a GPU in its own memory."""
        tensors = [files[file][name].detach() for file, name in own]
        kept = [self._kept.get(place) for place in own]
        for number, (tensor, copy) in enumerate(zip(tensors, kept, strict=True)):
            if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                kept[number] = torch.empty_like(tensor)
        self._kept = dict(zip(own, kept, strict=True))  # type: ignore[arg-type]
        if own:
            torch._foreach_copy_(list(self._kept.values()), tensors)
        return self._kept


def _share(save: Save, team: Team) -> list[TensorKey]:
    """The tensors that this rank writes: the lead the buffers, and each about as many bytes of the others.

    By name, because a resumed rank may hold its moments in another order than its neighbour.
    """
    places = [(file, name) for file in sorted(save.files) for name in sorted(save.files[file])]
    total = sum(save.files[file][name].nbytes for file, name in places if name not in save.buffers) or 1
    own, done = [], 0
    for file, name in places:
        if name in save.buffers:
            writer = 0
        else:
            writer = min(done * team.size // total, team.size - 1)
            done += save.files[file][name].nbytes
        if writer == team.place:
            own.append((file, name))
    return own


@dataclass(frozen=True)
class _Writing:
    """One save on its way to the disk, in the thread of one rank."""

    save: Save
    team: Team
    own: dict[TensorKey, torch.Tensor]
    copied: torch.cuda.Event | None
    layouts: dict[str, Layout]
    hidden: Path

    def run(self) -> Outcome:
        """Write, and tell how it went; a full disk is an outcome, not an exception, and so are broken numbers."""
        began, error, name, broken = CLOCK.now(), "", checkpoint_name(self.save.state), False
        try:
            self._lead(name) if self.team.place == 0 else self._help()
        except (OSError, NotFinite) as failure:
            broken = isinstance(failure, NotFinite)
            error = getattr(failure, "strerror", None) or str(failure)
            self._withdraw()
        return Outcome(name, self.save.state.step, CLOCK.now() - began, error, broken)

    def _lead(self, name: str) -> None:
        self.hidden.mkdir(mode=0o750)
        tensors = self._tensors()
        for place in range(1, self.team.size):
            part = self.hidden / f"part-{place}.json"
            self._wait_for(part)
            for file, hashes in json.loads(part.read_bytes()).items():
                tensors[file] |= hashes
            part.unlink()
        if any(set(tensors[file]) != set(place.offsets) for file, place in self.layouts.items()):
            raise RuntimeError("the ranks of the team do not share the tensors alike")
        state = json.dumps(asdict(self.save.state), indent=1, allow_nan=False)
        write_whole(self.hidden / STATE, state.encode())
        proved = self.save.before()
        manifest = {
            "format": FORMAT,
            "step": self.save.state.step,
            "epoch": self.save.state.epoch,
            **self.save.facts,
            **proved,
            "files": {file: _proof(self.hidden / file) for file in (*self.layouts, STATE)},
            "tensors": {file: dict(sorted(hashes.items())) for file, hashes in tensors.items()},
        }
        write_whole(self.hidden / MANIFEST, manifest_bytes(manifest))
        self.save.publish(self.hidden, name)

    def _help(self) -> None:
        self._wait_for(self.hidden)
        part = self._tensors()
        write_whole(self.hidden / f"part-{self.team.place}.json", json.dumps(part).encode())

    def _tensors(self) -> dict[str, dict[str, str]]:
        """Write this rank's tensors where they belong, durably; returns file -> tensor -> xxh3."""
        hashes: dict[str, dict[str, str]] = {}
        beside: AbstractContextManager[Any] = nullcontext()
        if self.copied is not None:
            stream = torch.cuda.Stream()
            stream.wait_event(self.copied)
            beside = torch.cuda.stream(stream)  # training's own goes on
        with beside:
            for file, place in self.layouts.items():
                hashes[file] = self._fill(file, place)
        return hashes

    def _fill(self, file: str, place: Layout) -> dict[str, str]:
        hashes = {}
        descriptor = os.open(self.hidden / file, os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            if self.team.place == 0:
                _write_at(descriptor, memoryview(place.header), 0)
            for name in [name for owner, name in self.own if owner == file]:
                if not finite(self.own[file, name]):
                    raise NotFinite(f"{name} in {file} is not finite")
                data = tensor_bytes(self.own[file, name])
                hashes[name] = xxhash.xxh3_128_hexdigest(data)
                _write_at(descriptor, data, place.offsets[name])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return hashes

    def _wait_for(self, path: Path) -> None:
        """Until another rank of the team has made a file or folder."""
        deadline = CLOCK.now() + PARTS_WITHIN_S
        while not path.exists():
            if path != self.hidden and not self.hidden.exists():
                raise OSError("another rank could not write its part")
            if CLOCK.now() > deadline:
                raise OSError(f"another rank has not written its part in {PARTS_WITHIN_S} s")
            time.sleep(0.01)

    def _withdraw(self) -> None:
        """Take away what there is, which also tells the others of the team. A rename needs no room on the disk."""
        withdrawn = self.hidden.with_name(self.hidden.name + "-failed")
        with suppress(OSError):
            self.hidden.rename(withdrawn)
        shutil.rmtree(withdrawn, ignore_errors=True)


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _proof(path: Path) -> dict[str, Any]:
    """Size and xxh3 of a file as it can be read back."""
    digest, size = xxhash.xxh3_128(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
    return {"bytes": size, "xxh3": digest.hexdigest()}
