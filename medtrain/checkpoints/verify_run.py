"""Prove a run: every byte of its checkpoints as it was written, and the newest one what training makes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrain.checkpoints import compare, replay, replay_plan
from medtrain.checkpoints.format import find_corruption
from medtrain.core.console import in_line, say, say_json, talk_to_stderr
from medtrain.core.counts import counted
from medtrain.core.errors import EXIT_DONE, EXIT_INPUT, EXIT_NUMERICAL, InputError
from medtrain.core.files import UNFINISHED
from medtrain.runs import fencing, journal
from medtrain.runs.checkpoint_manifest import (
    MANIFEST,
    checkpoint_folders,
    checkpoint_name,
    digest,
    read_manifest,
    read_state,
)
from medtrain.runs.code_snapshot import incompatibility, tampered
from medtrain.runs.ownership import VERIFYING, take
from medtrain.runs.run import Run, command_for, resume_command
from medtrain.slurm import job_environment


@dataclass(frozen=True)
class Files:
    """What is in the folder `checkpoints/`: `faults` break the proof, `notes` do not."""

    checkpoints: tuple[str, ...]
    files: int
    bytes: int
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def verify_run(run: Run, files_only: bool, from_step: int, ranks: int, scratch: Path | None, json: bool) -> int:
    """Check the files, replay, say what came out. Returns an exit code: 2 for damage, 3 for other bits."""
    with no_trainer(run):
        return _verify(run, files_only, from_step, ranks, scratch, json)


def _verify(run: Run, files_only: bool, from_step: int, ranks: int, scratch: Path | None, json: bool) -> int:
    found = check_files(run)
    if not json:
        say_files(found)
    told: dict[str, Any] | None = None
    if not files_only and not found.faults:
        job_environment.reconcile_environment()
        told = train_again(replay_plan.plan(run, from_step, ranks), scratch, json)
    if json:
        say_json({"run": run.name, "folder": str(run.folder), **vars(found), "replay": told})
    if found.faults:
        if not json:
            say(f"not replayed. Put back what is damaged; or resume from the newest intact one: {resume_command(run)}")
        return EXIT_INPUT
    return EXIT_NUMERICAL if told and not told["same"] else EXIT_DONE


@contextmanager
def no_trainer(run: Run) -> Iterator[None]:
    """Nothing may write checkpoints while they are read; raises InputError where something does. An archived copy that
    may not be written has no trainer."""
    if not os.access(run.folder, os.W_OK):
        yield
        return
    try:
        take(run, VERIFYING.lower(), wait_s=0)
    except InputError as error:
        fix = f"wait for its end, or end it: {command_for(run, 'stop')}   then verify it"
        raise InputError(f"{error.problem}: its checkpoints come and go", fix) from None
    try:
        yield
    finally:
        fencing.release(run.folder)


# ---- files ----------------------------------------------------------------------------------------------------------


def check_files(run: Run) -> Files:
    """Read every file of every checkpoint, and look where the links point."""
    folders = checkpoint_folders(run.checkpoints)
    if not folders:
        raise InputError(f"run {run.name} has no checkpoint yet", f"train it first: {resume_command(run)}")
    faults: dict[str, list[str]] = {}
    notes, files = [], 0
    for folder in folders:
        faults[folder.name] = find_corruption(folder) or misnamed(folder)
        known = {MANIFEST, *read_manifest(folder)["files"]} if not faults[folder.name] else set()
        there = {path.name for path in folder.iterdir()}
        files += len(there)
        notes += [f"{folder.name}/{name} is no part of the checkpoint" for name in sorted(there - known) if known]
    told = [f"{name}: {text}" for name, texts in faults.items() for text in texts]
    told += [text for link in ("last", "best") for text in link_faults(run, link, faults)]
    whole = [folder for folder in folders if not faults[folder.name]]
    told += journal_faults(run, whole, notes) + made_with_faults(run, whole)
    if not told:
        notes += stale_links(run, folders[-1])
    aside = sorted(path.name for path in run.checkpoints.glob("aside-*"))
    notes += [f"checkpoints/{name} was put aside by a resume; nothing needs it" for name in aside]
    litter = [*run.checkpoints.glob(".tmp-*"), *run.folder.rglob(f".*{UNFINISHED}")]
    notes += [f"{path.relative_to(run.folder)} was left by a killed process; resume clears it away" for path in litter]
    size = sum(path.stat().st_size for folder in folders for path in folder.iterdir())
    return Files(tuple(folder.name for folder in folders), files, size, tuple(told), tuple(notes))


def journal_faults(run: Run, whole: list[Path], notes: list[str]) -> list[str]:
    """Whether the journal up to the newest whole checkpoint is as written by then; earlier ones hold parts of it."""
    if not whole:
        return []
    entry = read_manifest(whole[-1]).get("journal")
    if entry is None:
        notes.append(f"{run.journal.name} is not checked: the medtrain that wrote {whole[-1].name} kept no proof of it")
        return []
    fault = journal.find_corruption(run.journal, entry)
    return [f"{fault} ({whole[-1].name})"] if fault else []


def made_with_faults(run: Run, whole: list[Path]) -> list[str]:
    """Whether the settings, the copy of medtrain and the note of the versions are those of the newest checkpoint."""
    told = []
    if run.code.exists() and (text := tampered(run)):
        told.append(f"{run.code.name}: {text}; to take the installed one: {resume_command(run)} --update-code")
    if reason := incompatibility(run):
        told.append(f"{run.config_file.name}: {reason}")
    written = read_manifest(whole[-1]).get("environment") if whole else None
    if written is not None and digest(run.environment) != written:
        told.append(f"{run.environment.name} is not as it was when {whole[-1].name} was written")
    return told


def misnamed(folder: Path) -> list[str]:
    """A whole checkpoint under the name of another: training would take it for that one."""
    name = checkpoint_name(read_state(folder))
    return [] if name == folder.name else [f"holds {name}: it was renamed or copied here"]


def link_faults(run: Run, link: str, faults: dict[str, list[str]]) -> list[str]:
    """Whether `last` or `best` leads to one of the checkpoints, and to a whole one."""
    path = run.checkpoints / link
    if not path.is_symlink():
        missing = link == "last" and "is missing"
        return [f"{link} {'is no link' if path.exists() else missing}"] if path.exists() or missing else []
    target = str(path.readlink())
    if target not in faults:
        return [f"{link} points to {target}, and there is no such checkpoint"]
    return [f"{link} points to {target}, which is damaged"] if faults[target] else []


def stale_links(run: Run, newest: Path) -> list[str]:
    """Links that lead elsewhere than the newest checkpoint says: a process was killed, or the disk full, in between."""
    notes = []
    last = (run.checkpoints / "last").resolve().name
    if last != newest.name:
        notes.append(f"last points to {last}, and {newest.name} is newer; resume fixes it")
    best, epoch = run.checkpoints / "best", read_state(newest).best_epoch
    held = read_state(best).epoch if best.exists() else None
    if epoch and held != epoch:
        notes.append(f"epoch {epoch} was the best, and best points to {'epoch ' + str(held) if held else 'nothing'}")
    return notes


def say_files(found: Files) -> None:
    """For a person."""
    for fault in found.faults:
        say(f"FAULT       {in_line(fault)}")
    for note in found.notes:
        say(f"note        {note}")
    count = len(found.checkpoints)
    size = f"{found.files} files, {found.bytes / 1e9:.3f} GB"
    rest = counted(len(found.faults), "faults") if found.faults else "every byte and tensor as it was written"
    say(f"files       {count} checkpoint{'s' if count > 1 else ''}, {size}: {rest}")


# ---- replay ---------------------------------------------------------------------------------------------------------


def train_again(plan: replay_plan.Plan, scratch: Path | None, json: bool) -> dict[str, Any]:
    """Replay and compare; returns what came out, which a person is told at once."""
    first, last = plan.before["step"], plan.after["step"]
    with talk_to_stderr(json), replay.scratch(plan, scratch or plan.run.folder.parent) as again:
        seconds = replay.train(plan, again)
        found = compare.compare(plan, again)
    if not json:
        begin = f"step {first} ({plan.start.name})" if plan.start else "the beginning"
        say(f"replayed    from {begin} to step {last} on {plan.ranks} rank{'s' * (plan.ranks > 1)} in {seconds:.1f} s")
        for difference in found.differences:
            say(f"MISMATCH    {difference}")
        for cause in found.causes:
            say(f"perhaps     {cause}")
        what = f"{found.tensors:,} tensors ({found.values:,} values), its state and {found.journal_lines} journal lines"
        say(
            f"not proved  training does not make {plan.newest.name} as it is"
            if found.differences
            else f"proved      {plan.newest.name} is what training makes, bit for bit: {what}"
        )
    return {
        "from_step": first,
        "from_checkpoint": plan.start.name if plan.start else None,
        "to_step": last,
        "to_checkpoint": plan.newest.name,
        "ranks": plan.ranks,
        "seconds": round(seconds, 3),
        **found.as_json(),
    }
