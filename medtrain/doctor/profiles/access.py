"""Who may use a partition: by its state, and by what it says of groups, accounts and QOS."""

from __future__ import annotations

import grp
import os
from collections.abc import Iterable
from dataclasses import dataclass

from medtrain.config.schema import SlurmConfig
from medtrain.doctor.checks import cluster, slurm
from medtrain.doctor.profiles.accounts import Association, Limits, narrowest
from medtrain.doctor.profiles.survey import Partition, Survey
from medtrain.slurm.queries import Fields

SHOWN = 2  # names in a reason
EVERYONE = ("", "ALL", "(null)")
NO_LIMITS = Limits()


@dataclass(frozen=True)
class Entry:
    """How a job gets into a partition: what it must name, and the most that it may have there; or `why_not`."""

    account: str = ""
    qos: str = ""
    """Empty where nothing has to be named."""
    limits: Limits = NO_LIMITS
    why_not: str = ""


def entry(partition: Partition, seen: Survey) -> Entry:
    """How this user's jobs get in, or why they do not: Slurm takes many a job that it then never starts."""
    fields = partition.fields
    row, barred = _association(partition, seen)
    qos, no_qos = _qos(partition, seen, row)
    account = row.account if row else ""
    reasons = [
        "" if fields.get("State") == "UP" else fields.get("State", "?"),
        "" if partition.in_service else "no node in service",
        _groups(fields.get("AllowGroups", "")),
        "for root only" if fields.get("RootOnly") == "YES" and os.getuid() else "",
        "needs a reservation" if fields.get("ReqResv") == "YES" else "",
        barred,
        no_qos,
    ]
    bounds = [Limits(minutes=partition.limit), row.limits if row else NO_LIMITS]
    default = row.default_qos if row else ""
    bounds += [seen.accounts.qos[name] for name in {qos or default, fields.get("QoS", "")} & seen.accounts.qos.keys()]
    limits = narrowest(bounds)
    reasons.append(_short(limits.minutes, fields))
    return Entry(account, qos, limits, next(filter(None, reasons), ""))


def _short(minutes: float | None, fields: Fields) -> str:
    asked = SlurmConfig(time="" if minutes is None else slurm.clock(minutes), signal_seconds=1)
    finding = cluster.warning(asked, {"MaxTime": "UNLIMITED", "DefaultTime": "NONE", **fields})
    return "limit too short to train" if finding is not None and finding.state == "FAIL" else ""


def _groups(allowed: str) -> str:
    if allowed in EVERYONE or os.getuid() == 0:  # Slurm lets root in everywhere
        return ""
    mine = set()
    for number in {os.getgid(), os.getegid(), *os.getgroups()}:
        try:
            mine.add(grp.getgrgid(number).gr_name)
        except KeyError:  # a group without a name
            continue
    return "" if mine & set(allowed.split(",")) else _only("group", allowed.split(","))


def _association(partition: Partition, seen: Survey) -> tuple[Association | None, str]:
    """The membership that a job of the partition uses, the user's default one where that will do, or why none does."""
    allowed, denied = (partition.fields.get(name, "") for name in ("AllowAccounts", "DenyAccounts"))
    rows = [row for row in seen.accounts.rows if row.partition in ("", partition.name)]
    rows.sort(key=lambda row: (row.account != seen.accounts.default, row.partition == ""))
    above = seen.accounts.above
    good = [row for row in rows if _listed({row.account, *above.get(row.account, ())}, allowed, denied)]
    if good or not seen.accounts.checked:
        return next(iter(good or rows), None), _lacks(seen) if not rows else ""
    if allowed not in EVERYONE:
        return (rows[0] if rows else None), _only("account", allowed.split(","))
    if rows:
        return rows[0], f"not for account {rows[0].account}"
    return None, _lacks(seen)


def _lacks(seen: Survey) -> str:
    known = seen.accounts.enforced and not seen.accounts.unknown
    return f"{seen.user} has no account" if known else ""


def _qos(partition: Partition, seen: Survey, row: Association | None) -> tuple[str, str]:
    """The QOS that a job must name, if any, or why none will do. Where QOS decide about preemption it is named always,
    and one that goes back to the queue, with a warning, is preferred."""
    allowed, denied = (partition.fields.get(name, "") for name in ("AllowQos", "DenyQos"))
    if row is None:  # without accounting there are no QOS, and Slurm does not look at these
        there = "slurmdbd" in seen.settings.get("AccountingStorageType", "")
        return "", _only("QOS", allowed.split(",")) if there and allowed not in EVERYONE else ""
    names = dict.fromkeys([row.default_qos, *row.qos] if row.default_qos in row.qos or not row.qos else row.qos)
    good = [name for name in names if _listed({name}, allowed, denied)]
    if not good:
        return "", _only("QOS", allowed.split(",")) if allowed not in EVERYONE else "not for your QOS"
    if seen.settings.get("PreemptType") == "preempt/qos":
        return next((name for name in good if _returns(partition.name, name)), good[0]), ""
    return ("" if good[0] == row.default_qos else good[0]), ""


def _returns(partition: str, qos: str) -> bool:
    finding = slurm.preemption(partition, qos)
    return finding is not None and finding.state == "ok"


def _listed(names: set[str], allowed: str, denied: str) -> bool:
    """Whether one of these is allowed, or none is denied: Slurm does not look at the second list where there is a
    first."""
    own = {name.lower() for name in names}
    if allowed not in EVERYONE:
        return bool(own & set(allowed.lower().split(",")))
    return not own & set(denied.lower().split(","))


def _only(what: str, names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    plural = what if what == "QOS" or len(found) == 1 else f"{what}s"
    return f"only {plural} {', '.join(found[:SHOWN])}{more}"
