"""Prove an export: a program without medtrain loads it, and says of the test split what the run says."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medtrain.core.errors import MachineError
from medtrain.evaluation.inference import TrainedModel
from medtrain.evaluation.inputs import open_loader, pixels
from medtrain.exporting.consumers import PROGRAMS
from medtrain.models.compile import not_compiled

# In the consumer an import of medtrain ends the program: what it proves must hold where there is none. So it is with
# PyTorch, where the format promises that.
ALONE = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ImportError(f"this export is used without {{name}}")
sys.meta_path.insert(0, Without())
"""
WITHOUT = {"onnx": ("medtrain", "torch")}


@dataclass(frozen=True)
class Proof:
    """How far the answers of a consumer lie from those of the run, over all samples of a split."""

    split: str
    samples: int
    largest: float
    mean: float


class Consumer:
    """A program that has loaded an export."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        command = [sys.executable, "-I", "-c", alone(kind) + PROGRAMS[kind], str(folder)]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        self._errors = (folder / ".consumer.log").open("w+b")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment
        )

    def answer(self, given: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """What it says of pixels [B, channels, ...]; MachineError, with its own last words, where it cannot."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(as_bytes(given))
            self._process.stdin.flush()
            size = struct.unpack(">Q", self._process.stdout.read(8))[0]
            found = np.load(io.BytesIO(self._process.stdout.read(size)), allow_pickle=False)
        except (OSError, ValueError, struct.error):
            problem = f"the {self.kind} export cannot be used: {self._last_words()}"
            raise MachineError(problem, "give another --to") from None
        return np.asarray(found, np.float64)

    def close(self) -> None:
        """End it, and take its log away."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()
        path = Path(str(self._errors.name))
        self._errors.close()
        path.unlink(missing_ok=True)

    def _last_words(self) -> str:
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with {self._process.returncode}"


def alone(kind: str) -> str:
    """The beginning of a consumer's program that keeps away what it must do without."""
    return ALONE.format(names=WITHOUT.get(kind, ("medtrain",)))


def as_bytes(array: npt.NDArray[Any]) -> bytes:
    """An array as consumers read and write it."""
    made = io.BytesIO()
    np.save(made, array)
    return struct.pack(">Q", made.tell()) + made.getvalue()


def from_bytes(data: bytes) -> npt.NDArray[np.float64]:
    """The array in such bytes."""
    found: npt.NDArray[np.float64] = np.load(io.BytesIO(data[8:]), allow_pickle=False)
    return found


def prove(opened: TrainedModel, kind: str, folder: Path, split: str) -> Proof:
    """Hold the consumer's answers to every sample of a split against the network's own, both from the same pixels."""
    config = opened.config
    loader = open_loader(config, opened.world, split, windows=config.data.clips)
    consumer = Consumer(kind, folder)
    largest = total = 0.0
    count = samples = 0
    try:
        for batch in loader.every_sample(config.data.eval_batch_size):
            given = batch.inputs.float().contiguous().numpy()
            with torch.inference_mode(), opened.world.accelerator.autocast(), not_compiled():
                inputs = pixels(batch, config.data, config.model.channels, opened.world.device)
                own = opened.task.scores(opened.model(inputs)).cpu().numpy()
            apart = np.abs(consumer.answer(given) - own)
            largest = max(largest, float(apart.max(initial=0.0)))
            total, count, samples = total + float(apart.sum()), count + apart.size, samples + len(apart)
    finally:
        consumer.close()
        loader.close()
    return Proof(split, samples, largest, total / max(count, 1))


def told(proof: Proof, bound: float) -> dict[str, Any]:
    """As values for JSON."""
    return {
        "split": proof.split, "samples": proof.samples, "bound": bound,
        "largest_difference": proof.largest, "mean_difference": proof.mean,
    }  # fmt: skip
