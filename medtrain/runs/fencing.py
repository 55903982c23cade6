"""Fencing numbers: each attempt of a run takes the next one; who is not the highest any more publishes nothing.

`attempts/N.lock` is made by O_EXCL, so that a number has one owner on every shared filesystem, with file locks or
without. It says who that is. `N.rank0` says the same of the rank that publishes, `N.beat` holds a count that grows
while one of the two lives, and `N.end` is there once the owner has left. No clock is compared with another.
(Fencing tokens: M. Kleppmann, How to do distributed locking, 2016.)
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from medtrain.core.errors import EXIT_RESUMABLE, MachineError

FOLDER = "attempts"
NUMBER = "MEDTRAIN_FENCE"  # tells the ranks the number of their attempt
BEAT_S = 5.0
KEPT = 3  # numbers below the highest that stay in the folder
HELD: dict[Path, int] = {}  # run folder -> the number that this process publishes under
_looked: dict[Path, float] = {}


class Superseded(MachineError):
    """Another attempt has taken the run over: this one leaves, and nothing is lost by it."""

    exit_code = EXIT_RESUMABLE


@dataclass(frozen=True)
class Owner:
    """A process, so that no other is taken for it: `machine` is the boot and the space of process ids, `ticks` when it
    started since that boot. `job` is its Slurm job, in its life number `restarts`."""

    host: str = ""
    machine: str = ""
    pid: int = 0
    ticks: int = 0
    job: str = ""
    restarts: int = 0
    doing: str = "running"


def myself(job: str = "", doing: str = "running") -> Owner:
    """This process."""
    return Owner(
        host=socket.gethostname(),
        machine=this_machine(),
        pid=os.getpid(),
        ticks=started(os.getpid()),
        job=job,
        restarts=int(os.environ.get("SLURM_RESTART_COUNT") or 0) if job else 0,
        doing=doing,
    )


def this_machine() -> str:
    """This boot of this machine (random(4)), and the space in which process ids count (pid_namespaces(7))."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"


def started(pid: int) -> int:
    """When a process started, in ticks since the boot (proc(5): field 22 of stat); 0 where there is none that lives."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if state in "ZX" else int(rest[18])


def numbers(run: Path) -> list[int]:
    """The numbers that were taken of a run folder, in order. Listed anew by the file server (close-to-open), where the
    absence of one name may be remembered by this machine for a minute."""
    try:
        names = [path.name for path in (run / FOLDER).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    stems = [name.removesuffix(".lock") for name in names if name.endswith(".lock")]
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())


def file(run: Path, number: int, kind: str) -> Path:
    """`attempts/N.KIND`."""
    return run / FOLDER / f"{number}.{kind}"


def read(path: Path) -> Owner | None:
    """Who wrote a lock; None where that cannot be read: it is being written, or was damaged."""
    try:
        told: Any = json.loads(path.read_bytes())
        owner = Owner(**{field.name: told[field.name] for field in fields(Owner)})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return owner if all(type(getattr(owner, f.name)) is type(f.default) for f in fields(Owner)) else None


def claim(run: Path, number: int, owner: Owner) -> bool:
    """Take a number; False where another process was quicker. OSError where the folder or the disk takes no file."""
    (run / FOLDER).mkdir(mode=0o750, exist_ok=True)
    path = file(run, number, "lock")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, json.dumps(asdict(owner)).encode() + b"\n")
        os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    if max(numbers(run)) != number:  # this process slept, and the number was used and cleared away meanwhile
        path.unlink(missing_ok=True)
        return False
    if not HELD:
        atexit.register(_release_all, os.getpid())
    acquire_run_lock(run, number)
    _clear(run, number)
    return True


def acquire_run_lock(run: Path, number: int, beat: bool = True) -> None:
    """Publish under a number from now on, and show that its owner lives."""
    HELD[run] = number
    if beat and not any(thread.name == "fence" for thread in threading.enumerate()):
        threading.Thread(target=_beat, name="fence", daemon=True).start()


def for_ranks(run: Path) -> dict[str, str]:
    """What the ranks of this owner's attempt need in their environment to publish for it."""
    return {NUMBER: str(HELD[run])}


def join(run: Path, main: bool) -> bool:
    """In a rank: publish under the number of its attempt; False where nobody said one. Rank 0 (`main`) says who it is:
    it may outlive the supervisor while it saves."""
    number = int(os.environ.get(NUMBER) or 0)
    if not number:
        return False
    acquire_run_lock(run, number, beat=main)
    if main:
        with suppress(OSError):
            file(run, number, "rank0").write_text(json.dumps(asdict(myself())) + "\n")
    return True


def ensure_highest(run: Path, every_s: float = 0.0) -> None:
    """Raise Superseded where another attempt has taken over the run that this process publishes for; to call before
    each publish. With `every_s` it looks only that often. Of a run that this process holds no number of, nothing."""
    number = HELD.get(run)
    now = time.clock_gettime(time.CLOCK_BOOTTIME)  # also while the machine slept
    if number is None or now - _looked.get(run, -every_s) < every_s:
        return
    highest = max(numbers(run), default=0)
    if highest > number:
        owner = read(file(run, highest, "lock"))
        who = f" (process {owner.pid} on {owner.host})" if owner else ""
        raise Superseded(
            f"run {run.name} was taken over as attempt {highest}{who}: attempt {number} leaves and writes nothing more",
            "nothing is to be done: the run is continued there",
        )
    _looked[run] = now


def release(run: Path) -> None:
    """Say that the owner has left; the number stays, so that it is never used again."""
    number = HELD.pop(run, None)
    if number is not None:
        with suppress(OSError):
            file(run, number, "end").touch(mode=0o640)


def _release_all(pid: int) -> None:
    if os.getpid() == pid:
        for run in list(HELD):
            release(run)


def _clear(run: Path, highest: int) -> None:
    """Remove what older numbers left."""
    for path in (run / FOLDER).iterdir():
        number = path.name.partition(".")[0]
        if number.isascii() and number.isdigit() and int(number) < highest - KEPT:
            path.unlink(missing_ok=True)


def _beat() -> None:
    """Count up while this process lives, in place: that needs no room on the disk."""
    count = 0
    while True:
        count += 1
        for run, number in list(HELD.items()):
            with suppress(OSError):
                descriptor = os.open(file(run, number, "beat"), os.O_WRONLY | os.O_CREAT, 0o640)
                try:
                    os.pwrite(descriptor, f"{os.getpid():10} {count:12}\n".encode(), 0)
                finally:
                    os.close(descriptor)  # a file server has it from now on
        time.sleep(BEAT_S)
