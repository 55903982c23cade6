"""Processes of a run: all of one medtrain; helpers are deaf to the trainer's signals, and gone when it is."""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from medtrain.core.search_path import leave_out_working_folder

ROOT = Path(__file__).resolve().parents[2]  # the folder of the medtrain that runs here
# Python would look for every module in the current folder first (see search_path), where a checkout may lie, or a file
# random.py. All that can be imported here is what has been: os and sys; and a run's copy may be of an older medtrain.
START = (
    "import os, sys; told = os.environ.get('PYTHONPATH'); "
    "here = os.getcwd() if told and '.' in map(os.path.normpath, told.split(os.pathsep)) else ''; "
    "sys.path[:] = [sys.argv.pop(1), *(place for place in sys.path if place not in ('', here))]; "
    "from medtrain.core import processes; processes.begin()"
)
# Runs carry the medtrain that they were made with. Until 0.1 it lay flat in one folder: how a module of such a copy is
# started, and what it is called there.
FLAT_START = START.replace("from medtrain.core import processes; processes.begin()",
                           "from medtrain import helper; helper.begin()")  # fmt: skip
FLAT_NAMES = {
    "medtrain.cli.main": "medtrain.cli",
    "medtrain.launch.supervisor": "medtrain.supervise",
    "medtrain.launch.dependencies": "medtrain.dependency",
}
# What asks a run to save and to end: Slurm (TERM, USR1, USR2), a person (TERM, INT), the end of a terminal (HUP). Slurm
# sends these to every process of a step, a terminal INT and HUP to every process in it: they are news for the trainer,
# and a helper ends when the pipe to its trainer does, however the trainer ends.
ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
ASKING_OR_HANGUP = (*ASKING, signal.SIGHUP)
# These listen as soon as they can; a signal before that would end them.
LISTENERS = (
    "medtrain.launch.supervisor",
    "medtrain.launch.rank_main",
    "medtrain.doctor.probe.job_script",
    "medtrain.doctor.probe.rank",
)


def command(module: str, *arguments: str, root: Path = ROOT) -> list[str]:
    """The command line that runs a module of the medtrain in `root` (default: of the one that runs here)."""
    if (root / "medtrain" / "helper.py").exists() and not (root / "medtrain" / "core").exists():
        return [sys.executable, "-c", FLAT_START, str(root), FLAT_NAMES[module], *arguments]
    return [sys.executable, "-c", START, str(root), module, *arguments]


def begin() -> None:
    """Become the module that `command` named; everything of medtrain comes from its root, whatever else there is."""
    root, module = sys.path[0], sys.argv[1]
    if module in LISTENERS:
        signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
    del sys.path[0]
    leave_out_working_folder(root)
    if root not in sys.path:  # else it keeps its place: other packages lie there too
        sys.path.insert(0, root)
    del sys.argv[0]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def start(module: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a module as a helper; `options` are those of Popen, which raises OSError where no process can be made."""
    # A child inherits the mask, so the signals are blocked in the helper before its first instruction.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING_OR_HANGUP)
    try:
        return subprocess.Popen(command(module, *arguments), **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when `parent`, which started it, dies, however it dies. SIGKILL
    reaches a process that is stopped, too."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it has died already
        os.kill(os.getpid(), number)
