"""Checks of a cluster's profile against what Slurm says of itself, before any job is sent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from medtrain.config import sbatch_options
from medtrain.config.moldable import fewest_nodes
from medtrain.config.schema import SlurmConfig
from medtrain.core.errors import MachineError
from medtrain.doctor.checks import Answer, Check, Finding, ask, examine, fail, ok, slurm
from medtrain.slurm.queries import Fields, out_of_service, parse
from medtrain.slurm.sbatch import as_file

GPUS = re.compile(r"(?:^|,)gpu:(?:([^:(,]+):)?(\d+)")
WARNING_SECONDS = 60  # Slurm may send the warning of a time limit so much too early


def findings(asked: SlurmConfig, script: str, there: Fields) -> Iterator[tuple[str, Finding]]:
    """Check by check; only the first where the partition cannot be used at all.

    `script` is what would be sent, `there` the partition that `chosen` found for it.
    """
    found = usable(asked, there)
    yield "partition", found
    if found.state == "FAIL":
        return
    checks: dict[str, Check] = {
        "limits": lambda: limits(asked, there),
        "request": lambda: request(script),
        "time limit": lambda: warning(asked, there),
        "requeueing": slurm.requeueing,
        "preemption": lambda: slurm.preemption(there["PartitionName"], asked.qos),
    }
    for name, check in checks.items():
        if finding := examine(check):
            yield name, finding


def chosen(asked: SlurmConfig, script: str) -> Fields:
    """What Slurm says of the partition that a job would run in, or `{}`.

    Of several that a profile names Slurm takes whichever can start the job first, so one that fits is enough. Where it
    names none, a variable, the site's own rules or the default decide, and Slurm says which.
    """
    rows = {row["PartitionName"]: row for row in all_partitions()}
    if asked.partition:
        names = asked.partition.split(",")
    else:
        routed = re.findall(r"in partition (\S+)", test(script).error)
        names = routed or [name for name, row in rows.items() if row.get("Default") == "YES"]
    named = [rows[name] for name in names if name in rows]
    faults = {row["PartitionName"]: [usable(asked, row).state, limits(asked, row).state] for row in named}
    return min(named, key=lambda row: faults[row["PartitionName"]].count("FAIL"), default={})


def test(script: str) -> Answer:
    """What Slurm says of a script that it only has to look at."""
    with as_file(script) as file:
        return ask("sbatch", "--test-only", file)


def most_nodes(there: Fields) -> int:
    """Nodes that one job may have in a partition."""
    most, total = there.get("MaxNodes", ""), int(there.get("TotalNodes", "1"))
    return min(int(most), total) if most.isdigit() else total


def suitable_nodes(asked: SlurmConfig, there: Fields) -> int:
    """Nodes of a partition that are in service and have what is asked of each."""
    ranks, gpus = sbatch_options.ranks_per_node(asked), sbatch_options.gpus_per_node(asked)
    return sum(
        not out_of_service(state)
        and _gpus(gres, sbatch_options.gpu_type(asked)) >= gpus
        and int(cores) >= asked.cpus_per_task * ranks
        and int(mb) >= asked.mem_gb * 1024
        for _, state, gres, cores, mb in _nodes(there["PartitionName"])
    )


def usable(asked: SlurmConfig, there: Fields) -> Finding:
    """Whether there is such a partition, and nodes of it are in service."""
    known = [row["PartitionName"] for row in all_partitions()]
    names = ", ".join(known)
    strange = [name for name in asked.partition.split(",") if name and name not in known]
    if strange or not there:
        what = f"there is no partition {', '.join(strange)}" if strange else "no partition is the default one"
        return fail(f"{what} (there are: {names})", "write one of them into the profile: partition: NAME")
    name = there["PartitionName"]
    if there["State"] != "UP":
        return fail(
            f"partition {name} is {there['State']}: no job starts in it",
            f"wait, or take another (there are: {names}); the administrators know why",
        )
    rows = _nodes(name)
    bad = sorted(row[0] for row in rows if out_of_service(row[1]))
    text = f"{name}: {len(rows) - len(bad)} of {len(rows)} nodes in service, limit {there['MaxTime']}"
    if len(rows) - len(bad) < fewest_nodes(asked):
        gone = f" ({', '.join(bad)} out of service)" if bad else ""
        return fail(
            f"{text}; the profile asks for {fewest_nodes(asked)}{gone}",
            "wait until they are back (sinfo -R says why they are not), or ask for fewer: nodes: N",
        )
    return ok(text)


def limits(asked: SlurmConfig, there: Fields) -> Finding:
    """Whether the profile asks for more than the partition gives: Slurm takes such a job and never starts it."""
    most = slurm.minutes(there["MaxTime"])
    wrong = []
    if most is not None and (slurm.minutes(asked.time) or 0) > most:
        wrong.append(f"time {asked.time} is more than the limit {there['MaxTime']}")
    nodes = fewest_nodes(asked)
    if nodes > most_nodes(there):
        wrong.append(f"nodes {nodes} is more than {most_nodes(there)}, the most for a job")
    rows = _nodes(there["PartitionName"])
    ranks, kind = sbatch_options.ranks_per_node(asked), sbatch_options.gpu_type(asked)
    gpus = f"gpus_per_node {kind}:" if kind else "gpus_per_node "
    for what, wanted, each in (
        (gpus, sbatch_options.gpus_per_node(asked), [_gpus(row[2], kind) for row in rows]),
        ("cpus_per_task x ranks a node ", asked.cpus_per_task * ranks, [int(row[3]) for row in rows]),
        ("mem_gb ", asked.mem_gb, [int(row[4]) / 1024 for row in rows]),
    ):
        if sum(has >= wanted for has in each) < nodes:
            wrong.append(f"{what}{wanted:g} is more than a node has ({max(each):g})")
    if wrong:
        return fail(
            f"partition {there['PartitionName']}: {'; '.join(wrong)}",
            "correct the profile; what there is: sinfo -o '%P %l %D %G %c %m'",
        )
    return ok(f"{there['PartitionName']} gives what the profile asks for")


def request(script: str) -> Finding:
    """Whether Slurm would take the very script that `medtrain submit` sends."""
    answer = test(script)
    if answer.code != 0:
        return fail(
            f"Slurm refuses such a job ({answer.reason})",
            "correct account, qos, partition or the request in the profile (sacctmgr show assoc user=$USER)",
        )
    return ok("Slurm would take the job of this profile")


def warning(asked: SlurmConfig, there: Fields) -> Finding | None:
    """Whether the warning before the time limit leaves time to train."""
    least = sbatch_options.named(asked.sbatch).get("time-min")  # Slurm may shorten the limit to that
    usual = there["MaxTime"] if there["DefaultTime"] == "NONE" else there["DefaultTime"]
    given = least or asked.time or usual
    limit = slurm.minutes(given)
    if limit is None:
        return ok("no time limit")
    if asked.signal_seconds + WARNING_SECONDS >= limit * 60:
        said, longer = (f"may be {given} (--time-min) and", "--time-min") if least else (given, "time:")
        return fail(
            f"the time limit {said} leaves no time to train: the warning comes {asked.signal_seconds} s before it, "
            "or up to a minute earlier",
            f"in the profile: a longer {longer}, or a shorter signal_seconds:",
        )
    return ok(f"{given}; Slurm warns {asked.signal_seconds} s before it, or up to a minute earlier")


def all_partitions() -> list[Fields]:
    """What Slurm says of each partition, hidden ones too."""
    answer = ask("scontrol", "--all", "--oneliner", "show", "partition")
    if answer.code != 0:
        raise MachineError(
            f"Slurm does not answer ({answer.reason})", "ask again; is the controller up (scontrol ping)?"
        )
    return [parse(line) for line in answer.out.splitlines() if line]


def _nodes(name: str) -> list[list[str]]:
    """Name, state, GPUs and the like, CPUs and memory (MB) of a partition's nodes."""
    lines = ask("sinfo", "--noheader", "--Node", f"--partition={name}", "--format=%N|%T|%G|%c|%m").out.splitlines()
    return [line.split("|") for line in lines if line.count("|") == 4]


def gpus_of(gres: str) -> tuple[tuple[str, int], ...]:
    """`gpu:a100:4(S:0-1),nvme:1` has four of a100."""
    found: Counter[str] = Counter()
    for kind, number in GPUS.findall(gres):
        found[kind] += int(number)
    return tuple(sorted(found.items()))


def _gpus(gres: str, kind: str = "") -> int:
    """The GPUs of a node, or those of a type. Slurm does not look at upper and lower case there."""
    return sum(count for name, count in gpus_of(gres) if kind.lower() in ("", name.lower()))
