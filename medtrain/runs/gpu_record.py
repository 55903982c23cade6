"""What the GPUs of a run did: lines of gpus/NODE.jsonl, which a helper process on each node writes.

A line has the time, the attempt, the seconds that it is of, and for each GPU, by its number in NVML, what NVML could
tell: a figure that is not there was not measured. Its `energy_wh` is of all GPUs of the node since the run began, so
that the last line of each file has all of it.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medtrain.config import configfile
from medtrain.core.errors import MedtrainError
from medtrain.runs.run import Run

UTILIZATION, MEMORY, POWER, ENERGY = ("utilization_percent", "memory_gib", "power_w", "energy_wh")
MEANS = (UTILIZATION, MEMORY, POWER)
COUNTER, INTEGRAL = "counter", "power"  # how energy was found: NVML's energy counter, or power over time
IDLE = "idle"  # in a line: the GPUs that the helper has just warned of
BUSY_PERCENT = 2.0  # less utilization is idle
RECENT_S = 300.0  # what `status` tells the means of
TAIL = 1 << 18
Row = dict[str, Any]


@dataclass(frozen=True)
class GpuUse:
    """The means over all GPUs of a run in some minutes, and the energy of all of its attempts; None: not known."""

    gpus: int
    minutes: float
    utilization_percent: float | None
    memory_gib: float | None
    power_w: float | None
    energy_wh: float | None
    energy_from: tuple[str, ...] = ()
    co2_g: float | None = None
    idle: tuple[str, ...] = ()
    last: float = 0.0

    def words(self) -> str:
        """One line for a person."""
        means = f"{told} (last {max(1, round(self.minutes))} min)" if (told := self.means()) else "not measured"
        return "; ".join(words for words in (means, self.advice(), self.energy_words()) if words)

    def means(self) -> str:
        """`93 % busy, 20.3 GiB, 412 W on average of 4`, as far as it was measured."""
        figures = ((UTILIZATION, ".0f", "% busy"), (MEMORY, ".1f", "GiB"), (POWER, ".0f", "W"))
        told = [f"{value:{form}} {unit}" for name, form, unit in figures if (value := getattr(self, name)) is not None]
        return ", ".join(told) + (f" on average of {self.gpus}" if told and self.gpus > 1 else "")

    def advice(self) -> str:
        """What is wrong where all GPUs are idle."""
        idle = self.utilization_percent is not None and self.utilization_percent < BUSY_PERCENT
        return "idle: something else holds the steps up" if idle else ""

    def energy_words(self) -> str:
        """The energy of the run and what that emits; empty where neither is known."""
        if self.energy_wh is None:
            return ""
        used = quantity(self.energy_wh, "Wh")
        return used if self.co2_g is None else f"{used}, estimated CO2 {quantity(self.co2_g, 'g')}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, with the line for a person."""
        return {**asdict(self), "words": self.words()}


def quantity(value: float, unit: str) -> str:
    """Wh and g in words, of a thousand on as kWh and kg."""
    return f"{value / 1000:,.2f} k{unit}" if value >= 1000 else f"{value:.3g} {unit}"


def files(run: Run) -> list[Path]:
    """A file for each node."""
    return sorted(run.gpus.glob("*.jsonl"))


def parsed(line: bytes) -> Row:
    """What a whole line says; `{}` where it is damaged or cut off."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        return {}
    sound = isinstance(row, dict) and isinstance(row.get("gpus"), dict) and number(row.get("time")) is not None
    return row if sound and all(isinstance(one, dict) for one in row["gpus"].values()) else {}


def number(value: object) -> float | None:
    """It as a number, where it is one."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def last_rows(path: Path, seconds: float = RECENT_S) -> list[Row]:
    """The lines of the last so many seconds of a file, oldest first; all where they are infinite."""
    with path.open("rb") as file:
        if math.isfinite(seconds):
            file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read().splitlines(keepends=True)
    rows = [row for line in lines if (row := parsed(line))]
    return [row for row in rows if row["time"] > rows[-1]["time"] - seconds]


def mean(rows: Iterable[Row], name: str) -> float | None:
    """Of a figure, over all GPUs and lines that have it."""
    values = [value for row in rows for gpu in row["gpus"].values() if (value := number(gpu.get(name))) is not None]
    return statistics.fmean(values) if values else None


def known_use(run: Run, seconds: float = RECENT_S) -> GpuUse | None:
    """As `gpu_use`, with the carbon intensity of the run's settings."""
    if not files(run):
        return None
    intensity = 0.0
    with contextlib.suppress(MedtrainError, OSError):  # settings of another version
        intensity = configfile.load(run.config_file).slurm.carbon_intensity_g_per_kwh
    return gpu_use(run, intensity, seconds)


def gpu_use(run: Run, carbon_intensity_g_per_kwh: float = 0.0, seconds: float = RECENT_S) -> GpuUse | None:
    """What the record of a run tells, the means those of its last so many seconds; None where it has none. Without an
    intensity, no CO2 is estimated."""
    by_node = [rows for path in files(run) if (rows := last_rows(path, seconds))]
    if not by_node:
        return None
    ends = [rows[-1] for rows in by_node]
    latest = max(row["time"] for row in ends)
    recent = [[row for row in rows if row["time"] > latest - seconds] for rows in by_node]
    rows = [row for node in recent for row in node]
    used = [value for row in ends if (value := number(row.get(ENERGY))) is not None]
    energy = sum(used) if used else None
    kinds = {kind for row in ends if isinstance(row.get("energy_from"), list) for kind in map(str, row["energy_from"])}
    known = energy is not None and carbon_intensity_g_per_kwh > 0
    return GpuUse(
        gpus=sum(len(node[-1]["gpus"]) for node in recent if node),
        minutes=sum(number(row.get("seconds")) or 0.0 for row in max(recent, key=len)) / 60,
        **{name: mean(rows, name) for name in MEANS},
        energy_wh=energy,
        energy_from=tuple(sorted(kinds)),
        co2_g=energy / 1000 * carbon_intensity_g_per_kwh if energy is not None and known else None,
        idle=tuple(words for row in rows if isinstance(row.get(IDLE), list) for words in map(str, row[IDLE])),
        last=latest,
    )
