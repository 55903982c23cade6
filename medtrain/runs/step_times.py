"""Where the time of a run's steps goes, as the journal has it, and what helps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

DATA, COMPUTE, COMMUNICATION, SAVING = PARTS = ("data", "compute", "communication", "saving")
BUSY = "processor"  # seconds of this rank's threads, of a run on CPUs
KEYS = {part: f"{part}_seconds" for part in (*PARTS, BUSY)}  # their names in a line of the journal
# From this share on a part is named with what makes it smaller.
REMEDIES = {
    DATA: (0.15, "add --workers"),
    COMMUNICATION: (0.30, "raise --batch_size or --grad_accumulation, or use fewer nodes"),
    SAVING: (0.10, "raise --every_minutes (or --every_steps)"),
}
IDLE = 0.10  # less of its compute time in which a processor works: something else holds the steps up
ENOUGH_S = 1.0  # less says nothing


@dataclass(frozen=True)
class StepTimes:
    """Seconds of rank 0's steps by part, all together."""

    seconds: dict[str, float]
    processor: float | None = None  # None: of a GPU, or not measured

    @property
    def total(self) -> float:
        """Of all parts."""
        return sum(self.seconds.values())

    @property
    def shares(self) -> dict[str, float]:
        """part -> its share, 0 to 1; empty where nothing was measured."""
        return {part: self.seconds[part] / self.total for part in PARTS} if self.total > 0 else {}

    @property
    def idle(self) -> bool:
        """Whether the rank sleeps in most of what would be computing."""
        compute = self.seconds[COMPUTE]
        return self.processor is not None and compute > self.total / 2 and self.processor < IDLE * compute

    def words(self) -> str:
        """One line: the shares, the largest that can be made smaller, and how; empty where too little was measured."""
        if self.total < ENOUGH_S:
            return ""
        told = ", ".join(f"{part} {100 * share:.0f} %" for part, share in self.shares.items())
        return f"{told}; {self.advice()}" if self.advice() else told

    def advice(self) -> str:
        """What to change; empty where the steps compute most of the time."""
        if self.idle:
            busy = 100 * (self.processor or 0.0) / self.seconds[COMPUTE]
            return f"idle: the processor works in {busy:.0f} % of the compute time, something else holds the steps up"
        over = [(share, part) for part, share in self.shares.items() if share >= REMEDIES.get(part, (2.0, ""))[0]]
        share, part = max(over, default=(0.0, ""))
        return f"{part} {100 * share:.0f} %: {REMEDIES[part][1]}" if part else ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        percent = {f"{part}_percent": round(100 * share, 1) for part, share in self.shares.items()}
        return {**percent, "seconds": round(self.total, 1), "idle": self.idle, "advice": self.advice()}


def step_times(rows: Iterable[dict[str, Any]]) -> StepTimes | None:
    """The sums over lines of a journal, or over what of them `measured_parts` told; None where none of them has any."""
    sums = measured_parts(rows)
    parts = {part: sums.get(KEYS[part], 0.0) for part in PARTS}
    return StepTimes(parts, sums.get(KEYS[BUSY])) if any(KEYS[part] in sums for part in PARTS) else None


def measured_parts(rows: Iterable[dict[str, Any]]) -> dict[str, float]:
    """The sums under the names of the journal; empty where it has none."""
    sums: dict[str, float] = {}
    for row in rows:
        for name in KEYS.values():
            value = row.get(name)
            if isinstance(value, int | float):
                sums[name] = round(sums.get(name, 0.0) + value, 4)
    return sums
