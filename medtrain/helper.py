"""Processes that work for a trainer: deaf to the signals that are meant for it, and gone when it is."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

# Slurm sends these to every process of a step, a terminal sends INT and HUP to every process in it. They are news for
# the trainer; a helper ends when the pipe to its trainer does, however the trainer ends.
NOT_FOR_HELPERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a helper."""
    return [sys.executable, "-m", module, *arguments]


def start(module: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start `python -m module`; `options` are those of Popen, which raises OSError where no process can be made."""
    # A child inherits the mask, so the signals are blocked in the helper before its first instruction.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, NOT_FOR_HELPERS)
    try:
        return subprocess.Popen(command(module, *arguments), **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
