"""What a run tells while it trains: the journal, status.json, log lines and a progress bar."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from medtrain.core import output_streams
from medtrain.core.console import say
from medtrain.core.progress import Progress
from medtrain.core.running_time import CLOCK
from medtrain.runs import fencing
from medtrain.runs.journal import SUSPENDED, Journal
from medtrain.runs.run import Run, set_status


def log(run: Run, text: str, speak: Callable[[str], None] = say) -> None:
    """One line with the time on it, in train.log and on standard output (through `speak`)."""
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}"
    told = bool(output_streams.lost())
    _into_log(run, line)
    speak(line)
    if not told and (reason := output_streams.lost()):
        _into_log(run, f"{line[:19]} standard output or error takes nothing more ({reason}): see this log from here on")


def tell(run: Run, text: str) -> None:
    """A line of the supervisor: on standard output as it is, in train.log with the time."""
    log(run, text, lambda line: say(text))


def _into_log(run: Run, line: str) -> None:
    # A full disk stops no training; the line is still on standard output.
    with contextlib.suppress(OSError), run.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(line + "\n")


class RunLog:
    """Rank 0's voice; on other ranks every call does nothing. Open it after the journal was cut to the checkpoint."""

    def __init__(self, run: Run, main: bool, total_steps: int, done: int, global_batch: int, unit: str) -> None:
        self._run, self._main = run, main
        self._unit = unit  # what the samples are called
        self._batch = global_batch
        self._last_line = self._last_status = CLOCK.now()
        self._last_step = done
        self._suspended = CLOCK.stopped()
        if main:
            self._journal = Journal(run.journal)
            self._progress = Progress(total_steps, run.name, "steps", done, every_seconds=float("inf"))

    def step(self, step: int, epoch: int, loss: float, lr: float, times: dict[str, float] | None = None) -> None:
        """An optimizer step's mean loss over the global batch; now and then the `times` of the steps since."""
        if not self._main:
            return
        fencing.ensure_highest(self._run.folder, every_s=1.0)
        self._write({"kind": "step", "step": step, "epoch": epoch, "loss": loss, "lr": lr, **(times or {})})
        self._progress.advance(1, f"epoch {epoch}, loss {loss:.4f}")
        now = CLOCK.now()
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
            fencing.ensure_highest(self._run.folder)
            self._write({"kind": "epoch", **row})

    def _write(self, row: dict[str, Any]) -> None:
        """A line of the journal; where this process was stopped since the one before, with the seconds of that."""
        before, self._suspended = self._suspended, CLOCK.stopped()
        stopped = {SUSPENDED: round(self._suspended - before, 1)} if self._suspended > before else {}
        self._journal.write({**row, "time": time.time(), **stopped})

    def claim(self) -> Callable[[], dict[str, Any]]:
        """What makes the journal up to now durable before a checkpoint claims its steps, and returns that claim; it
        raises OSError on a full disk."""
        return self._journal.claim().made_durable if self._main else dict

    def log(self, text: str) -> None:
        """A line in train.log and on standard output."""
        if self._main:
            log(self._run, text)

    def status(self, **changes: Any) -> None:
        """Merge `changes` into status.json."""
        if self._main:
            set_status(self._run, **changes)

    def close(self) -> None:
        """Close the journal and take the progress bar away."""
        if self._main:
            self._progress.close()
            self._journal.close()
