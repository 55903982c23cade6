"""The start of ranks from an environment on a slow shared filesystem, unpacked and packed, in turn.

    python benchmarks/packed_environment.py [--image FILE] [--ranks 2 16] [--rounds 1] [--delay_ms 5]

A FUSE filesystem (mfusepy) answers each call that names a path (getattr, readlink, readdir, open) after a delay, and
counts it. On it lie the environment, `medtrain env pack` of it (--image: made before), and the run's copy of medtrain.
A start: N processes, as a node's ranks, that import what a rank imports, until the last has. The filesystem keeps what
it has told a second, as kernels do of shared ones; each start has it mounted anew. Reading is not delayed, and what the
unpacked environment has been read of before is in memory; the packed one is decompressed anew at each start. The last
column is a start without any such filesystem, from the disk of this machine: less is not to be had.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import mfusepy

from medtrain.core.console import table
from medtrain.launch.environment_mount import archive_code, mounted
from medtrain.launch.environment_pack import pack
from medtrain.runs.code_snapshot import MANIFEST

HERE = Path(__file__).resolve().parents[1]
RANK = (  # in the order of medtrain.launch.rank_main
    "import sys; sys.path.insert(0, sys.argv[1]); import gc, medtrain.launch.rank_main; "
    "from medtrain.core import deferred_imports; deferred_imports.install(); gc.disable(); "
    "import medtrain.training.loop, os; os._exit(0)"  # to take it all down again is no part of a start
)
FIGURES = ("path calls", "seconds")


class Slow(mfusepy.Operations):  # type: ignore[misc]
    """Folders and files by the names that they have here, each call for a path delayed and counted."""

    use_ns = True

    def __init__(self, places: dict[str, Path], delay_s: float) -> None:
        self.places, self.delay_s = places, delay_s
        self.calls = 0
        self._lock = threading.Lock()

    def _path(self, path: str) -> str:
        with self._lock:
            self.calls += 1
        time.sleep(self.delay_s)
        if path == "/":
            return "/"
        name, _, rest = path.lstrip("/").partition("/")
        if name not in self.places:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return str(self.places[name] / rest)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """As of the file behind it."""
        told = os.lstat(self._path(path))
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_atime_ns", "st_ctime_ns")
        return {name.removesuffix("_ns"): getattr(told, name) for name in names}

    def readlink(self, path: str) -> str:
        """Likewise."""
        return str(Path(self._path(path)).readlink())

    def readdir(self, path: str, fh: int) -> Iterator[str]:
        """Likewise."""
        yield from (".", "..")
        yield from (each.name for each in Path(self._path(path)).iterdir()) if path != "/" else self.places

    def open(self, path: str, flags: int) -> int:
        """Likewise."""
        return os.open(self._path(path), os.O_RDONLY)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """No path is looked up: not delayed."""
        return os.pread(fh, size, offset)

    def release(self, path: str, fh: int) -> None:
        """Likewise."""
        os.close(fh)


@contextmanager
def slow(places: dict[str, Path], delay_s: float) -> Iterator[tuple[Path, Slow]]:
    """The filesystem, mounted, and its counter."""
    with tempfile.TemporaryDirectory() as name:
        operations = Slow(places, delay_s)
        options = {"foreground": True, "ro": True, "attr_timeout": 1, "entry_timeout": 1}
        server = threading.Thread(target=mfusepy.FUSE, args=(operations, name), kwargs=options, daemon=True)
        server.start()
        while not os.path.ismount(name):
            time.sleep(0.01)
        try:
            yield Path(name), operations
        finally:
            subprocess.run(["fusermount3", "-uz", name], check=True)
            server.join(10)


def installed(ranks: int, places: dict[str, Path], delay_s: float) -> tuple[float, float]:
    """Seconds of one start from what is installed here."""
    command = [sys.executable, "-c", RANK, str(places["code"])]
    return 0, seconds_of(ranks, command, {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"})


def seconds_of(ranks: int, command: list[str], env: dict[str, str]) -> float:
    """How long it takes until the last of these has ended."""
    began = time.perf_counter()
    codes = [process.wait() for process in [subprocess.Popen(command, env=env, cwd="/") for _ in range(ranks)]]
    assert not any(codes), codes
    return time.perf_counter() - began


def started(packed: bool, ranks: int, places: dict[str, Path], delay_s: float) -> tuple[float, float]:
    """Path calls and seconds of one start."""
    with slow(places, delay_s) as (folder, counter), tempfile.TemporaryDirectory() as scratch:
        words = ["python3", "-c", RANK, str(folder / "code")]  # as processes.command has them
        own = [str(folder / "environment" / "bin" / "python3"), *words[1:]]
        command = mounted(str(folder / "image"), words) if packed else own
        library = {} if packed else {"LD_LIBRARY_PATH": str(folder / "environment" / "lib")}
        env = {"PATH": os.environ["PATH"], "TMPDIR": scratch, "OMP_NUM_THREADS": "1", **library}
        before, seconds = counter.calls, seconds_of(ranks, command, env)
        calls = counter.calls - before
        while any(scratch in line for line in Path("/proc/mounts").read_text().splitlines()):
            time.sleep(0.05)
        return calls, seconds


STARTS = {"unpacked": partial(started, False), "packed": partial(started, True), "no delay": installed}


def main() -> None:
    """Pack, take turns, print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 16])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--delay_ms", type=float, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        image = options.image or pack(Path(name) / "environment.squashfs", sys.executable).file
        unpacked = Path(name) / "environment"
        unpacked.mkdir()
        subprocess.run(["squashfuse_ll", "-o", "ro", image, unpacked], check=True)
        code = Path(name) / "code"  # as in the folder of a run
        shutil.copytree(HERE / "medtrain", code / "medtrain")
        (code / MANIFEST).touch()
        archive_code(code)
        places = {"environment": unpacked, "image": image.absolute(), "code": code}
        lines = []
        try:
            started(False, 1, places, 0)
            turns = [(ranks, name) for ranks in options.ranks for name in STARTS]
            found: dict[tuple[int, str], list[tuple[float, float]]] = {turn: [] for turn in turns}
            for (ranks, name), rows in [*found.items()] * options.rounds:
                rows.append(STARTS[name](ranks, places, options.delay_ms / 1000))
                print(ranks, name, rows[-1], "load", os.getloadavg()[0], file=sys.stderr, flush=True)
            for ranks in options.ranks:
                for number, figure in enumerate(FIGURES):
                    medians = [median(row[number] for row in found[ranks, name]) for name in STARTS]
                    ratio = medians[0] / medians[1]
                    lines.append((ranks, figure, *(f"{each:,.1f}" for each in medians), f"{ratio:,.1f}"))
        finally:
            subprocess.run(["fusermount3", "-uz", unpacked], check=True)
    print(f"{options.delay_ms:g} ms a path call, median of {options.rounds}, {os.cpu_count()} cores")
    print(table(("ranks", "median of", *STARTS, "ratio"), lines))


if __name__ == "__main__":
    main()
