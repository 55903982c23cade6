"""The folder `checkpoints/` of a run: when to save, what to keep, which one is `last` and which `best`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medtrain.checkpoints.format import Checkpoint, Tensors
from medtrain.checkpoints.writer import Outcome, Save, Team, Writer
from medtrain.config.schema import CheckpointConfig
from medtrain.core.files import sync_folder
from medtrain.runs import fencing
from medtrain.runs.checkpoint_manifest import (
    CorruptCheckpointError,
    TrainState,
    checkpoint_folders,
    epoch_folder,
    read_state,
)


class CheckpointStore:
    """Saves behind the training step and keeps the last few, every n-th epoch's, and the best.

    `last` and `best` are links. `facts` (fingerprints, number of ranks) go into each manifest. All ranks of the team
    call `save` alike; the lead's thread alone touches names, and nothing is deleted before its successor is durable.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, team: Team, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.durable = ""  # the newest one of this run that is known to be whole
        self._config = config
        self._facts = facts
        self._lead = team.place == 0
        self._writer = Writer(folder, team)
        self._saved_at = time.monotonic()

    def start_from(self, found: Checkpoint | None) -> None:
        """Begin from the checkpoint that was loaded, or from none; clear away what a killed attempt left."""
        self.durable = found.folder.name if found else ""
        if not self._lead:
            return
        fencing.ensure_highest(self.folder.parent)
        for litter in self.folder.glob(".tmp-*"):
            shutil.rmtree(litter) if litter.is_dir() and not litter.is_symlink() else litter.unlink()
        if found:  # the attempt may have been killed between a checkpoint and its links
            best = epoch_folder(self.folder, found.state.best_epoch)
            if best is None and not (self.folder / "best").exists():  # it leads to what was put aside
                (self.folder / "best").unlink(missing_ok=True)
            self._link(last=found.folder.name, **({"best": best.name} if best else {}))

    def due_by_time(self) -> bool:
        """Whether it is time for a save in mid-epoch; told once a save, and on the lead only."""
        every_s = self._config.every_minutes * 60
        if not self._lead or not every_s or self._writer.busy or time.monotonic() - self._saved_at < every_s:
            return False
        self._saved_at = time.monotonic()
        return True

    def due_by_step(self, state: TrainState) -> bool:
        """Whether a save in mid-epoch is due after this step; all ranks agree."""
        every = self._config.every_steps
        return every > 0 and state.step % every == 0

    def save(
        self,
        state: TrainState,
        files: Mapping[str, Tensors],
        buffers: frozenset[str],
        before: Callable[[], dict[str, Any]],
    ) -> None:
        """Copy the tensors and write them behind the training; `outcome` tells how it went. Waits for the save before
        only where its outcome has not been taken. What `before` returns, in another thread, is in the manifest."""
        self._saved_at = time.monotonic()

        def publish(hidden: Path, name: str) -> None:
            self._publish(hidden, name, _is_best(state))

        self._writer.start(Save(state, files, buffers, self._facts, before, publish))

    def outcome(self, wait_s: float | None = 0) -> Outcome | None:
        """What became of the save in flight, told once; None where there is none or it takes longer than `wait_s`."""
        found = self._writer.outcome(wait_s)
        if found and not found.error:
            self.durable = found.name
        return found

    def best_epoch(self) -> int:
        """The epoch of the checkpoint that `best` points to; 0 where there is none that is whole."""
        try:
            return read_state(self.folder / "best").epoch
        except CorruptCheckpointError:
            return 0

    def _publish(self, hidden: Path, name: str, best: bool) -> None:
        final = self.folder / name
        sync_folder(hidden)
        fencing.ensure_highest(self.folder.parent)
        if final.exists():  # damaged: training went back beyond it and has come here again
            self._drop(final)
        hidden.rename(final)
        self._link(last=name, **({"best": name} if best else {}))
        self._drop_old()

    def _link(self, **names: str) -> None:
        for link, name in names.items():
            temporary = self.folder / f".tmp-{link}"
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(name)
            temporary.replace(self.folder / link)
        sync_folder(self.folder)

    def _drop_old(self) -> None:
        folders = checkpoint_folders(self.folder)
        kept = {folder.name for folder in folders[-self._config.keep_last :]}
        kept |= {(self.folder / link).resolve().name for link in ("last", "best")}
        for folder in folders:
            if folder.name not in kept and not self._for_ever(folder.name):
                self._drop(folder)

    def _for_ever(self, name: str) -> bool:
        every = self._config.keep_every
        return every > 0 and "-epoch-" in name and int(name.rsplit("-", 1)[1]) % every == 0

    def _drop(self, folder: Path) -> None:
        doomed = folder.with_name(f".tmp-old-{folder.name}")
        folder.rename(doomed)  # so that a half deleted one is never read
        shutil.rmtree(doomed, ignore_errors=True)


def _is_best(state: TrainState) -> bool:
    """Whether this is the checkpoint after the best epoch so far."""
    return bool(state.best_epoch) and state.best_epoch == state.epoch and state.epoch_step == 0
