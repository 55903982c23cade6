"""Processes of a run: all of one medtrain; helpers are deaf to the trainer's signals, and gone when it is."""

from __future__ import annotations

import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from medtrain.run import Run
from medtrain.searchpath import leave_out_working_folder

ROOT = Path(__file__).resolve().parents[1]  # the folder of the medtrain that runs here
# Python would look for every module in the current folder first (see searchpath), where a checkout may lie, or a file
# random.py. All that can be imported here is what has been: os and sys; and a run's copy may be of an older medtrain.
START = (
    "import os, sys; told = os.environ.get('PYTHONPATH'); "
    "here = os.getcwd() if told and '.' in map(os.path.normpath, told.split(os.pathsep)) else ''; "
    "sys.path[:] = [sys.argv.pop(1), *(place for place in sys.path if place not in ('', here))]; "
    "from medtrain import helper; helper.begin()"
)
# These listen as soon as they can; a signal before that would end them.
LISTENERS = ("medtrain.supervise", "medtrain.worker", "medtrain.probe.batch", "medtrain.probe.rank")
# Slurm sends these to every process of a step, a terminal sends INT and HUP to every process in it. They are news for
# the trainer; a helper ends when the pipe to its trainer does, however the trainer ends.
NOT_FOR_HELPERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


def command(module: str, *arguments: str, root: Path = ROOT) -> list[str]:
    """The command line that runs a module of the medtrain in `root` (default: of the one that runs here)."""
    return [sys.executable, "-c", START, str(root), module, *arguments]


def root_of(run: Run) -> Path:
    """The folder of the medtrain that a run goes on with: its own copy, once it has one."""
    return run.code if run.code.exists() else ROOT


def begin() -> None:
    """Become the module that `command` named; everything of medtrain comes from its root, whatever else there is."""
    root, module = sys.path[0], sys.argv[1]
    if module in LISTENERS:
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2))
    del sys.path[0]
    leave_out_working_folder(root)
    if root not in sys.path:  # else it keeps its place: other packages lie there too
        sys.path.insert(0, root)
    del sys.argv[0]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def start(module: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a module as a helper; `options` are those of Popen, which raises OSError where no process can be made."""
    # A child inherits the mask, so the signals are blocked in the helper before its first instruction.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, NOT_FOR_HELPERS)
    try:
        return subprocess.Popen(command(module, *arguments), **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
