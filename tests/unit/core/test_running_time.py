"""A clock that stands still while its process is stopped, whoever looks at it first after that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from medtrain.core import running_time
from medtrain.core.running_time import LATE_S, TICK_S, RunningTime

# Tells what it has noticed of being stopped, once it has.
PROGRAM = """\
import threading, time
from medtrain.core import running_time
from medtrain.core.running_time import CLOCK
running_time.LATE_S = 1.0
told = threading.Event()
CLOCK.watch(lambda seconds: (print(seconds), told.set()))
began, real = CLOCK.now(), time.monotonic()
print("ready", flush=True)
told.wait(60)
print(CLOCK.stopped(), time.monotonic() - real - (CLOCK.now() - began))
"""


def test_a_process_notices_for_how_long_it_was_stopped() -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(2.5)
    os.kill(process.pid, signal.SIGCONT)
    told, stopped, behind = map(float, process.communicate(timeout=60)[0].split())
    assert told == stopped == pytest.approx(behind, abs=0.1)
    assert stopped >= 2.5 - TICK_S


def test_a_late_tick_of_a_busy_machine_is_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, now = RunningTime(), [100.0]
    monkeypatch.setattr(running_time.time, "monotonic", lambda: now[0])
    clock._ticking, clock._seen = True, now[0]
    now[0] += LATE_S
    assert clock.stopped() == 0
    now[0] += 3 * 3600
    assert clock.stopped() == pytest.approx(3 * 3600, abs=TICK_S)
    assert clock.now() == pytest.approx(100 + LATE_S, abs=TICK_S)
