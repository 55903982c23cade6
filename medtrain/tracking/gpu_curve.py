"""What the GPUs did, as numbers of the steps that a tracker is sent: a step has what was recorded before it."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from medtrain.runs.gpu_record import MEANS, Row, files, mean, parsed
from medtrain.runs.run import Run
from medtrain.tracking import journal_reader

LATEST_S = 60.0  # a line that is older belongs to no step: to a start, or to steps that were done again


class GpuCurve:
    """The record of all nodes, read while it grows."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._read: dict[Path, int] = {}  # file -> how many bytes of it
        self._rows: deque[Row] = deque()  # those that no step has yet

    def added(self, row: journal_reader.Row) -> journal_reader.Row:
        """A step with the means over all GPUs of the lines since the step before it, if there are any."""
        own = []
        while self._rows and self._rows[0]["time"] <= row.time:
            own.append(self._rows.popleft())
        recent = [line for line in own if line["time"] > row.time - LATEST_S]
        found = {f"gpu_{name}": value for name in MEANS if (value := mean(recent, name)) is not None}
        return row._replace(values={**row.values, **found}) if found else row

    def read(self) -> None:
        """Read what was recorded since."""
        for path in files(self._run):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read[path] = self._read.get(path, 0) + len(line)
                    self._rows += [row] if (row := parsed(line)) else []
        self._rows = deque(sorted(self._rows, key=lambda row: float(row["time"])))
