"""Samples of GPUs -> what a line of the record tells of them, their energy, and which of them are idle."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from medtrain.runs.gpu_record import BUSY_PERCENT, COUNTER, ENERGY, INTEGRAL, MEMORY, POWER, UTILIZATION
from medtrain.tracking.nvml import Sample

WH_PER_MJ = 1 / 3.6e6  # a millijoule in watt hours
WARN_SHARE = 0.75  # of the time that a site grants idle GPUs
QUIET_SHARE = 0.5  # below it the next idle time is another one


@dataclass
class Gpu:
    """The samples of one GPU since the last line."""

    samples: list[Sample] = field(default_factory=list)
    wh: float = 0.0
    how: set[str] = field(default_factory=set)

    def row(self) -> dict[str, float]:
        """What was measured: means, of the memory the largest."""
        use, memory, power = (
            [value for one in self.samples if (value := getattr(one, name)) is not None]
            for name in (UTILIZATION, MEMORY, POWER)
        )
        told = {
            UTILIZATION: statistics.fmean(use) if use else None,
            MEMORY: max(memory, default=None),
            POWER: statistics.fmean(power) if power else None,
            ENERGY: self.wh if self.how else None,
        }
        return {name: round(value, 5 if name == ENERGY else 2) for name, value in told.items() if value is not None}


class Meter:
    """Sums the energy between samples: by the counter of each GPU, or from its power where it has no counter."""

    def __init__(self) -> None:
        self._gpus: dict[str, Gpu] = {}
        self._last: dict[str, Sample] = {}
        self._at = 0.0

    def interrupted(self) -> None:
        """Nobody looked for a while: what the GPUs used meanwhile may have been for another job."""
        self._last = {}

    def add(self, samples: dict[str, Sample], at: float) -> None:
        """Samples at a time in seconds."""
        for name, sample in samples.items():
            gpu = self._gpus.setdefault(name, Gpu())
            gpu.samples.append(sample)
            before = self._last.get(name)
            if before is not None and (found := _energy(before, sample, at - self._at)):
                gpu.wh += found[0]
                gpu.how.add(found[1])
        self._last, self._at = samples, at

    def told(self) -> dict[str, Gpu]:
        """What was measured since the last time."""
        gpus, self._gpus = self._gpus, {}
        return gpus


def _energy(before: Sample, after: Sample, seconds: float) -> tuple[float, str] | None:
    """The Wh between two samples, and how they were found; the counter begins anew with the driver."""
    if before.counter_mj is not None and after.counter_mj is not None and after.counter_mj >= before.counter_mj:
        return (after.counter_mj - before.counter_mj) * WH_PER_MJ, COUNTER
    if before.power_w is not None and after.power_w is not None:
        return (before.power_w + after.power_w) / 2 * seconds / 3600, INTEGRAL
    return None


class IdleGuard:
    """Says once when a GPU was idle for most of the minutes after which a site ends the job."""

    def __init__(self, minutes: float) -> None:
        self._window_s = 60 * minutes
        self._idle: dict[str, deque[tuple[float, float]]] = {}  # GPU -> when a line was written, its idle seconds
        self._warned: set[str] = set()

    def note(self, gpus: dict[str, dict[str, Any]], at: float, seconds: float) -> dict[str, float]:
        """Take a line's figures in; GPU -> the minutes in which it was idle, for those to warn of now."""
        due = {}
        for name, gpu in gpus.items():
            if UTILIZATION not in gpu or self._window_s <= 0:
                continue
            lines = self._idle.setdefault(name, deque())
            lines.append((at, seconds if gpu[UTILIZATION] < BUSY_PERCENT else 0.0))
            while lines[0][0] <= at - self._window_s:
                lines.popleft()
            idle = sum(length for _, length in lines)
            if idle < QUIET_SHARE * self._window_s:
                self._warned.discard(name)
            elif idle >= WARN_SHARE * self._window_s and name not in self._warned:
                self._warned.add(name)
                due[name] = idle / 60
        return due
