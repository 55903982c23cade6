"""The cluster's signal as a question between steps.

Imports nothing heavy: it must be in place before torch.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType

from medtrain.core.processes import ASKING, end_with
from medtrain.distributed.rank_environment import SUPERVISOR

FILE_SECONDS = 2.0


def end_with_parent() -> None:
    """Get a TERM when the supervisor dies, however it dies: no rank trains on without one."""
    end_with(int(os.environ[SUPERVISOR]), signal.SIGTERM)


class StopRequest:
    """Set by a signal, read at a step's border. The handler only sets a flag: no I/O, no collective, no exception."""

    def __init__(self) -> None:
        self.signal = ""
        self._file: Path | None = None
        self._look_at = 0.0

    def __bool__(self) -> bool:
        if not self.signal and self._file is not None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + FILE_SECONDS
            if self._file.exists():
                self.signal = "medtrain stop"
        return bool(self.signal)

    def watch(self, file: Path) -> None:
        """Stop too when `file` appears: a signal that is sent while a job starts finds no rank to go to."""
        self._file = file

    def install(self) -> StopRequest:
        """Listen to TERM, USR1, USR2 and INT, and take what was sent while they were blocked during start-up."""
        for number in ASKING:
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt  # a person who presses Ctrl-C twice does not want to wait
        self.signal = self.signal or signal.Signals(number).name
