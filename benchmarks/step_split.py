"""Times what measuring the parts of a step costs, its own calls alone: the borders of a step and the journal's sums."""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from medtrain.runs.step_times import COMMUNICATION, COMPUTE, DATA, SAVING
from medtrain.training.step_clock import StepClock

LIMIT_US = 30


def step(clock: StepClock) -> None:
    """All calls of a step of several ranks that also saves; the sums are told where they are due."""
    clock.lap(DATA)
    clock.lap(COMPUTE)  # the hook of the last gradient
    clock.backward_done()
    clock.lap(COMPUTE)
    clock.lap(COMMUNICATION)
    clock.lap(COMPUTE)
    clock.lap(COMMUNICATION)
    clock.due()
    clock.lap(COMPUTE)
    clock.lap(SAVING)
    clock.lap(COMPUTE)


def microseconds(device: torch.device, steps: int) -> float:
    """Of the calls of one step, on average."""
    clock = StepClock(device)
    clock.begin()
    started = time.perf_counter()
    for _ in range(steps):
        step(clock)
    return (time.perf_counter() - started) / steps * 1e6


def main() -> None:
    """Print one line a device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        times = [microseconds(torch.device(device), options.steps) for _ in range(options.rounds)]
        print(
            f"{device}: {statistics.median(times):.1f} us a step"
            f" ({min(times):.1f} to {max(times):.1f}; limit {LIMIT_US})"
        )


if __name__ == "__main__":
    main()
