"""The command doctor: what is wrong with this machine or a cluster, and what to do."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from medtrain.core.console import in_line, paint, say, say_json
from medtrain.core.errors import EXIT_DONE, EXIT_ENVIRONMENT, InputError
from medtrain.doctor.checks import Finding
from medtrain.doctor.local import findings, probed

with contextlib.suppress(ImportError):  # the doctor must be able to say that tyro is missing
    from medtrain.cli.flag_types import SbatchOptions

COLOURS = {"ok": "32", "warn": "33", "FAIL": "31;1"}


def doctor(
    folder: Path = Path(),
    cluster: str = "",
    nodes: int = 0,
    wait: float = 300.0,
    config: Path | None = None,
    sbatch: SbatchOptions = (),
    json: bool = False,
) -> int:
    """Check this machine: packages, GPUs, Slurm, shared folder. Exit code 1 if training would not work.

    With --cluster, check a Slurm cluster instead, by a short job (about a minute, and the time it waits): signals,
    requeueing, GPUs, ports, clocks, shared folder and software of its nodes.

    Args:
        folder: Where runs and shards are to be kept.
        cluster: A cluster file by name (medtrain cluster list) or path: probe that cluster with these settings.
        nodes: Nodes of the probe (0: the profile's, but two at least where there are two).
        wait: Seconds that the probe may wait in the queue.
        config: Settings file of a run that you plan: its pretrained weights are looked for on the nodes.
        sbatch: Further options of sbatch for the probe, one by one: --sbatch=--reservation=NAME, or --reservation NAME.
        json: Print one JSON document.
    """
    if not cluster and (nodes or config or sbatch):
        raise InputError(
            "doctor: --nodes, --config and options of sbatch are about a cluster", "name it too: --cluster NAME"
        )
    if nodes < 0 or wait <= 0:
        raise InputError("doctor: --nodes and --wait must not be negative", "omit them, or give --wait 300")
    found = []
    for name, finding in probed(cluster, folder, config, nodes, wait, sbatch) if cluster else findings(folder):
        found.append((name, finding))
        if not json:
            print(line(name, finding), flush=True)  # it holds colours
    if json:
        say_json({"checks": [{"name": name, **vars(finding)} for name, finding in found]})
    else:
        counts = {state: sum(finding.state == state for _, finding in found) for state in COLOURS}
        say(f"\n{counts['ok']} ok, {counts['warn']} warnings, {counts['FAIL']} failures")
    return EXIT_ENVIRONMENT if any(finding.state == "FAIL" for _, finding in found) else EXIT_DONE


def line(name: str, finding: Finding) -> str:
    """State, name, what was found and what to do."""
    remedy = f"  -> {finding.fix}" if finding.fix else ""
    text = " ".join(f"{finding.text}{remedy}".split())
    return f"{paint(f'{finding.state:<4}', COLOURS[finding.state], sys.stdout)}  {name:<10}  {in_line(text)}"
