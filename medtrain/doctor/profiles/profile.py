"""The values of a cluster file for one partition, and what there is to say about each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from medtrain.config.schema import SlurmConfig
from medtrain.core.counts import counted
from medtrain.doctor.checks import slurm
from medtrain.doctor.checks.cluster import WARNING_SECONDS
from medtrain.doctor.profiles.access import Entry
from medtrain.doctor.profiles.survey import Partition, Survey

DAY_MINUTES = 24 * 60
SLICE = re.compile(r"\dg\.\d+gb", re.IGNORECASE)
Kind = tuple[str, int]


@dataclass(frozen=True)
class Share:
    """What a job on one node gets: GPUs of a kind, or none, and the cores and the memory that go with them."""

    kind: Kind | None
    gpus: int
    cores_each: int
    """Of a GPU, or without GPUs of the node."""
    memory_gb: int
    """Of the node."""

    @property
    def memory_each(self) -> int:
        """The same of a GPU."""
        return self.memory_gb // max(self.gpus, 1)


@dataclass(frozen=True)
class Profile:
    """A partition's values; `remarks` has a few words on each."""

    partition: Partition
    entry: Entry
    share: Share
    config: SlurmConfig
    remarks: dict[str, str]


def gpu_request(kind: Kind, types: list[str]) -> tuple[str, str]:
    """The type by which GPUs of a kind are requested in a partition that has these types, and a remark.

    Where a partition has one type, or some of its GPUs have none, any will do.
    """
    name = kind[0]
    if len(types) < 2:
        return "", f"of type {name}" if name else ""
    others = [other for other in types if other and other != name]
    several = ", ".join(kind or "others" for kind in types)
    return (name, f"or {', '.join(others)}") if name and others else ("", f"of {several}")


def share(partition: Partition, entry: Entry, seen: Survey) -> Share:
    """Whole nodes of the kind that has the most GPUs in all, within what one job may have."""
    several = partition.kinds
    kind = max(several, key=lambda kind: (not sliced(kind), kind[1] * several[kind], several[kind], kind), default=None)
    nodes, bounds = partition.alike(kind), entry.limits
    threads = max((node.threads for node in nodes), default=1)
    cpus = min((node.cpus for node in nodes), default=1)
    memory = min((node.memory_mb for node in nodes), default=0)
    wide = {**seen.settings, **partition.fields}  # a partition's own limits win
    most, per_cpu = (_number(wide, name) for name in ("MaxMemPerNode", "MaxMemPerCPU"))
    cpus = min(cpus, _number(wide, "MaxCPUsPerNode") or cpus, bounds.cpus or cpus)
    all_gpus = kind[1] if kind else 0
    gpus = all_gpus if bounds.gpus is None else min(all_gpus, bounds.gpus)
    each = cpus // max(all_gpus, 1)
    each = max(each - each % threads if each > threads else each, 1)  # Slurm grants whole cores
    granted = memory * gpus // all_gpus if gpus else memory
    of_cpus = per_cpu * each * max(gpus, 1) if per_cpu else granted
    granted = min(granted, most or granted, bounds.memory_mb or granted, of_cpus)
    return Share(kind, gpus, each, granted // 1024)


def sliced(kind: Kind | None) -> bool:
    """Whether these are slices of GPUs (MIG), such as 1g.10gb, between which NCCL does not communicate."""
    return kind is not None and SLICE.search(kind[0]) is not None


def profile(partition: Partition, entry: Entry, seen: Survey) -> Profile:
    """The values for a partition."""
    given = share(partition, entry, seen)
    kind, gpus, limit = given.kind, given.gpus, entry.limits.minutes
    gpu_type, of_gpus = gpu_request((kind[0], gpus), partition.types) if kind and gpus else ("", "")
    minutes = DAY_MINUTES if limit is None else min(limit, DAY_MINUTES)
    nodes = _number(partition.fields, "MinNodes") or 1
    config = SlurmConfig(
        nodes=nodes,
        tasks_per_node=0 if gpus else 1,
        gpus_per_node=gpus if kind else 0,
        gpu_type=gpu_type,
        cpus_per_task=given.cores_each,
        mem_gb=given.memory_gb,
        time=slurm.clock(minutes),
        partition=partition.name,
        account=entry.account,
        qos=entry.qos,
        signal_seconds=warning_seconds(minutes),
    )
    others = [row.account for row in seen.accounts.rows if row.account != entry.account]
    nodes_like = len(partition.alike(kind))
    in_all = "" if nodes_like == partition.in_service else f" on {counted(nodes_like, 'nodes')}"
    allowed = "no limit" if limit is None else f"at most {slurm.clock(limit)}"
    remarks = {
        "partition": f"{partition.in_service} of {len(partition.nodes)} nodes in service",
        "account": f"yours too: {', '.join(sorted({*others}))}" if others else "",
        "qos": "jobs are preempted by their QOS" if seen.settings.get("PreemptType") == "preempt/qos" else "",
        "nodes": f"at least {nodes} for each job here",
        "tasks_per_node": "no GPUs here: one rank a node",
        "gpus_per_node": f"all of a node{in_all}" if kind and gpus == kind[1] else "the most that you may have",
        "cpus_per_task": "cores for each GPU" if gpus else "all cores of a node",
        "mem_gb": f"of a node: {given.memory_each} for each GPU" if gpus else "all of a node",
        "time": f"of one job ({allowed}); a run that takes longer resumes in its next job",
        "signal_seconds": "between Slurm's warning and that limit: one step and one save must fit",
    }
    if of_gpus:
        remarks["gpus_per_node"] += f", {of_gpus}"
    return Profile(partition, entry, given, config, remarks)


def warning_seconds(minutes: float) -> int:
    """The usual ones, or of a short limit half of what remains where Slurm warns a minute early."""
    return max(min(SlurmConfig().signal_seconds, int(minutes * 60 - WARNING_SECONDS) // 2), 1)


def _number(fields: Mapping[str, str], name: str) -> int | None:
    text = fields.get(name, "")
    return int(text) if text.isdigit() and int(text) else None
