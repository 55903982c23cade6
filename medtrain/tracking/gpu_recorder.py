"""The helper process that records what the GPUs of a node do, until the rank that started it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from medtrain.config import configfile
from medtrain.core import permissions
from medtrain.core.console import warn
from medtrain.core.processes import ASKING_OR_HANGUP, end_with
from medtrain.core.running_time import LATE_S
from medtrain.runs import fencing
from medtrain.runs.attempts import rows_of, started
from medtrain.runs.gpu_record import ENERGY, IDLE, last_rows, number
from medtrain.runs.run import Run
from medtrain.tracking.gpu_meter import IdleGuard, Meter
from medtrain.tracking.nvml import NoNvml, Nvml
from medtrain.tracking.pipe import wait_for_end
from medtrain.tracking.run_log import log

SAMPLE_S = 1.0
PENDING = 1 << 20  # bytes of lines that wait for room on the disk


def main(folder: str, rank: str, name: str, interval: str, *uuids: str) -> int:
    """Write a line every `interval` seconds to gpus/NAME.jsonl until standard input ends, of the GPUs of these UUIDs;
    end with the process `rank`. The exit code is 0 whatever NVML can tell."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ASKING_OR_HANGUP)
    end_with(int(rank))
    permissions.apply()
    os.nice(10)
    run = Run(folder)
    try:
        fencing.join(run.folder, main=False)
        config = configfile.load(run.config_file)
        permissions.apply(config.share)
        nvml = Nvml(list(uuids))
        Recorder(run, name, config.slurm.idle_minutes).record(nvml, float(interval))
    except NoNvml as error:
        log(run, f"what the GPUs of {name} do is not recorded: NVML cannot be used ({error})", lambda line: None)
    except fencing.Superseded:
        pass  # another attempt has the run
    except Exception as error:
        warn(f"what the GPUs of {name} do is not recorded: {type(error).__name__}: {error}")
    return 0


class Recorder:
    """One node's file of the record."""

    def __init__(self, run: Run, name: str, idle_minutes: float) -> None:
        self._run, self._name, self._idle_minutes = run, name, idle_minutes
        self._attempt = len(started(rows_of(run)))
        run.gpus.mkdir(mode=0o750, exist_ok=True)
        path = run.gpus / f"{name}.jsonl"
        self._file = open_whole(path)
        before = last_rows(path)[-1:]
        self._wh = number(before[0].get(ENERGY)) if before else None
        self._how = set(before[0].get("energy_from") or ()) if before else set()
        self._meter, self._guard = Meter(), IdleGuard(idle_minutes)
        self._pending = b""

    def record(self, nvml: Nvml, interval_s: float) -> None:
        """Sample and write until standard input ends."""
        written = last = time.monotonic()
        pause, ended = min(SAMPLE_S, interval_s / 4), False
        self._meter.add(nvml.sample(), last)
        while not ended:
            ended = wait_for_end(pause)
            now = time.monotonic()
            if now - last > pause + LATE_S:  # it was suspended
                self._meter.interrupted()
                written = now - pause
            last = now
            self._meter.add(nvml.sample(), now)
            if ended or now - written >= interval_s:
                self._write(now - written, now)
                written = now
        with contextlib.suppress(OSError):
            os.fsync(self._file)

    def _write(self, seconds: float, at: float) -> None:
        """A line; one that does not fit on the disk now is written with the next."""
        measured = self._meter.told()
        gpus = {name: gpu.row() for name, gpu in measured.items()}
        for gpu in measured.values():
            if gpu.how:
                self._wh = (self._wh or 0.0) + gpu.wh
                self._how |= gpu.how
        energy = {} if self._wh is None else {ENERGY: round(self._wh, 5), "energy_from": sorted(self._how)}
        idle = [self._words(name, minutes) for name, minutes in self._guard.note(gpus, at, seconds).items()]
        row = {"attempt": self._attempt, "time": time.time(), "seconds": round(seconds, 2), "gpus": gpus, **energy}
        fencing.ensure_highest(self._run.folder)
        if len(self._pending) < PENDING:
            self._pending += json.dumps({**row, IDLE: idle} if idle else row).encode() + b"\n"
        with contextlib.suppress(OSError):
            while self._pending:
                self._pending = self._pending[os.write(self._file, self._pending) :]
        for words in idle:
            log(self._run, f"warning: {words}", lambda line: warn(line.partition("warning: ")[2]))

    def _words(self, gpu: str, minutes: float) -> str:
        return (
            f"GPU {gpu} of {self._name} was idle for {minutes:.3g} of the last {self._idle_minutes:g} minutes, after"
            " which this cluster may cancel the job (idle_minutes)"
        )


def open_whole(path: Path) -> int:
    """Open a file of lines to add to it, private to the user; half a line at its end is cut off first."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, PENDING, max(0, size - PENDING))
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(descriptor, size - len(tail) + tail.rfind(b"\n") + 1)
    return descriptor


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
