"""How fast a run stops and starts again: from the signal to a durable checkpoint, from a kill to the next step.

    python benchmarks/stop.py                            200 signals and 20 kills, 2 ranks on this machine
    python benchmarks/stop.py --signals 50 --ranks 8     one GPU a rank, where there are GPUs

A rank drawn by chance gets SIGTERM (or SIGKILL) from outside at a moment drawn by chance; the supervisor starts the
run again by itself, imports included. Goals: the 99th percentile of the first is at most one step, the save and 0.5 s;
the second is under 15 s. Both times are taken from outside, by looking at the run's files every millisecond.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from medtrain.core.console import table
from medtrain.core.jsonfiles import read_json_lines
from medtrain.datasets.sources import demo
from medtrain.runs.run import Run
from medtrain.shards.pack import pack

SAVED, RESUMED = r"saved at step", r"resuming at step ([\d,]+)"


def main() -> None:
    """Draw the images, stop and kill one run again and again, print two lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--image_size", type=int, default=64)
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, {options.ranks} ranks", flush=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        demo.download(folder / "raw", samples=600)
        pack(demo.records(folder / "raw"), demo.CLASSES, folder / "shards")
        command = [
            sys.executable, "-m", "medtrain", "train", "mednist", "--shards", folder / "shards", "--runs", folder,
            "--run", "stops", "--epochs", "1000000", "--patience", "0", "--tasks_per_node", str(options.ranks),
            "--image_size", str(options.image_size), "--every_steps", "20", "--tracker", "none",
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as supervisor:
            try:
                measure(Run(folder / "stops"), supervisor, options)
            finally:
                supervisor.kill()  # which ends its ranks


def measure(run: Run, supervisor: subprocess.Popen[bytes], options: argparse.Namespace) -> None:
    """Signals and kills in a drawn order; prints what they took."""
    draw = random.Random(0)
    numbers = [signal.SIGTERM] * options.signals + [signal.SIGKILL] * options.kills
    draw.shuffle(numbers)
    durable, again, saves, lengths = [], [], [], []
    wait(lambda: run.last_step() > 0, supervisor)
    for number in numbers:
        time.sleep(draw.uniform(0, 1))
        lengths += [later - time_ for time_, later in pairwise(steps(run)[-5:])]
        to_save, to_step = end_one(run, supervisor, draw.choice(workers(supervisor)), number)
        if number == signal.SIGTERM:
            durable.append(to_save)
            saves.append(run.status().get("save_seconds", 0.0))
        else:
            again.append(to_step)
    step, save = statistics.median(lengths), statistics.median(saves)
    rows = [
        ("signal to durable", len(durable), *percentiles(durable), f"{step + save + 0.5:.2f} (p99)"),
        ("kill to next step", len(again), *percentiles(again), "15"),
    ]
    print(f"a step takes {step:.3f} s (median), a save {save:.3f} s")
    print(table(("seconds from", "times", "median", "p99", "slowest", "goal"), rows))


def end_one(run: Run, supervisor: subprocess.Popen[bytes], rank: int, number: int) -> tuple[float, float]:
    """Signal a rank, and wait until the run trains again; seconds to a durable checkpoint (0 for a kill), and to the
    next step."""
    seen, sent, saved = run.log.stat().st_size, time.time(), 0.0
    os.kill(rank, number)
    if number == signal.SIGTERM:
        wait(lambda: said(run, SAVED, seen), supervisor)
        saved = time.time() - sent
    wait(lambda: said(run, RESUMED, seen), supervisor)
    first = int(said(run, RESUMED, seen)[-1].replace(",", "")) + 1
    wait(lambda: last_step(run) >= first, supervisor)
    trains = time.time() - sent
    wait(lambda: last_step(run) >= first + 4, supervisor)
    if number == signal.SIGKILL:  # several in a row without a newer checkpoint end the run
        wait(lambda: run.last_step() >= first, supervisor)
    return saved, trains


def percentiles(times: list[float]) -> tuple[str, str, str]:
    """Median, 99th percentile, and the slowest."""
    return tuple(f"{np.percentile(times, q):.2f}" for q in (50, 99, 100)) if times else ("", "", "")  # type: ignore


def wait(holds: Callable[[], object], supervisor: subprocess.Popen[bytes]) -> None:
    """Look every millisecond; a run that ends by itself is an error."""
    deadline = time.monotonic() + 120
    while not holds():
        if supervisor.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the run does not go on (exit code {supervisor.returncode})")
        time.sleep(0.001)


def said(run: Run, pattern: str, seen: int) -> list[str]:
    """What the log has of a pattern, beyond the bytes that were there before."""
    with run.log.open("rb") as file:
        file.seek(seen)
        return re.findall(pattern, file.read().decode(errors="replace"))


def steps(run: Run) -> list[float]:
    """When the steps in the journal were written."""
    return [row["time"] for row in read_json_lines(run.journal) if row["kind"] == "step"]


def last_step(run: Run) -> int:
    """The last step in the journal."""
    with run.journal.open("rb") as file:
        file.seek(max(0, run.journal.stat().st_size - 2000))
        rows = [json.loads(line) for line in file.read().split(b"\n")[1:-1]]
    return max((row["step"] for row in rows if row["kind"] == "step"), default=0)


def workers(supervisor: subprocess.Popen[bytes]) -> list[int]:
    """The ranks."""
    found = subprocess.run(
        ["pgrep", "-P", str(supervisor.pid), "-f", "medtrain.launch.rank_main"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(pid) for pid in found.stdout.split()]


if __name__ == "__main__":
    main()
