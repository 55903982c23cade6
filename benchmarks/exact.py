"""The price of `--determinism exact`: seconds a step against `fast`, the same run in one call.

    python benchmarks/exact.py                 1 and 2 ranks on this machine
    python benchmarks/exact.py --ranks 1 4 8   one GPU a rank, where there are GPUs

Both train the recipe mednist on drawn images, in turn, as `medtrain train` does; a step's time is the median of the
distances between the journal's lines, the first ten left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from medtrain.core.console import table
from medtrain.datasets.sources import demo
from medtrain.shards.pack import pack


def main() -> None:
    """Draw the images, train in turn, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--global_batch", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, global batch {options.global_batch} in virtual"
          f" ranks of {options.batch_size}, {options.rounds} rounds of {options.steps} steps", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo.download(folder / "raw", samples=-(-options.global_batch * options.steps * 10 // 8))
        pack(demo.records(folder / "raw"), demo.CLASSES, folder / "shards")
        took: dict[tuple[int, str], list[float]] = {}
        for number in range(options.rounds):
            for ranks in options.ranks:
                for mode in ("fast", "exact"):
                    took.setdefault((ranks, mode), []).append(train(folder, options, ranks, mode, number))
    rows = []
    for ranks in options.ranks:
        fast, exact = (took[ranks, mode] for mode in ("fast", "exact"))
        price = statistics.median(e / f for e, f in zip(exact, fast, strict=True)) - 1
        rows.append((ranks, *(f"{1000 * statistics.median(times):.0f}" for times in (fast, exact)), f"{price:+.0%}"))
    print(table(("ranks", "fast, ms a step", "exact, ms a step", "price"), rows))


def train(folder: Path, options: argparse.Namespace, ranks: int, mode: str, number: int) -> float:
    """Median seconds a step of one epoch."""
    name = f"{mode}-{ranks}-{number}"
    subprocess.run(
        [sys.executable, "-m", "medtrain", "train", "mednist", "--shards", folder / "shards", "--runs",
         folder / "runs", "--run", name, "--epochs", "1", "--batch_size", str(options.batch_size), "--global_batch",
         str(options.global_batch), "--tasks_per_node", str(ranks), "--determinism", mode, "--tracker", "none"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    rows = [json.loads(line) for line in (folder / "runs" / name / "metrics.jsonl").read_text().splitlines()]
    times = [row["time"] for row in rows if row["kind"] == "step"][10:]
    return statistics.median(after - before for before, after in pairwise(times))


if __name__ == "__main__":
    main()
