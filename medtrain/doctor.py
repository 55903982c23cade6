"""The command doctor: is this machine fit for training? One line a check, with what to do about it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from medtrain.checks import Finding, devices, fail, slurm, software
from medtrain.checks import folder as folders
from medtrain.console import paint, say, say_json
from medtrain.errors import EXIT_DONE, EXIT_ENVIRONMENT

Check = Callable[[], Finding | None]
COLOURS = {"ok": "32", "warn": "33", "FAIL": "31;1"}


# No alias from tyro in the signature: the doctor must be able to say that tyro is missing.
def doctor(
    folder: Path = Path(), cluster: str = "", settings: Path | None = None, wait: float = 120, json: bool = False
) -> int:
    """Check this machine: packages, GPUs, Slurm, shared folder. Exit code 1 if training would not work.

    With --cluster the cluster is checked instead: what Slurm says of a profile, then a probe, a job of a minute or two
    on two nodes, which looks at signals, requeue, GPUs, software, the shared folder, clocks, names and ports.

    Args:
        folder: Where runs and shards are to be kept.
        cluster: A file of slurm/clusters by name, or a path: its partition, account, GPUs are what the probe asks for.
        settings: With --cluster: settings (a -c file) whose pretrained weights the nodes must have.
        wait: With --cluster: seconds to wait for the probe to start, and to come back after its requeue.
        json: Print one JSON document.
    """
    found = []
    for name, finding in of_cluster(cluster, folder, settings, wait) if cluster else findings(folder):
        found.append((name, finding))
        if not json:
            say(line(name, finding))
    if json:
        say_json({"checks": [{"name": name, **vars(finding)} for name, finding in found]})
    else:
        counts = {state: sum(finding.state == state for _, finding in found) for state in COLOURS}
        say(f"\n{counts['ok']} ok, {counts['warn']} warnings, {counts['FAIL']} failures")
    return EXIT_ENVIRONMENT if any(finding.state == "FAIL" for _, finding in found) else EXIT_DONE


def of_cluster(cluster: str, folder: Path, settings: Path | None, wait: float) -> Iterator[tuple[str, Finding]]:
    """The checks of a cluster, which need medtrain's packages: without them it is the plain doctor who says so."""
    from medtrain.probe import send

    return send.findings(cluster, folder, settings, wait)


CHECKS: dict[str, Check] = {
    "python": software.python,
    "medtrain": software.own_install,
    "packages": software.packages,
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
    "folder": folders.writing,
    "room": folders.room,
    "privacy": folders.privacy,
    "clock": folders.clock,
    "sharing": folders.sharing,
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


def examine(check: Check) -> Finding | None:
    """A check's finding; a check that crashes is a finding too."""
    try:
        return check()
    except ModuleNotFoundError as error:
        return fail(f"the package {error.name} is missing", "see the check `packages`")
    except Exception as error:
        return fail(
            f"this check crashed: {type(error).__name__}: {error}",
            "please report it, with the output of: medtrain doctor",
        )


def line(name: str, finding: Finding) -> str:
    """State, name, what was found and what to do."""
    remedy = f"  -> {finding.fix}" if finding.fix else ""
    text = " ".join(f"{finding.text}{remedy}".split())
    return f"{paint(f'{finding.state:<4}', COLOURS[finding.state], sys.stdout)}  {name:<10}  {text}"
