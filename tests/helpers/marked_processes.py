"""The processes of a test cluster, found and ended by marks in their environment.

Every process of a cluster, from munged down to the last task, carries SLURM_CONF=<folder>/slurm.conf in its
environment, and what belongs to a node SLURMD_NODENAME=<node> as well. By these marks processes are found and
ended, not by parent or process group: slurmstepd leaves its parent, and tasks start groups of their own. The slurmstepd
of newer versions (26.05) overwrites its environment; it is known by the log of its node, which it has open.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from limits import HANG_S


def marked_processes(conf: Path, node: str = "") -> list[int]:
    """Finds the processes whose environment says that they belong to a cluster, or to one node of it."""
    marks = {f"SLURM_CONF={conf}".encode(), *([f"SLURMD_NODENAME={node}".encode()] if node else [])}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
        marked = marks <= set(environment.split(b"\0")) or _logs_to(folder, conf, node)
        if marked and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def _logs_to(folder: Path, conf: Path, node: str) -> bool:
    """Whether a process, by its folder in /proc, is a slurmstepd of a cluster, or of one node of it."""
    with contextlib.suppress(OSError):
        if (folder / "cmdline").read_bytes().startswith(b"slurmstepd: ["):
            opened = [descriptor.readlink() for descriptor in (folder / "fd").iterdir()]
            return any(path.match(f"{conf.parent}/{node or '*'}.log") for path in opened)
    return False


def kill_marked(conf: Path, node: str = "") -> None:
    """Kills a cluster's or a node's processes until none is left: one may start another while we look.

    They are stopped first: else one would see another die, and tell the controller.
    """
    deadline = time.monotonic() + HANG_S
    for pid in marked_processes(conf, node):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    while pids := marked_processes(conf, node):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {pids} of {conf.parent} survive SIGKILL")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
