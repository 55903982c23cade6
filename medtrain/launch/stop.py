"""Ask a run to save and end, wherever it is."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from medtrain.core.errors import MachineError
from medtrain.launch import successor
from medtrain.runs import attempts, suspensions
from medtrain.runs.ownership import VERIFYING, alive
from medtrain.runs.run import Run, resume_command, set_status
from medtrain.slurm.queries import JobStatus


def stop(run: Run, wait_s: float = 120) -> str:
    """Ask a run to save and end, wait until it has, and say how it stands."""
    place = alive(run, sure=True)
    if place is None or place.state == VERIFYING:
        return f"run {run.name} is not under way" + (f": process {place.id} verifies it" if place else "")
    again = f"resume: {resume_command(run)}"
    revoked = successor.revoke(run)  # first: it would start when the job before it is cancelled
    if place.waits:
        if place.id not in revoked:
            cancel(place.id)
        attempts.close_silent(run)
        set_status(run, state="stopped")
        return f"run {run.name}: job {place.id} was waiting and is cancelled; {again}"
    run.stop_file.touch()  # before the signal: the supervisor reads it when the ranks have ended
    if place.state in suspensions.STATES:  # a signal would wait with it
        return deaf(run, place)
    if place.kind == "job":
        # Only to be quick: the ranks look for the stop file as well.
        subprocess.run(["scancel", "--quiet", "--signal=TERM", place.id], check=False)
    elif place.kind == "process":  # one on another machine looks for the file
        os.kill(int(place.id), signal.SIGTERM)
    deadline = time.monotonic() + wait_s
    while (now := alive(run)) is not None:
        if now.state in suspensions.STATES:
            return deaf(run, now)
        if time.monotonic() > deadline:
            return f"run {run.name}: {place.kind} {place.id} was asked to save and stop, and has not ended yet"
        time.sleep(0.5)
    return f"run {run.name} is saved at step {run.last_step():,} and has ended; {again}"


def deaf(run: Run, place: JobStatus) -> str:
    """How a stop stands of which a suspended job knows nothing yet: it finds the stop file when it is woken."""
    return (
        f"run {run.name}: job {place.id} is suspended by Slurm; it saves and stops as soon as it continues"
        f"   (scancel {place.id} ends it now, with the checkpoint of step {run.last_step():,})"
    )


def cancel(job: str) -> None:
    """scancel, or a MachineError with what it said."""
    done = subprocess.run(["scancel", job], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MachineError(
            f"job {job} could not be reached: {done.stderr.strip()}", "ask Slurm again in a moment (squeue)"
        )
