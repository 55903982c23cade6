"""What a run tells: the journal (metrics.jsonl), status.json, log lines and a progress bar."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medtrain import outlet
from medtrain.console import Progress, say
from medtrain.durable import write_whole
from medtrain.run import Run, set_status


class Journal:
    """metrics.jsonl: the truth about the curve. One JSON object a line; a full disk delays lines and loses none."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._pending = b""

    def write(self, row: dict[str, Any]) -> None:
        """Add a line; one that does not fit on the disk now is written with the next."""
        self._pending += json.dumps(row).encode() + b"\n"
        with contextlib.suppress(OSError):
            self._drain()

    def durable_so_far(self) -> Callable[[], None]:
        """What makes the lines up to now durable, for any thread to call; it raises OSError where they cannot be."""
        try:
            self._drain()
        except OSError as error:
            return functools.partial(_raise, error)
        return functools.partial(os.fsync, self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _drain(self) -> None:
        while self._pending:
            self._pending = self._pending[os.write(self._descriptor, self._pending) :]


def cut_journal(path: Path, step: int, epoch: int) -> None:
    """Drop what came after a checkpoint: steps above `step`, epochs above `epoch`, a last line cut off by a crash."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().split("\n")[:-1]:
        try:
            row = json.loads(line)
        except ValueError:  # a power loss; what a checkpoint claims was synced before it, so it lies above
            break
        if (row["step"] <= step) if row["kind"] == "step" else (row["epoch"] <= epoch):
            kept.append(line)
    write_whole(path, "".join(line + "\n" for line in kept).encode())


def _raise(error: OSError) -> None:
    raise error


def _nothing() -> None:
    pass


def log(run: Run, text: str, speak: Callable[[str], None] = say) -> None:
    """One line with the time on it, in train.log and on standard output (through `speak`)."""
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"
    told = bool(outlet.lost())
    _into_log(run, line)
    speak(line)
    if not told and (reason := outlet.lost()):
        _into_log(run, f"{line[:19]} standard output or error takes nothing more ({reason}): see this log from here on")


def tell(run: Run, text: str) -> None:
    """A line of the supervisor: on standard output as it is, in train.log with the time."""
    log(run, text, lambda line: say(text))


def _into_log(run: Run, line: str) -> None:
    # A full disk stops no training; the line is still on standard output.
    with contextlib.suppress(OSError), run.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(line + "\n")


class Tracker:
    """Rank 0's voice; on other ranks every call does nothing. Open it after the journal was cut to the checkpoint."""

    def __init__(self, run: Run, main: bool, total_steps: int, done: int, global_batch: int, unit: str) -> None:
        self._run, self._main = run, main
        self._unit = unit  # what the samples are called
        self._batch = global_batch
        self._last_line = self._last_status = time.monotonic()
        self._last_step = done
        if main:
            self._journal = Journal(run.journal)
            self._progress = Progress(total_steps, run.name, "steps", done, every_seconds=float("inf"))

    def step(self, step: int, epoch: int, loss: float, lr: float) -> None:
        """An optimizer step's mean loss over the global batch."""
        if not self._main:
            return
        self._journal.write({"kind": "step", "step": step, "epoch": epoch, "loss": loss, "lr": lr, "time": time.time()})
        self._progress.advance(1, f"epoch {epoch}, loss {loss:.4f}")
        now = time.monotonic()
        if now - self._last_line >= 30:
            rate = (step - self._last_step) * self._batch / (now - self._last_line)
            self.log(
                f"epoch {epoch}  step {step:,} of {self._progress.total:,}  loss {loss:.4f}  {rate:,.1f} {self._unit}/s"
            )
            self._last_line, self._last_step = now, step
        if now - self._last_status >= 5:
            self._last_status = now
            self.status(step=step, loss=loss)

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch's numbers; `row` holds step, epoch and plain numbers."""
        if self._main:
            self._journal.write({"kind": "epoch", **row, "time": time.time()})

    def durable_so_far(self) -> Callable[[], None]:
        """What makes the journal durable before a checkpoint claims its steps; it raises OSError on a full disk."""
        return self._journal.durable_so_far() if self._main else _nothing

    def log(self, text: str) -> None:
        """A line in train.log and on standard output."""
        if self._main:
            log(self._run, text, self._progress.say)

    def status(self, **changes: Any) -> None:
        """Merge `changes` into status.json."""
        if self._main:
            set_status(self._run, **changes)

    def close(self) -> None:
        """Close the journal and take the progress bar away."""
        if self._main:
            self._progress.close()
            self._journal.close()
