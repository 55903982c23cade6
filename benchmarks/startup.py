"""Measures what `medtrain --help` costs beside `python -c pass`: median of interleaved runs, ratio and difference."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "medtrain --help": ["-m", "medtrain", "--help"],
    "medtrain recipes": ["-m", "medtrain", "recipes"],
    "medtrain train mednist --help": ["-m", "medtrain", "train", "mednist", "--help"],
    "python -c 'import torch'": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float:
    """Wall time of one fresh Python."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of each command; the commands take turns, so that a busy moment of the machine hits all alike."""
    for arguments in COMMANDS.values():  # once for the file cache and the .pyc files
        seconds(arguments)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    return times


def main() -> None:
    """Print one line a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="runs of each command")
    rounds = parser.parse_args().rounds
    times = measure(rounds)
    base = statistics.median(times["python -c pass"])
    print(f"median of {rounds} interleaved runs, Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(
            f"{name:<30}  {median * 1e3:8.1f} ms  (fastest {min(taken) * 1e3:.1f})"
            f"  {median / base:6.2f} x bare Python  {(median - base) * 1e3:+.1f} ms"
        )


if __name__ == "__main__":
    main()
