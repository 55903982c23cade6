"""What a run computes with, in its `environment.txt`: a line a fact, NAME VALUE; its digest is in every checkpoint."""

from __future__ import annotations

import re

from medtrain.runs.run import Run

DIFFERS = "this attempt differs from the first"  # in train.log, before what it computes with otherwise
Facts = dict[str, str]  # medtrain, python, device, processor, threads, and packages, each with what it is


def recorded(run: Run) -> Facts:
    """What the run began with; `{}` where it was not written down."""
    if not run.environment.exists():
        return {}
    lines = run.environment.read_text(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition(" ") for line in lines)}


def record(run: Run, facts: Facts) -> None:
    """Write them down; raises OSError."""
    run.environment.write_text("".join(f"{name} {value}\n" for name, value in facts.items()))


def differing(facts: Facts, other: Facts) -> Facts:
    """Those of `facts` that the others have otherwise, or not at all."""
    return {name: value for name, value in facts.items() if other.get(name) != value}


def other_devices(run: Run) -> list[str]:
    """The devices of attempts that computed on another model than the first, by the warnings in the log."""
    lines = run.log.read_text(errors="replace").splitlines() if run.log.exists() else []
    told = (re.search(r"[( ]device (.+?)(?:, \w[\w-]* |\): )", line) for line in lines if DIFFERS in line)
    return sorted({found[1] for found in told if found})
