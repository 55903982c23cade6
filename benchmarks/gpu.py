"""What only a GPU can show, in one script: precision, exact resume, memory, and the rate against a plain PyTorch loop.

    python benchmarks/gpu.py --shards DIR [--seconds 20]

Each part prints one line; the exit code is 1 if a check failed. Figures go to benchmarks/RESULTS.md by hand.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torchvision


def main() -> int:
    """Run every part on the first GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, required=True, help="a packed dataset of 64 px images")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU is visible: nothing to show here", file=sys.stderr)
        return 1
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    faults = []
    for precision in ("bf16", "fp16", "fp32"):
        if not exact_resume(options.shards, precision):
            faults.append(precision)
    rates(options.shards, options.batch, options.rounds)
    print("FAILED: " + ", ".join(faults) if faults else "all checks passed")
    return 1 if faults else 0


def exact_resume(shards: Path, precision: str) -> bool:
    """A run stopped by SIGTERM and resumed has the same tensors and losses as one that nobody touched."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        train(shards, runs, "still", precision)
        process = subprocess.Popen(command("train", shards, runs, "stopped", precision), stdout=subprocess.DEVNULL)
        journal = runs / "stopped" / "metrics.jsonl"
        while process.poll() is None and (not journal.exists() or journal.read_text().count("\n") < 20):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        stopped = process.wait(120)
        subprocess.run([*medtrain(), "resume", "stopped", "--runs", str(runs)], check=True, stdout=subprocess.DEVNULL)
        same = result(runs / "still") == result(runs / "stopped")
        memory = [line for line in (runs / "still" / "train.log").read_text().splitlines() if "GPU memory" in line]
        print(f"{precision}: stopped with exit code {stopped}, resumed {'to the same bits' if same else 'DIFFERENTLY'};"
              f" {memory[-1].rpartition('; ')[2] if memory else 'no memory figure'}")  # fmt: skip
        return same and stopped == 75


def result(run: Path) -> Any:
    """Final tensors by hash and the loss of every step."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    tensors = json.loads((run / "checkpoints/last/manifest.json").read_text())["tensors"]
    return tensors, [(row["step"], row["loss"]) for row in rows if row["kind"] == "step"]


def rates(shards: Path, batch: int, rounds: int) -> None:
    """Images a second of whole training steps from shards, against a plain loop on one batch that stays on the GPU."""
    ours, plain = [], []
    for _ in range(rounds):
        plain.append(plain_rate(batch))
        ours.append(our_rate(shards, batch))
    ratio = statistics.median(ours) / statistics.median(plain)
    print(
        f"DenseNet121 64 px, batch {batch}, bf16: {statistics.median(ours):,.0f} images/s from shards,"
        f" {statistics.median(plain):,.0f} in a plain loop without data: {ratio:.2f}x"
    )


def our_rate(shards: Path, batch: int) -> float:
    """By the times in the journal, without the first steps."""
    with tempfile.TemporaryDirectory() as folder:
        train(shards, Path(folder), "rate", "bf16", "--batch_size", str(batch), "--epochs", "3")
        lines = (Path(folder) / "rate" / "metrics.jsonl").read_text().splitlines()
    steps = [row for row in map(json.loads, lines) if row["kind"] == "step" and row["epoch"] == 3]
    return batch * (len(steps) - 1) / (steps[-1]["time"] - steps[0]["time"])


def plain_rate(batch: int, steps: int = 60) -> float:
    """torchvision's model, autocast and fused Adam, eager."""
    model = torchvision.models.densenet121(num_classes=6).cuda().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    inputs = torch.randn(batch, 3, 64, 64, device="cuda").to(memory_format=torch.channels_last)
    targets = torch.randint(0, 6, (batch,), device="cuda")
    started = 0.0
    for step in range(steps + 10):
        if step == 10:
            torch.cuda.synchronize()
            started = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    return batch * steps / (time.perf_counter() - started)


def medtrain() -> list[str]:
    """The command line of this interpreter's medtrain."""
    return [sys.executable, "-m", "medtrain"]


def command(verb: str, shards: Path, runs: Path, name: str, precision: str, *more: str) -> list[str]:
    """A short training run."""
    place = ["--shards", str(shards), "--runs", str(runs), "--run", name, "--precision", precision, "--tracker", "none"]
    return [*medtrain(), verb, "mednist", *place, "--epochs", "2", "--max_samples", "2000", "--batch_size", "16", *more]


def train(shards: Path, runs: Path, name: str, precision: str, *more: str) -> None:
    """Run it to its end."""
    subprocess.run(command("train", shards, runs, name, precision, *more), check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
