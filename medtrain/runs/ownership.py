"""Whether the owner of a run lives, and taking the run over from one that does not: one rule for every command."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

from medtrain.core.errors import InputError, MachineError
from medtrain.core.jsonfiles import read_json
from medtrain.runs import fencing
from medtrain.runs.attempts import here, rows_of, started, unended
from medtrain.runs.fencing import HELD, Owner
from medtrain.runs.run import Run, command_for, resume_command
from medtrain.slurm.environment import own_job
from medtrain.slurm.queries import NO_ANSWER, JobStatus, queue_state

PERIODS = 3  # of an owner's beat, without a change, make it dead
LEAVING, VERIFYING = "LEAVING", "VERIFYING"
SAVING_S = 180.0  # a rank that outlived its supervisor has so long to save and leave
SLACK_SECONDS = 60.0  # for attempts of older versions, which noted a time only
_silent: set[tuple[Path, int]] = set()  # owners that were found dead by their silence


def alive(run: Run, sure: bool = False) -> JobStatus | None:
    """Where a run is under way or waits in the queue; None where it is not.

    In Slurm the job's state tells (suspended, stopped and completing jobs live), on this machine the process, which is
    known by its start in ticks. Elsewhere only a growing count does: that takes three of its periods, by this process's
    own clock, and is waited for where the answer must be `sure`; else the place says that it is not known.
    """
    rows = rows_of(run)
    last: dict[str, Any] = next(reversed(started(rows)), {})
    number = max(fencing.numbers(run.folder), default=0)
    left = not number or fencing.file(run.folder, number, "end").exists()
    owner = None if left else fencing.read(fencing.file(run.folder, number, "lock"))
    over = unended(rows) is None and run.status().get("state") in ("finished", "failed")
    sent = [read_json(run.job_file).get("job"), *run.successors()]
    if own_job() in sent:  # those behind wait for this one
        sent = sent[: sent.index(own_job())]
    jobs = [*sent, last.get("job"), owner and owner.job]
    for job in dict.fromkeys(str(job) for job in jobs if job and not over):  # its job may go on with other runs
        # In a job or allocation of one's own, that one does not count.
        if job != own_job() and (queued := queue_state(job)) is not None:
            return queued
    if not number:
        return _older(rows, last)
    return None if left else _where(run, number, owner, sure)


def under_way(run: Run, place: JobStatus) -> InputError:
    """What is said to who wants to continue a run that lives."""
    return InputError(
        f"run {run.name} is still under way ({place.kind} {place.id})",
        f"follow it: {command_for(run, 'logs')} -f   or end it: {command_for(run, 'stop')}",
    )


def take(run: Run, doing: str = "running", wait_s: float = SAVING_S) -> None:
    """Become the owner of a run, before anything is written in it; raises InputError where another one lives."""
    deadline = time.monotonic() + wait_s
    while run.folder not in HELD:
        place = alive(run, sure=True)
        if place is not None and (place.state != LEAVING or time.monotonic() > deadline):
            raise under_way(run, place)
        if place is not None:
            time.sleep(0.2)
        else:
            _claim(run, doing)
    fencing.ensure_highest(run.folder)


def again(run: Run) -> None:
    """The next number, for the owner's next attempt: a rank of the last one that is not really gone publishes no more.
    Where the disk is full, the old number stays."""
    with contextlib.suppress(MachineError):
        _claim(run, "running")
    fencing.ensure_highest(run.folder)


def _claim(run: Run, doing: str) -> None:
    number = 1 + max(fencing.numbers(run.folder), default=0)
    try:
        fencing.claim(run.folder, number, fencing.myself(own_job(), doing))
    except OSError as error:
        raise MachineError(
            f"{run.folder / fencing.FOLDER}: the attempt cannot be noted there ({error.strerror})",
            f"make room, or let the folder be written, then: {resume_command(run)}",
        ) from None


def _where(run: Run, number: int, owner: Owner | None, sure: bool) -> JobStatus | None:
    """Where the owner of the highest number lives, who has not said that it left."""
    if owner and owner.machine == fencing.this_machine():
        if _is(owner):
            return None if owner.pid == os.getpid() else JobStatus("process", str(owner.pid), owner.doing.upper())
        rank = fencing.read(fencing.file(run.folder, number, "rank0"))
        return JobStatus("process", str(rank.pid), LEAVING) if rank and _is(rank) else None
    if owner and owner.job:
        if owner.job == own_job():
            if owner.restarts < int(os.environ.get("SLURM_RESTART_COUNT") or 0):
                return None  # an earlier life of this job
        elif shutil.which("scontrol"):
            return None  # Slurm has just said that its job has ended
    if (run.folder, number) in _silent:
        return None
    place = f"{owner.host}, process {owner.pid}" if owner else "unknown"
    if sure:
        if _beats(run, number):
            return JobStatus("host", place, "RUNNING")
        _silent.add((run.folder, number))
        return None
    return JobStatus("host", place, NO_ANSWER, "started on another machine: whether it lives shows when it is resumed")


def _is(owner: Owner) -> bool:
    """Whether exactly this process lives, on this machine; a stopped one does."""
    here = owner.machine == fencing.this_machine()
    return here and bool(owner.ticks) and fencing.started(owner.pid) == owner.ticks


def _beats(run: Run, number: int) -> bool:
    """Whether the owner's count grows within three periods. A file server that hangs makes nobody dead: a look that
    took longer than a period does not count."""
    first, quiet = _signs(run, number), 0
    while quiet < PERIODS:
        time.sleep(fencing.BEAT_S)
        began = time.monotonic()
        now = _signs(run, number)
        if now is None:
            return False
        if now != first:
            return True
        quiet += time.monotonic() - began < fencing.BEAT_S
    return False


def _signs(run: Run, number: int) -> list[bytes] | None:
    """What an owner changes while it lives; None once it has left."""
    if fencing.file(run.folder, number, "end").exists():
        return None
    files = [fencing.file(run.folder, number, kind) for kind in ("lock", "beat", "rank0")]
    return [path.read_bytes() if path.exists() else b"" for path in files]


def _older(rows: list[dict[str, Any]], last: dict[str, Any]) -> JobStatus | None:
    """The same of a run of an older version, which has no `attempts/`: a process of this host, by number and time."""
    if unended(rows) is None or last.get("nodes") != here():
        return None
    pid = last.get("pid", 0)
    try:
        own = b"medtrain" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    begun = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + fencing.started(pid) / os.sysconf("SC_CLK_TCK")
    lives = own and fencing.started(pid) and begun <= last.get("time", 0.0) + SLACK_SECONDS
    return JobStatus("process", str(pid), "RUNNING") if lives else None
