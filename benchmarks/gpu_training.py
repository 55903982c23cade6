"""Whole training steps of medtrain against timm's and torchvision's, in bf16, on one GPU in one call.

    python benchmarks/gpu_training.py [--backbone convnext_large] [--batch 32] [--size 224] [--rounds 3]
    python benchmarks/gpu_training.py --backbone densenet169 --batch 8 --size 320 --outputs 1 \\
        --contenders "torchvision, eager" "timm, eager" "medtrain, compiled" "medtrain, eager"

The contenders take turns, each time in a process of its own: torchvision's model, eager; timm's, eager and compiled, on
a batch that stays on the GPU; medtrain's model, loss and optimizer on such a batch, as written and with its blocks
compiled; and `medtrain train chest --compile blocks` from shards of drawn X-rays, with augmentation, saving every 20
steps (always 14 outputs). All but torchvision's unless others are named; the last is set against each.
Medians of images a second and of the most memory (of the GPU's tensors, or of the process on the CPU), ratios, and what
a save adds to a step (95th percentile). Without a GPU it says so (exit code 1); with `--cpu` it runs there: a small
network proves the script, and eager steps of any can be compared.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from torch import nn

from medtrain import models
from medtrain.config.schema import ModelConfig, OptimConfig
from medtrain.core.console import table
from medtrain.datasets.sources import chest_demo
from medtrain.loading.batch import Batch
from medtrain.models.compile import compile_blocks
from medtrain.shards.pack import PackOptions, pack
from medtrain.tasks.abnormality import Abnormality
from medtrain.tasks.multilabel import Multilabel
from medtrain.training.optim import make_optimizer

WARM, TIMED, SAVE_EVERY = 15, 60, 20
STEPS = ("torchvision, eager", "timm, eager", "timm, compiled", "medtrain, eager", "medtrain, compiled")
FROM_SHARDS = "medtrain, from shards"


def main() -> int:
    """Measure by turns; print one table and the price of a save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="convnext_large")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--outputs", type=int, choices=(14, 1), default=14, help="chest X-rays' labels, or MURA's one")
    parser.add_argument("--contenders", nargs="+", choices=(*STEPS, FROM_SHARDS), default=[*STEPS[1:], FROM_SHARDS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.cpu:
        print("no GPU is visible: nothing to show here", file=sys.stderr)
        return 1
    name = f"CPU with {torch.get_num_threads()} thread(s)" if options.cpu else torch.cuda.get_device_name()
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {name}, {versions}")
    print(f"{options.backbone}, {options.size} px, batch {options.batch}, {options.rounds} rounds", flush=True)
    stalls: list[float] = []
    measured: dict[str, list[tuple[float, float]]] = {contender: [] for contender in options.contenders}
    with tempfile.TemporaryDirectory() as folder:
        shards = drawn(Path(folder), options.batch) if FROM_SHARDS in measured else Path()
        for _ in range(options.rounds):
            for contender, own in measured.items():
                if contender == FROM_SHARDS:
                    own.append((trained(shards, Path(folder), options, stalls), float("nan")))
                else:
                    with ProcessPoolExecutor(1, get_context("spawn")) as process:
                        own.append(process.submit(measure, contender, options).result())
    show(measured)
    if stalls:
        print(f"a save adds to a step: p95 {np.percentile(stalls, 95):.1f} ms, median {np.median(stalls):.1f} ms")
    return 0


def show(measured: dict[str, list[tuple[float, float]]]) -> None:
    """One table: medians of images a second and GB of each round, and of the last contender's ratios to each."""
    *_, (name, last) = measured.items()
    rows = []
    for contender, own in measured.items():
        pairs = list(zip(last, own, strict=True))
        cells = (
            statistics.median(rate for rate, _ in own),
            statistics.median(ours[0] / theirs[0] for ours, theirs in pairs),
            statistics.median(peak for _, peak in own),
            statistics.median(ours[1] / theirs[1] for ours, theirs in pairs),
        )
        rows.append((contender, *("-" if math.isnan(cell) else f"{cell:,.2f}" for cell in cells)))
    print(table(("contender", "images/s", f"{name} is times that", "peak GB", "and times that"), rows))


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


def measure(contender: str, options: argparse.Namespace) -> tuple[float, float]:
    """Images a second of a contender's step that is done over and over, and the most memory that it took, in GB."""
    device = "cpu" if options.cpu else "cuda"
    library, how = contender.split(", ")
    make = our_step if library == "medtrain" else partial(peer_step, library)
    step = make(options, device, how == "compiled")
    steps = TIMED if device == "cuda" else 3
    for _ in range(WARM if device == "cuda" else 1):
        step()
    wait(device)
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    wait(device)
    seconds = time.perf_counter() - begun
    resident = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else resident
    return options.batch * steps / seconds, peak / 1e9


def wait(device: str) -> None:
    """Until the GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def peer_step(library: str, options: argparse.Namespace, device: str, compiled: bool) -> Callable[[], None]:
    """What timm's train.py does of a step with --channels-last --amp --amp-dtype bfloat16 --opt adamw, or with the
    model of torchvision, whose own script keeps the channels first."""
    images = torch.randn(options.batch, 3, options.size, options.size, device=device)
    if library == "timm":
        model: nn.Module = timm.create_model(options.backbone, num_classes=options.outputs).to(device)
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    else:
        model = torchvision.models.get_model(options.backbone, weights=None, num_classes=options.outputs).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.05, fused=device == "cuda")
    called = torch.compile(model.train()) if compiled else model.train()
    targets = torch.randint(0, 2, (options.batch, options.outputs), device=device).float()

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            loss = nn.functional.binary_cross_entropy_with_logits(called(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_step(options: argparse.Namespace, device: str, compiled: bool) -> Callable[[], None]:
    """medtrain's network, loss and optimizer on one batch."""
    task = Abnormality(("bone",)) if options.outputs == 1 else Multilabel(chest_demo.CLASSES, 2.0)
    model = models.build(ModelConfig(options.backbone, channels=3), task.outputs).to(device)
    model = model.to(memory_format=torch.channels_last).train()
    if compiled:
        compile_blocks(options.backbone, models.blocks(options.backbone, model))
    optimizer = make_optimizer(OptimConfig(optimizer="adamw", lr=5e-5, weight_decay=0.05), model)
    images = torch.randn(options.batch, 3, options.size, options.size, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (options.batch, task.outputs), device=device, dtype=torch.int8)
    batch = Batch(images, labels, np.arange(options.batch), np.full(task.outputs, options.batch))

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
    command = [sys.executable, "-m", "medtrain", *map(str, words)]
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
