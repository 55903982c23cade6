"""ConvNeXt-Large at 224 px, batch 32, bf16: whole training steps of medtrain against timm's, on one GPU in one call.

    python benchmarks/gpu_training.py [--backbone convnext_large] [--batch 32] [--size 224] [--rounds 3]

Five contenders by turns: timm's model, eager and compiled, on a batch that stays on the GPU; medtrain's model, loss and
optimizer on such a batch, as written and with its blocks compiled; and `medtrain train --compile blocks` from shards of
drawn X-rays, with augmentation, saving every 20 steps.
Medians of images a second, ratios, and what a save adds to a step (95th percentile). Without a GPU it says so (exit
code 1); with `--cpu` it runs there with a small network, which proves the script and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn

from medtrain import models
from medtrain.compiling import compile_blocks
from medtrain.config import ModelConfig, OptimConfig
from medtrain.console import table
from medtrain.datasets import chest_demo
from medtrain.loader import Batch
from medtrain.optim import make_optimizer
from medtrain.shards import PackOptions, pack
from medtrain.tasks.multilabel import Multilabel

WARM, TIMED, SAVE_EVERY = 15, 60, 20


def main() -> int:
    """Measure by turns; print one table and the price of a save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="convnext_large")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.cpu:
        print("no GPU is visible: nothing to show here", file=sys.stderr)
        return 1
    device = "cpu" if options.cpu else "cuda"
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    versions = f"torch {torch.__version__}, timm {timm.__version__}"
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {name}, {versions}, {options.backbone}")
    with tempfile.TemporaryDirectory() as folder:
        shards = drawn(Path(folder), options.batch)
        stalls: list[float] = []
        contenders: dict[str, Callable[[], float]] = {
            "timm, eager": lambda: rate(timm_step(options, device, compiled=False), options.batch, device),
            "timm, compiled": lambda: rate(timm_step(options, device, compiled=True), options.batch, device),
            "medtrain, eager": lambda: rate(our_step(options, device, compiled=False), options.batch, device),
            "medtrain, compiled": lambda: rate(our_step(options, device, compiled=True), options.batch, device),
            "medtrain, from shards": lambda: trained(shards, Path(folder), options, stalls),
        }
        rates: dict[str, list[float]] = {contender: [] for contender in contenders}
        for _ in range(options.rounds):
            for contender, measure in contenders.items():
                rates[contender].append(measure())
    first = rates["medtrain, from shards"]
    rows = [
        (
            contender,
            f"{statistics.median(own):,.1f}",
            f"{statistics.median(a / b for a, b in zip(first, own, strict=True)):.2f}",
        )
        for contender, own in rates.items()
    ]
    print(table(("contender", "images/s", "medtrain from shards is times that"), rows))
    print(f"a save adds to a step: p95 {np.percentile(stalls, 95):.1f} ms, median {np.median(stalls):.1f} ms")
    return 0


def drawn(folder: Path, batch: int) -> Path:
    """A packed dataset with as many training images as the timed steps take."""
    chest_demo.download(folder / "raw", samples=int(batch * (WARM + TIMED) / 0.7))
    pack(
        chest_demo.records(folder / "raw"),
        chest_demo.CLASSES,
        folder / "shards",
        PackOptions(encoding="jpeg", size=256),
    )
    return folder / "shards"


def rate(step: Callable[[], None], batch: int, device: str) -> float:
    """Images a second of a step that is done over and over."""
    steps = TIMED if device == "cuda" else 3
    for _ in range(WARM if device == "cuda" else 1):
        step()
    wait(device)
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    wait(device)
    return batch * steps / (time.perf_counter() - begun)


def wait(device: str) -> None:
    """Until the GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def timm_step(options: argparse.Namespace, device: str, compiled: bool) -> Callable[[], None]:
    """What timm's train.py does of a step with --channels-last --amp --amp-dtype bfloat16 --opt adamw."""
    model: nn.Module = timm.create_model(options.backbone, num_classes=14).to(device)
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.05, fused=device == "cuda")
    called = torch.compile(model) if compiled else model
    images = torch.randn(options.batch, 3, options.size, options.size, device=device)
    images = images.to(memory_format=torch.channels_last)
    targets = torch.randint(0, 2, (options.batch, 14), device=device).float()

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            loss = nn.functional.binary_cross_entropy_with_logits(called(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_step(options: argparse.Namespace, device: str, compiled: bool) -> Callable[[], None]:
    """medtrain's network, focal loss and optimizer on one batch."""
    task = Multilabel(chest_demo.CLASSES, 2.0)
    model = models.build(ModelConfig(options.backbone, channels=3), task.outputs).to(device)
    model = model.to(memory_format=torch.channels_last).train()
    if compiled:
        compile_blocks(options.backbone, models.blocks(options.backbone, model))
    optimizer = make_optimizer(OptimConfig(optimizer="adamw", lr=5e-5, weight_decay=0.05), model)
    images = torch.randn(options.batch, 3, options.size, options.size, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (options.batch, 14), device=device, dtype=torch.int8)
    batch = Batch(images, labels, np.arange(options.batch), np.full(14, options.batch))

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            logits = model(images)
        task.loss(logits, batch).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def trained(shards: Path, folder: Path, options: argparse.Namespace, stalls: list[float]) -> float:
    """Images a second of a real run, by the times in its journal; `stalls` gets what saves add to their steps, ms."""
    name = f"run-{time.monotonic_ns()}"
    words = [
        "train", "chest", "--shards", shards, "--runs", folder, "--run", name, "--tracker", "none", "--weights", "",
        "--backbone", options.backbone, "--image_size", options.size, "--batch_size", options.batch, "--epochs", 1,
        "--precision", "bf16", "--every_steps", SAVE_EVERY, "--compile", "blocks",
    ]  # fmt: skip
    command = [sys.executable, "-m", "medtrain.cli", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = (folder / name / "metrics.jsonl").read_text().splitlines()
    steps = [row for row in map(json.loads, lines) if row["kind"] == "step"][WARM:]
    seconds = {row["step"]: row["time"] - before["time"] for before, row in pairwise(steps)}
    calm = statistics.median(took for step, took in seconds.items() if step % SAVE_EVERY > 2)
    # A step's line is written one step later: the save before it may show in either.
    stalls += [
        1000 * (max(seconds.get(step, 0.0), seconds.get(step + 1, 0.0)) - calm)
        for step in seconds
        if step % SAVE_EVERY == 0
    ]
    return options.batch * (len(steps) - 1) / float(steps[-1]["time"] - steps[0]["time"])


if __name__ == "__main__":
    sys.exit(main())
