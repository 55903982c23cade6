"""What Slurm says of a cluster: its settings, its partitions, and what their nodes have."""

from __future__ import annotations

import os
import pwd
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from medtrain.core.errors import MachineError
from medtrain.doctor.checks import ask, cluster, slurm
from medtrain.doctor.profiles import accounts, environment_modules
from medtrain.doctor.profiles.accounts import Accounts
from medtrain.doctor.profiles.environment_modules import Modules
from medtrain.slurm.queries import Fields, out_of_service, parse, remedy


@dataclass(frozen=True)
class Node:
    """A node and what jobs can have of it."""

    state: str
    gpus: tuple[tuple[str, int], ...]
    """How many there are of each type; the type is empty where Slurm knows none."""
    cpus: int
    threads: int
    """Of a core: Slurm grants whole cores."""
    memory_mb: int
    disk_mb: int

    @property
    def in_service(self) -> bool:
        """Whether it takes jobs."""
        return not out_of_service(self.state)


@dataclass(frozen=True)
class Partition:
    """A partition: its fields as `scontrol show partition` has them, and its nodes."""

    fields: Fields
    nodes: tuple[Node, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return self.fields["PartitionName"]

    @property
    def limit(self) -> float | None:
        """Its time limit in minutes; None where there is none."""
        return slurm.minutes(self.fields.get("MaxTime", "UNLIMITED"))

    @property
    def in_service(self) -> int:
        """How many of its nodes take jobs."""
        return sum(node.in_service for node in self.nodes)

    @cached_property
    def kinds(self) -> Counter[tuple[str, int]]:
        """The GPUs of a node, type and number -> how many nodes have such; where any is in service, of those alone."""
        nodes = [node for node in self.nodes if node.in_service] or self.nodes
        return Counter(kind for node in nodes for kind in node.gpus)

    @property
    def types(self) -> list[str]:
        """The types of its GPUs, those without a type as an empty one."""
        return sorted({kind for kind, _ in self.kinds})

    def alike(self, kind: tuple[str, int] | None) -> list[Node]:
        """The nodes that have such GPUs, or all nodes (None)."""
        found = [node for node in self.nodes if kind is None or kind in node.gpus]
        return [node for node in found if node.in_service] or found


@dataclass(frozen=True)
class Survey:
    """All that Slurm said."""

    settings: dict[str, str]
    partitions: tuple[Partition, ...]
    accounts: Accounts
    modules: Modules
    user: str

    @property
    def name(self) -> str:
        """What the cluster calls itself."""
        return self.settings.get("ClusterName", "cluster")


def survey() -> Survey:
    """Ask Slurm; MachineError where it does not answer."""
    settings = slurm.configuration()
    if settings is None:
        said = ask("scontrol", "show", "config")
        raise MachineError(f"Slurm does not answer ({said.reason})", remedy(said.error))
    nodes = _nodes()
    found = [
        Partition(fields, tuple(node for names, node in nodes if fields["PartitionName"] in names))
        for fields in cluster.all_partitions()
    ]
    user = user_name()
    return Survey(settings, tuple(found), accounts.of(user, settings), environment_modules.look(), user)


def user_name() -> str:
    """Who asks; a number where the system knows no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _nodes() -> list[tuple[set[str], Node]]:
    """Each node, with the names of its partitions."""
    answer = ask("scontrol", "--all", "--oneliner", "show", "node")
    if answer.code != 0:
        raise MachineError(f"Slurm does not tell its nodes ({answer.reason})", remedy(answer.error))
    rows = [parse(line) for line in answer.out.splitlines() if line.startswith("NodeName=")]
    return [(set(row.get("Partitions", "").split(",")), node(row)) for row in rows]


def node(row: Fields) -> Node:
    """A node by its fields. What the system of the node keeps for itself is no job's: CoreSpecCount, MemSpecLimit."""
    number = {name: int(row[name]) for name in row if row[name].isdigit()}
    return Node(
        state=row.get("State", "UNKNOWN"),
        gpus=cluster.gpus_of(row.get("Gres", "")),
        cpus=number.get("CPUEfctv", number.get("CPUTot", 1)),
        threads=number.get("ThreadsPerCore", 1),
        memory_mb=max(number.get("RealMemory", 0) - number.get("MemSpecLimit", 0), 0),
        disk_mb=number.get("TmpDisk", 0),
    )
