"""What Slurm's accounting lets a user have: accounts, QOS and their limits, as sacctmgr tells them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from medtrain.doctor.checks import ask, slurm

UNITS = {"": 1, "M": 1, "G": 1024, "T": 1024 * 1024}  # of memory, in MB
OF_ASSOCIATION = ("Account", "Partition", "QOS", "DefaultQOS", "MaxWall", "MaxTRES", "MaxTRESPerNode", "GrpTRES")
OF_QOS = ("Name", "MaxWall", "MaxTRES", "MaxTRESPerNode", "MaxTRESPerUser", "GrpTRES")
OF_TREE = ("Account", "ParentName", "User")
HIERARCHICAL = (24, 11)  # since then what a partition allows an account holds for the accounts below it, too
USUAL_QOS = "normal"  # a job's where nothing names another


@dataclass(frozen=True)
class Limits:
    """The most that one job may have; None where there is no limit."""

    minutes: float | None = None
    gpus: int | None = None
    cpus: int | None = None
    memory_mb: int | None = None


@dataclass(frozen=True)
class Association:
    """A user's membership in an account, perhaps for one partition only."""

    account: str
    partition: str
    qos: tuple[str, ...]
    default_qos: str
    limits: Limits


@dataclass(frozen=True)
class Accounts:
    """What a user has; `unknown` says why nothing is known, and is empty where Slurm told."""

    unknown: str = ""
    default: str = ""
    rows: tuple[Association, ...] = ()
    qos: Mapping[str, Limits] = field(default_factory=dict)
    above: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """An account -> those that it is below, where Slurm looks at them."""
    enforced: bool = False
    """Whether a job needs an account that its user is a member of."""
    checked: bool = True
    """Whether a partition looks at the account of a job: since 24.11 only where that is enforced."""


def of(user: str, settings: Mapping[str, str]) -> Accounts:
    """Ask sacctmgr; without accounting there are no accounts to name."""
    hierarchical = version(settings) >= HIERARCHICAL
    if "slurmdbd" not in settings.get("AccountingStorageType", ""):
        return Accounts("there is no accounting: jobs need no account", checked=not hierarchical)
    words = settings.get("AccountingStorageEnforce", "").lower()
    enforced = any(word in words for word in ("assoc", "limits", "qos", "safe"))
    if shutil.which("sacctmgr") is None:
        return Accounts("sacctmgr is not here: whoever has an account writes it as `account:`", enforced=enforced)
    here = f"cluster={settings.get('ClusterName', '')}"
    rows, problem = _table("associations", OF_ASSOCIATION, f"user={user}", here)
    if problem:
        return Accounts(f"sacctmgr does not answer ({problem}): write your account as `account:`", enforced=enforced)
    qos, _ = _table("qos", OF_QOS)
    users, _ = _table("user", ("DefaultAccount",), user)
    return Accounts(
        default=users[0]["DefaultAccount"] if users else "",
        rows=tuple(_association(row) for row in rows),
        qos={row["Name"]: limits(row) for row in qos},
        above=_above(here) if hierarchical else {},
        enforced=enforced,
        checked=enforced or not hierarchical,
    )


def version(settings: Mapping[str, str]) -> tuple[int, int]:
    """The controller's: `24.11.3` is (24, 11)."""
    found = re.match(r"(\d+)\.(\d+)", settings.get("SLURM_VERSION", ""))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _above(here: str) -> dict[str, frozenset[str]]:
    rows, _ = _table("associations", OF_TREE, here)
    parents = {row["Account"]: row["ParentName"] for row in rows if not row["User"]}
    found = {}
    for account in parents:
        above: list[str] = []
        while (parent := parents.get(above[-1] if above else account)) and parent not in above:
            above.append(parent)
        found[account] = frozenset(above)
    return found


def _table(what: str, columns: tuple[str, ...], *of: str) -> tuple[list[dict[str, str]], str]:
    answer = ask("sacctmgr", "--noheader", "--parsable2", "show", what, *of, f"format={','.join(columns)}")
    lines = [line.split("|") for line in answer.out.splitlines() if line.count("|") == len(columns) - 1]
    return [dict(zip(columns, line, strict=True)) for line in lines], answer.reason if answer.code != 0 else ""


def _association(row: Mapping[str, str]) -> Association:
    qos = tuple(name for name in row["QOS"].split(",") if name)
    usual = USUAL_QOS if USUAL_QOS in qos or not qos else qos[0]
    return Association(row["Account"], row["Partition"], qos, row["DefaultQOS"] or usual, limits(row))


def limits(row: Mapping[str, str]) -> Limits:
    """The least of a row of sacctmgr: of a job, of a node, and of all jobs of a user or a group, which one may fill."""
    told: dict[str, list[int]] = {"gres/gpu": [], "cpu": [], "mem": []}
    for name in ("MaxTRES", "MaxTRESPerNode", "MaxTRESPerUser", "GrpTRES"):
        for kind, number, unit in re.findall(r"(?:^|,)([\w/]+)=(\d+)([MGT]?)", row.get(name, "")):
            if kind in told:
                told[kind].append(int(number) * UNITS[unit])
    gpus, cpus, memory = (min(found, default=None) for found in told.values())
    return Limits(slurm.minutes(row.get("MaxWall", "")), gpus, cpus, memory)


def narrowest(several: list[Limits]) -> Limits:
    """The least of several."""

    def least(name: str) -> float | None:
        return min((getattr(each, name) for each in several if getattr(each, name) is not None), default=None)

    gpus, cpus, memory = (
        None if (found := least(name)) is None else int(found) for name in ("gpus", "cpus", "memory_mb")
    )
    return Limits(least("minutes"), gpus, cpus, memory)
