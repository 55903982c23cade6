"""The trainer's side of the tracker: starts the helper process that reads the journal, and waits for it at the end."""

from __future__ import annotations

import subprocess
from pathlib import Path

from medtrain.core import processes
from medtrain.core.console import warn
from medtrain.core.running_time import CLOCK
from medtrain.runs.run import Run, command_for


class UploaderProcess:
    """The helper process of one attempt. Nothing that happens to it stops training or raises here."""

    def __init__(self, run: Run, tracker: str) -> None:
        self._run, self._tracker = run, tracker
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start feeding (on rank 0, after the journal was cut back to the checkpoint); nothing for tracker `none`."""
        if self._tracker == "none":
            return
        # Standard error stays the trainer's, for one warning; the helper sends all other output to its log.
        try:
            self._process = processes.start(
                "medtrain.tracking.uploader", str(self._run.folder), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
        except OSError as error:
            warn(f"the tracker's helper does not start ({error}); send the journal later: {catch_up(self._run)}")

    def finish(self, timeout_s: float = 60) -> None:
        """Tell the helper that the attempt has ended, and wait until it has sent the rest of the journal."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            code = _end_of(process, timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            warn(f"the tracker is not done after {timeout_s:g} s and was stopped; send the rest: {catch_up(self._run)}")
            return
        if code != 0:
            warn(f"the tracker's helper ended with code {code}; send the rest: {catch_up(self._run)}")


def _end_of(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    """Its exit code. Both may be suspended meanwhile: that is no part of the time which it has."""
    deadline = CLOCK.now() + timeout_s
    while True:
        try:
            return process.wait(max(0.0, deadline - CLOCK.now()))
        except subprocess.TimeoutExpired:
            if CLOCK.now() >= deadline:
                raise


def upload_lock(run: Run) -> Path:
    """Held by the one process that sends the run's curve: two would send the same steps."""
    return run.trackers / "feed.lock"


def catch_up(run: Run) -> str:
    """What a user types, in the folder they are in, to send the whole journal after training."""
    return command_for(run, "sync")
