"""The rank's side of the record of GPUs: starts the helper process that asks NVML, and tells it when to end."""

from __future__ import annotations

import contextlib
import os
import subprocess

from medtrain.core import processes
from medtrain.core.console import warn
from medtrain.runs import fencing
from medtrain.runs.run import Run

INTERVAL_S = 10.0
END_S = 3.0  # NVML may hang with its driver: then the helper is killed, and nobody waits for it


class GpuRecorderProcess:
    """The helper process of one node. Nothing that happens to it stops training or raises here."""

    def __init__(self, run: Run, name: str, interval_s: float = INTERVAL_S) -> None:
        self._run, self._name, self._interval_s = run, name, interval_s
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, uuids: list[str]) -> None:
        """Start to record GPUs; nothing where there are none."""
        if not uuids:
            return
        told = (str(self._run.folder), str(os.getpid()), self._name, str(self._interval_s), *uuids)
        number = fencing.for_ranks(self._run.folder) if self._run.folder in fencing.HELD else {}
        try:
            self._process = processes.start(
                "medtrain.tracking.gpu_recorder", *told, env={**os.environ, **number}, stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            warn(f"what the GPUs do is not recorded: its helper does not start ({error})")

    def finish(self) -> None:
        """End it after its last line."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
            return
        process.kill()
