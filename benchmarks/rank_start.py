"""What a start costs, beside another checkout: of a rank to its first step, of `resume`, and after a rank was killed.

    python benchmarks/rank_start.py --before DIR [--rounds 11] [--ranks 2] [--recipe "demo --backbone densenet121"]

Rounds take turns. In each: `medtrain resume`; at the first step after it the CPU seconds of rank 0 (its threads and the
processes that it started and that live), the seconds since the command, and the memory (PSS) of everything that runs;
then SIGKILL of the last rank, and the seconds to the next step. Then the run is stopped, and goes on in the next round.
Steps are seen by looking at the run's journal every 2 ms. Medians; a run uses its own copy of the code, as ever.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from same_bits import HERE, command

from medtrain.core.console import table
from medtrain.core.jsonfiles import read_json_lines

SETTINGS = (  # small samples: a step's own time is the same in both
    "--epochs 1000000 --patience 0 --batch_size 2 --image_size 32 --accumulate 1 --max_samples 400 --workers 1"
    " --precision fp32 --tracker none --weights '' --every_steps 4"
)
FIGURES = ("rank to first step, CPU s", "resume to first step, s", "SIGKILL to next step, s", "memory (PSS), MB")
LIMIT_S = 120
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Make a run with each checkout, take turns, print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="folder of the other checkout")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--recipe", default="demo --backbone densenet121", help="a recipe on `demo`, and its settings")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        places = {options.before.absolute(): Path(name) / "before", HERE: Path(name) / "here"}
        for checkout, folder in places.items():
            begin(checkout, folder, options)
        rows: dict[Path, list[list[float]]] = {checkout: [] for checkout in places}
        for number in range(options.rounds):
            for checkout, folder in places.items():
                rows[checkout].append(measured(checkout, folder))
            latest = [" ".join(f"{value:.2f}" for value in of_one[-1]) for of_one in rows.values()]
            print(f"round {number + 1}: before {latest[0]}, here {latest[1]}", file=sys.stderr, flush=True)
    show(options, *rows.values())


def show(options: argparse.Namespace, before: list[list[float]], here: list[list[float]]) -> None:
    """The medians of both checkouts, and their ratio."""
    lines = []
    for figure, old, new in zip(FIGURES, zip(*before, strict=True), zip(*here, strict=True), strict=True):
        first, second = statistics.median(old), statistics.median(new)
        lines.append((figure, f"{first:.2f}", f"{second:.2f}", f"{second / first:.2f}"))
    print(f"{options.recipe}, {options.ranks} ranks, {options.rounds} interleaved rounds, {os.cpu_count()} cores")
    print(table(("median of", "before", "here", "ratio"), lines))


def begin(checkout: Path, folder: Path, options: argparse.Namespace) -> None:
    """A run that has made some steps."""
    for words in (f"data download demo --root {folder}/raw", f"shard demo --root {folder}/raw --out {folder}/packed"):
        subprocess.run(**command(checkout, words), check=True, capture_output=True)
    small = f"{SETTINGS} --tasks_per_node {options.ranks}"
    words = f"train {options.recipe} --run run --runs {folder} --shards {folder}/packed {small}"
    with started(checkout, words) as process:
        wait_for_steps(folder, 0.0, 8)
        stop(process)


def measured(checkout: Path, folder: Path) -> list[float]:
    """The figures of one round, in the order of FIGURES."""
    asked = time.time()
    with started(checkout, f"resume run --runs {folder} --here") as process:
        first = wait_for_steps(folder, asked)
        ranks = sorted(ranks_of(process.pid), key=lambda pid: environment(pid)["RANK"])
        cpu = sum(map(cpu_seconds, [ranks[0], *descendants(ranks[0])]))
        wait_for_steps(folder, asked, 4)
        memory = sum(map(pss_mb, [process.pid, *descendants(process.pid)]))
        killed = time.time()
        os.kill(ranks[-1], signal.SIGKILL)
        # What was on its way when the rank died was a step of before.
        again = wait_for_steps(folder, killed, gone=ranks)
        stop(process)
    return [cpu, first - asked, again - killed, memory]


def started(checkout: Path, words: str) -> subprocess.Popen[bytes]:
    """A command of a checkout, silent."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(**command(checkout, words), **quiet)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask for the end, and wait for it."""
    process.send_signal(signal.SIGTERM)
    process.wait(LIMIT_S)


def wait_for_steps(folder: Path, since: float, count: int = 1, gone: list[int] | None = None) -> float:
    """Until the journal has `count` steps made after `since`, and after these processes ended; when that was seen."""
    limit = time.time() + LIMIT_S
    while time.time() < limit:
        time.sleep(0.002)
        if gone:
            gone = list(filter(cmdline, gone))
            since = time.time()
            continue
        rows = read_json_lines(folder / "run" / "metrics.jsonl")
        if sum(row["kind"] == "step" and row["time"] > since for row in rows) >= count:
            return time.time()
    sys.exit(f"{folder}: no step in {LIMIT_S} s; see {folder}/run/train.log")


def descendants(pid: int) -> Iterator[int]:
    """Processes below one, that live now."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from descendants(child)


def ranks_of(supervisor: int) -> list[int]:
    """The processes that train."""
    names = ("medtrain.launch.rank_main", "medtrain.worker")
    return [pid for pid in descendants(supervisor) if any(name in cmdline(pid) for name in names)]


def cmdline(pid: int) -> list[str]:
    """The words that a process was started with; none of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def environment(pid: int) -> dict[str, str]:
    """The variables that a process was started with."""
    return dict(pair.split("=", 1) for pair in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in pair)


def cpu_seconds(pid: int) -> float:
    """What a process has computed, with what it waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICKS


def pss_mb(pid: int) -> float:
    """A process's memory, of shared pages its share."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    main()
