"""The command doctor: is this machine fit for training? One line a check, with what to do about it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from medtrain.doctor.checks import Check, Finding, devices, examine, run_folder, slurm, software

CHECKS: dict[str, Check] = {
    "python": software.python,
    "medtrain": software.own_install,
    "packages": software.packages,
    "optional": software.optional,
    "imports": software.imports,
    "jpeg": software.jpeg,
    "tracker": software.tracker,
    "cpu": devices.cpu,
    "gpus": devices.gpus,
    "slurm": slurm.programs,
    "partitions": slurm.partitions,
    "submitting": slurm.submitting,
    "requeueing": slurm.requeueing,
    "preemption": slurm.preemption,
    "accounting": slurm.accounting,
    "job": slurm.job,
}
FOLDER_CHECKS: dict[str, Callable[[Path], Finding | None]] = {
    "folder": run_folder.writing,
    "room": run_folder.room,
    "privacy": run_folder.privacy,
    "clock": run_folder.clock,
    "sharing": run_folder.sharing,
}


def findings(folder: Path) -> Iterator[tuple[str, Finding]]:
    """Run the checks one by one; those that do not apply here say nothing."""
    for name, check in CHECKS.items():
        if finding := examine(check):
            yield name, finding
    for name, look in FOLDER_CHECKS.items():
        if finding := examine(functools.partial(look, folder)):
            yield name, finding
            if name == "folder" and finding.state == "FAIL":
                return  # nothing else about it matters then


def probed(
    cluster: str, folder: Path, config: Path | None, nodes: int, wait: float, options: tuple[str, ...] = ()
) -> Iterator[tuple[str, Finding]]:
    """What a probe of a cluster finds."""
    from medtrain.doctor.probe import send  # needs packages that the doctor must be able to call missing

    yield from send.findings(cluster, folder, config, nodes, wait, options)
