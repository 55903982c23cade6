"""Which checkpoint a run resumes from, proved together with the journal up to it, and the way made free for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from medtrain.checkpoints.format import Checkpoint, find_corruption, intact, load_chosen
from medtrain.config.rules import lower_is_better
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.core.files import sync_folder
from medtrain.distributed.process_group import World, broadcast_object
from medtrain.runs import fencing, journal
from medtrain.runs.checkpoint_manifest import TrainState, checkpoint_folders, epoch_folder, newest_state
from medtrain.runs.run import Run, resume_command
from medtrain.shards import mixture
from medtrain.tracking.run_log import log

GIVEN_UP = ".given-up"  # ends the name of a journal that its user lets go


@dataclass(frozen=True)
class Choice:
    """A checkpoint (None: the beginning), and whether the journal beyond it must be kept because it is damaged."""

    found: Checkpoint | None
    journal_damaged: bool = False


def choose_checkpoint(run: Run, say: Callable[[str], None]) -> Choice:
    """The newest checkpoint that verifies, is finite, and before which the journal is as it was written; `say` hears
    why others are passed over. Raises InputError where the journal is damaged before the oldest of them: to train all
    again may take days, and is not done unasked."""
    given_up = run.journal.with_name(run.journal.name + GIVEN_UP)
    newest, first_fault = None, ""
    for found in intact(run.checkpoints, say):
        fault = journal.find_corruption(run.journal, found.journal) if found.journal else ""
        if found.journal is None:
            say(f"{found.folder.name} is of an older medtrain, which kept no proof of the journal: it is not checked")
        if fault and given_up.exists():
            say(f"{fault}; its curve is given up, and begins anew behind {found.folder.name}")
            return Choice(replace(found, journal=None))
        if not fault:
            if given_up.exists():  # what it asked for has been done
                given_up.rename(journal.free_name(run.journal))
            return Choice(found, bool(first_fault))
        say(f"{fault}: checkpoint {found.folder.name} cannot be resumed from; trying the one before")
        newest, first_fault = newest or found.folder, first_fault or fault
    if newest is None:
        return Choice(None)
    raise InputError(
        f"{run.journal} was damaged: it is not what had been written by {newest.name}, nor by any older checkpoint",
        f"put it back as it was; or give the curve so far up: mv {run.journal} {given_up}   then {resume_command(run)}",
    )


def clear_newer(run: Run, choice: Choice, say: Callable[[str], None]) -> None:
    """Before the first new line and the first new checkpoint: put aside the checkpoints that are newer, keep a journal
    that is damaged, and cut off what was written after the checkpoint."""
    fencing.ensure_highest(run.folder)
    found = choice.found
    for folder in checkpoint_folders(run.checkpoints):
        if found is None or folder.name > found.folder.name:
            put_aside(folder, say)
    if choice.journal_damaged:
        say(f"the damaged journal is kept: {journal.keep_damaged(run.journal).name}")
    state = found.state if found else TrainState()
    if lines := journal.cut(run.journal, found.journal if found else None, state.step, state.epoch):
        say(f"{run.journal.name} has {lines} damaged lines before step {state.step}; they stay as they are")


def put_aside(folder: Path, say: Callable[[str], None]) -> None:
    """Give a checkpoint that nothing resumes from a name that is none of a checkpoint; nothing of it is deleted."""
    names = (folder.with_name(f"aside-{number}-{folder.name}") for number in range(1, 10_000))
    name = next(name for name in names if not name.exists())
    folder.rename(name)
    sync_folder(folder.parent)
    say(f"checkpoint {folder.name} is put aside, as {name.name}; delete it when nobody wants to look into it")


def resolve_best(run: Run, config: Config, found: Checkpoint, say: Callable[[str], None]) -> TrainState:
    """The state of a checkpoint with a best epoch whose weights can be loaded at the end of the run: where they are
    damaged, the best of those that are whole, by the journal; none where none is."""
    state = found.state
    own = epoch_folder(run.checkpoints, state.best_epoch)
    faults = find_corruption(own, optimizer=False) if own and own != found.folder else []
    if not own or not faults:
        return state
    put_aside(own, say)
    sign = -1 if lower_is_better(config.monitor) else 1
    told = {row["epoch"]: row.get(f"val_{config.monitor}") for row in journal.rows(run.journal, "epoch")}
    values = {epoch: float(value) for epoch, value in told.items() if isinstance(value, int | float)}
    folders = {epoch: epoch_folder(run.checkpoints, epoch) for epoch in values}
    whole = [epoch for epoch, folder in folders.items() if folder and not find_corruption(folder, optimizer=False)]
    best = max(whole, key=lambda epoch: (sign * values[epoch], -epoch), default=0)
    instead = f"epoch {best} counts as the best ({values[best]:.4f})" if best else "the best is looked for from here on"
    was = f"epoch {state.best_epoch} was the best ({config.monitor} {state.best})"
    say(f"{was}, but {own.name} is damaged ({faults[0]}):"
        f" of those that are whole, {instead}")  # fmt: skip
    return replace(state, best=values[best] if best else None, best_epoch=best)


def recorded_precision(run: Run) -> str:
    """What an earlier attempt of this run computed in; empty for a new run."""
    state = newest_state(run.checkpoints)
    return state.precision if state else ""


def load_latest_checkpoint(run: Run, config: Config, fingerprints: dict[str, str], world: World) -> Checkpoint | None:
    """The newest intact checkpoint, the same on every rank, with the way free for what comes after it; refused where
    it was made from other settings or shards."""

    def say(text: str) -> None:
        log(run, f"warning: {text}")

    choice = choose_checkpoint(run, say) if world.main else Choice(None)
    found = choice.found
    # One rank chooses: another may see an older folder for a while, or fail to read the newest.
    name = broadcast_object(world, found.folder.name if found else None)
    if found is None and name is not None:
        found = load_chosen(run.checkpoints / name)
    if found is not None:
        ensure_same_fingerprints(found, config, fingerprints)
    if world.main:
        clear_newer(run, choice, say)
    if found is None:
        return None
    return replace(found, state=broadcast_object(world, resolve_best(run, config, found, say) if world.main else None))


def ensure_same_fingerprints(found: Checkpoint, config: Config, fingerprints: dict[str, str]) -> None:
    """InputError where a checkpoint was made from other settings or shards."""
    changed = [] if mixture.is_of(found.fingerprints.get("data", ""), config.data) else ["data"]
    changed += ["config"] if found.fingerprints.get("config") != fingerprints["config"] else []
    if changed:
        what = " and ".join({"data": "shards", "config": "settings"}[name] for name in changed)
        raise InputError(
            f"{found.folder}: was made with other {what}",
            "use those it was started with, or start a new run with another --run",
        )
