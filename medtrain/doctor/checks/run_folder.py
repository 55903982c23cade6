"""Checks of the folder that holds runs and shards: what training does to files must work there."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from medtrain.doctor.checks import Finding, fail, ok, warn

ROOM_GB = 10.0
INODES = 10_000
CLOCK_SECONDS = 2.0


def writing(folder: Path) -> Finding:
    """Everything that a run does to files: write, sync, rename over, link; no lock is needed."""
    try:
        place = Path(tempfile.mkdtemp(prefix=".medtrain-doctor-", dir=folder))
    except OSError as error:
        missing = f"make it: mkdir -p {folder.absolute()}   or " if not folder.exists() else ""
        return fail(
            f"{folder.absolute()} cannot be written ({error.strerror})",
            f"{missing}choose another: --folder DIR (and train with --runs DIR)",
        )
    try:
        for what, step in STEPS.items():
            try:
                step(place)
            except OSError as error:
                return fail(
                    f"{folder.absolute()}: it is not possible to {what} ({error.strerror})",
                    "choose a folder on another file system",
                )
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return ok(f"{folder.absolute()} ({kind(folder)}): one can {', '.join(STEPS)}")


def _write(place: Path) -> None:
    (place / "a").write_bytes(b"old")
    (place / "b").write_bytes(b"new" * 100_000)


def _sync(place: Path) -> None:
    for path in (place / "b", place):  # a folder too: without it a rename may be lost with the power
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rename(place: Path) -> None:
    (place / "b").replace(place / "a")
    if (place / "a").read_bytes() != b"new" * 100_000 or (place / "b").exists():
        raise OSError(0, "the content is not what was written")


def _append(place: Path) -> None:
    for letter in (b"1", b"2"):
        with (place / "log").open("ab") as file:
            file.write(letter)
    if (place / "log").read_bytes() != b"12":
        raise OSError(0, "the content is not what was written")


def _link(place: Path) -> None:
    for target in ("a", "log"):  # the second replaces the first, as `last` does at each save
        (place / "new").symlink_to(target)
        (place / "new").replace(place / "last")
    if (place / "last").resolve() != (place / "log").resolve():
        raise OSError(0, "the link leads elsewhere")


STEPS: dict[str, Callable[[Path], None]] = {
    "write": _write, "sync": _sync, "rename": _rename, "append": _append, "link": _link,
}  # fmt: skip


def room(folder: Path) -> Finding:
    """Free space and free inodes."""
    there = os.statvfs(folder)
    return room_finding(there.f_bavail * there.f_frsize / 1e9, there.f_favail if there.f_files else None)


def room_finding(free_gb: float, inodes: int | None) -> Finding:
    """What to say about so much room; `inodes` is None where the file system has no limit."""
    text = f"{free_gb:,.1f} GB free" + ("" if inodes is None else f", {inodes:,} more files possible")
    if free_gb < ROOM_GB or (inodes is not None and inodes < INODES):
        return warn(f"{text}: checkpoints need room", "make room, or choose another folder: --runs DIR")
    return ok(f"{text} (a quota of yours may be less)")


def privacy(folder: Path) -> Finding:
    """Whether others could change what you write."""
    umask = os.umask(0o077)
    os.umask(umask)
    if not umask & stat.S_IWOTH:
        return warn(
            f"umask is {umask:03o}: everybody may change the files that you make", "put into ~/.bashrc: umask 077"
        )
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return warn(f"{folder.absolute()} may be changed by everybody", f"chmod o-w {folder.absolute()}")
    return ok(f"umask {umask:03o}; others cannot change the folder; run folders are yours alone (700)")


def clock(folder: Path) -> Finding:
    """Whether the file server's clock and this machine's agree."""
    return clock_finding(*written(folder))


def written(folder: Path) -> tuple[float, float, float]:
    """When a file was written by the file server's clock, and this machine's time before and after."""
    with tempfile.NamedTemporaryFile(prefix=".medtrain-doctor-", dir=folder) as file:
        before = time.time()
        os.write(file.fileno(), b"now")
        os.fsync(file.fileno())
        stamp = os.fstat(file.fileno()).st_mtime
        return stamp, before, time.time()


def clock_finding(written: float, before: float, after: float) -> Finding:
    """What to say about a file that was `written` between `before` and `after` of this machine's clock."""
    off = written - after if written > after else min(written - before, 0.0)
    if abs(off) > CLOCK_SECONDS:
        ahead = "ahead of" if off > 0 else "behind"
        return warn(
            f"the file system's clock is {abs(off):.0f} s {ahead} this machine's", "ask your administrator (NTP)"
        )
    return ok(f"the file system's clock agrees with this machine's within {CLOCK_SECONDS:.0f} s")


def sharing(folder: Path) -> Finding | None:
    """Whether other nodes of a cluster could see the folder."""
    if shutil.which("sbatch") is None:
        return None
    if kind(folder) in ("tmpfs", "ramfs", "overlay"):
        return warn(
            f"{folder.absolute()} is on {kind(folder)}, which other nodes cannot see",
            "keep runs and shards on your cluster's shared file system: --folder DIR",
        )
    return ok(f"{folder.absolute()} is on {kind(folder)}")


def kind(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the file system (ext4, nfs4, lustre), or `unknown`."""
    best = ("", "unknown")
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return best[1]
    here = folder.resolve()
    for line in lines:
        _, point, name = line.split(" ")[:3]
        point = point.encode().decode("unicode_escape")  # a blank is written \\040
        if here.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, name)
    return best[1]
