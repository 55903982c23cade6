"""The journal read while it grows: one row of numbers a step."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

from medtrain.runs.journal import SUSPENDED, parsed

NOT_A_CURVE = ("kind", "step", "time", SUSPENDED)


class Row(NamedTuple):
    """All numbers of one optimizer step; `time` is in seconds since 1970."""

    step: int
    time: float
    values: dict[str, float]


class StepReader:
    """Rows of a journal in the order of their steps, each exactly once.

    An epoch's line bears the step of the epoch's last step line; both make one row, in which the later line wins,
    since trackers hold one value a name and step. So a row is complete only when the next step begins; `last` is
    the one that is not.
    """

    def __init__(self, journal: Path) -> None:
        self.last: Row | None = None
        self.last_is_whole = False
        """The last row holds an epoch's line, after which nothing more belongs to its step."""
        self._journal = journal
        self._file: BinaryIO | None = None
        self._part = b""

    def take(self, most: int) -> list[Row]:
        """Up to `most` complete rows that were not taken yet; `[]` when the journal is read up."""
        rows: list[Row] = []
        while len(rows) < most and (line := self._line()):
            row = self._add(line)
            if row is not None:
                rows.append(row)
        return rows

    def _line(self) -> bytes:
        """The next whole line; empty while there is none."""
        if self._file is None:
            try:
                self._file = self._journal.open("rb")
            except FileNotFoundError:
                return b""
        self._part += self._file.readline()
        if not self._part.endswith(b"\n"):
            return b""
        line, self._part = self._part, b""
        return line

    def _add(self, line: bytes) -> Row | None:
        """Lay a line over the last row; the row before it, if the line begins a new one."""
        entry = parsed(line)
        step = entry.get("step")
        if step is None or (self.last is not None and step < self.last.step):  # a power cut can leave a line of zeros
            return None
        done = None
        if self.last is None or step > self.last.step:
            done, self.last, self.last_is_whole = self.last, Row(step, entry["time"], {}), False
        numbers = {key: value for key, value in entry.items() if type(value) in (int, float) and key not in NOT_A_CURVE}
        self.last.values.update(numbers)
        self.last_is_whole |= entry["kind"] == "epoch"
        return done
