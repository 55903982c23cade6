"""The time in which this process could run: a job may be suspended for minutes or days, and all clocks run on.

A process that is stopped (SIGSTOP, a frozen cgroup) hears nothing of it. A thread sees it afterwards: its tick comes
much later than due.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

TICK_S = 0.5
LATE_S = 4.0  # a busy machine makes a tick late too; Slurm suspends for a time slice, 5 s or more


class RunningTime:
    """A clock that stands still while its process is stopped."""

    def __init__(self) -> None:
        self._stopped = 0.0
        self._begin()

    def _begin(self) -> None:
        """Also in a forked process, which has no thread but one."""
        self._lock, self._ticking, self._seen = threading.Lock(), False, time.monotonic()

    def now(self) -> float:
        """Seconds since some moment, without those in which this process was stopped."""
        with self._lock:
            self._look()
            return self._seen - self._stopped

    def stopped(self) -> float:
        """The seconds in which this process was stopped, all together."""
        with self._lock:
            self._look()
            return self._stopped

    def watch(self, tell: Callable[[float], None]) -> None:
        """Call `tell` with the seconds, in a thread, after each time that this process was stopped."""
        threading.Thread(target=self._watch, args=(tell, self.stopped()), name="stops", daemon=True).start()

    def _look(self) -> None:
        """Whoever looks first after a stop finds it, the thread that ticks or another."""
        now = time.monotonic()
        if not self._ticking:
            self._ticking, self._seen = True, now
            threading.Thread(target=self._tick, name="running time", daemon=True).start()
        passed, self._seen = now - self._seen, now
        if passed > TICK_S + LATE_S:
            self._stopped += passed - TICK_S / 2  # it was stopped somewhere between two ticks

    def _tick(self) -> None:
        while True:
            time.sleep(TICK_S)
            self.stopped()

    def _watch(self, tell: Callable[[float], None], known: float) -> None:
        while True:
            time.sleep(TICK_S)
            before, known = known, self.stopped()
            if known > before:
                tell(known - before)


CLOCK = RunningTime()
os.register_at_fork(after_in_child=CLOCK._begin)
