"""The cluster's signal as a question between steps.

Imports nothing heavy: it must be in place before torch.
"""

from __future__ import annotations

import ctypes
import os
import signal
from types import FrameType

PR_SET_PDEATHSIG = 1  # prctl(2)
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)


def end_with_parent() -> None:
    """Get a TERM when the supervisor dies, however it dies: no rank trains on without one."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:  # it has died already
        os.kill(os.getpid(), signal.SIGTERM)


class StopRequest:
    """Set by a signal, read at a step's border. The handler only sets a flag: no I/O, no collective, no exception."""

    def __init__(self) -> None:
        self.signal = ""

    def __bool__(self) -> bool:
        return bool(self.signal)

    def install(self) -> StopRequest:
        """Listen to TERM, USR1, USR2 and INT, and take what was sent while they were blocked during start-up."""
        for number in SIGNALS:
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt  # a person who presses Ctrl-C twice does not want to wait
        self.signal = self.signal or signal.Signals(number).name
