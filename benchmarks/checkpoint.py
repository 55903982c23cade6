"""How long a save holds up training: medtrain against torch.save and torch.distributed.checkpoint, in one run.

    python benchmarks/checkpoint.py                     about 1 GB of weights and moments, in a temporary folder
    python benchmarks/checkpoint.py --folder /scratch   on the filesystem that counts

The stall is the time until the call returns, after which training may change the tensors; `torch.save` returns when
all is written, and is followed by fsync, as a checkpoint that survives a power loss needs. Durable is the time until
the others have written too (medtrain hashes, syncs and renames besides). Rounds are interleaved, and each save is
waited for before the next begins. A ratio is the median over the rounds of peer / ours.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch import nn

from medtrain.checkpoints.retention import CheckpointStore
from medtrain.checkpoints.writer import Team
from medtrain.config.schema import CheckpointConfig
from medtrain.core.console import table
from medtrain.runs.checkpoint_manifest import TrainState
from medtrain.training.optim import optimizer_tensors

Contender = Callable[[int], tuple[float, float]]  # round -> seconds of stall, seconds until durable
GOALS = {"torch.save + fsync": 6.0, "DCP async_save": 2.5}


def main() -> None:
    """Build the state, let the contenders save it in turn, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--width", type=int, default=2700, help="of the 12 layers of the model")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        model, optimizer = state(options.width)
        size = sum(tensor.nbytes for tensors in files(model, optimizer).values() for tensor in tensors.values())
        print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch"
              f" {torch.__version__}, {size / 1e9:.2f} GB, {options.rounds} rounds", flush=True)  # fmt: skip
        contenders = {
            "torch.save + fsync": torch_save(Path(name), model, optimizer),
            "DCP async_save": async_save(Path(name), model, optimizer),
            "medtrain": ours(Path(name), model, optimizer),
        }
        print(table(("save", "stall ms", "times ours", "goal", "durable s"), measure(contenders, options.rounds)))


def state(width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model and its optimizer after one step."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(width, width) for _ in range(12)))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, width)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer


def files(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, torch.Tensor]]:
    """What medtrain saves."""
    moments = optimizer_tensors(optimizer, model)
    return {"model.safetensors": dict(model.state_dict()), "optimizer.safetensors": moments}


def torch_save(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Contender:
    """One file, made durable."""

    def save(number: int) -> tuple[float, float]:
        start = time.perf_counter()
        with (folder / "torch.pt").open("wb") as file:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
            file.flush()
            os.fsync(file.fileno())
        stall = time.perf_counter() - start
        return stall, stall

    return save


def async_save(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Contender:
    """PyTorch's own: a copy on the CPU, then a thread that writes."""

    def save(number: int) -> tuple[float, float]:
        start = time.perf_counter()
        future = dcp.async_save(
            {"model": model.state_dict(), "optimizer": optimizer.state_dict()}, checkpoint_id=folder / f"dcp-{number}"
        )
        stall = time.perf_counter() - start
        future.result()  # type: ignore[union-attr]
        done = time.perf_counter() - start
        shutil.rmtree(folder / f"dcp-{number - 1}", ignore_errors=True)
        return stall, done

    return save


def ours(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Contender:
    """medtrain's checkpoints, the last two kept."""
    (folder / "ours").mkdir()
    checkpoints = CheckpointStore(folder / "ours", CheckpointConfig(), Team(0, 1, "benchmark"), {"fingerprints": {}})

    def save(number: int) -> tuple[float, float]:
        start = time.perf_counter()
        checkpoints.save(TrainState(step=number), files(model, optimizer), frozenset(), before=dict)
        stall = time.perf_counter() - start
        outcome = checkpoints.outcome(None)
        assert outcome is not None and not outcome.error
        return stall, time.perf_counter() - start

    return save


def measure(contenders: dict[str, Contender], rounds: int) -> list[tuple[object, ...]]:
    """Rows of the table; a first round warms up and does not count."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, save in contenders.items():
            took = save(number)
            if number:
                seconds[name].append(took)
    own = [stall for stall, _ in seconds["medtrain"]]
    return [
        (
            name,
            f"{1000 * statistics.median(stall for stall, _ in took):.0f}",
            f"{statistics.median(stall / ours for (stall, _), ours in zip(took, own, strict=True)):.1f}",
            f">= {GOALS[name]:g}" if name in GOALS else "",
            f"{statistics.median(durable for _, durable in took):.2f}",
        )
        for name, took in seconds.items()
    ]


if __name__ == "__main__":
    main()
