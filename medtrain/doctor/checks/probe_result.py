"""What a probe of a cluster told: the job, and the lines of its batch script and ranks."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrain.config.sbatch_options import ranks_per_node
from medtrain.config.schema import SlurmConfig
from medtrain.doctor.checks import Finding

# What srun and slurmstepd write at every end, a good one too.
NOISE = ("CANCELLED AT", "srun: got SIG", "srun: forcing", "srun: Job step aborted", "srun: Terminating", "Exited with")
SAID_LINES = 4
Line = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """All that is known of a probe: what was requested, how the job went, and what batch script and ranks said."""

    asked: SlurmConfig
    planned_nodes: int  # of the profile, where the probe may have asked for more
    planned_run: bool  # whether the user gave the settings of a run to come
    job: str
    waited: float
    fields: dict[str, str]
    requeue_seconds: float | None
    never: Finding | None
    lines: list[Line]
    batch: list[Line]
    complaints: str
    software: dict[str, str]
    runs: Path

    def said(self, event: str) -> list[Line]:
        """The lines of one kind of all ranks."""
        return [line for line in self.lines if line["event"] == event]

    @property
    def last_words(self) -> str:
        """The end of what the job and srun complained of, without what they always say, each line once."""
        lines = (" ".join(line.split()) for line in self.complaints.splitlines())
        kept = [line for line in lines if line and not any(word in line for word in NOISE)]
        return "; ".join(list(dict.fromkeys(kept))[-SAID_LINES:]) or "no reason was given"

    @property
    def ranks(self) -> int:
        """Ranks that were requested."""
        return self.asked.nodes * ranks_per_node(self.asked)

    @functools.cached_property
    def lost(self) -> list[Line]:
        """What the shells of ranks said that ended by themselves, before any TERM."""
        asked = {line["rank"] for line in self.said("signal") if line["name"] == "SIGTERM"}
        return [line for line in self.said("died") if line["rank"] not in asked]

    @functools.cached_property
    def up(self) -> set[int]:
        """Ranks that started, and were there to the end."""
        return {line["rank"] for line in self.said("hello")} - {line["rank"] for line in self.lost}

    @functools.cached_property
    def nodes(self) -> dict[str, Line]:
        """What each node said of itself."""
        return {line["node"]: line for line in self.said("node")}

    @functools.cached_property
    def together(self) -> dict[str, Line]:
        """Those of them that see the probe's folder."""
        return {node: line for node, line in self.nodes.items() if "missing" not in line["folder"]}


def each(what: dict[str, str]) -> str:
    """What is said of nodes, those alike together: `a, b: the same; c: something else`."""
    texts = sorted(set(what.values()))
    return "; ".join(f"{', '.join(sorted(node for node in what if what[node] == text))}: {text}" for text in texts)


def all_nodes(told: Told) -> str:
    """As many as were heard of."""
    return f"the {len(told.nodes)} nodes" if len(told.nodes) > 1 else "the node"
