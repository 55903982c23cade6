"""Write the file of the cluster that one is on: choose a partition, and prove the values by the doctor's checks."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medtrain.config import cluster_files, configfile
from medtrain.config.schema import Config
from medtrain.config.yaml12 import parse_yaml
from medtrain.core.errors import InputError, MachineError, nearest
from medtrain.doctor.checks import Finding, cluster, slurm
from medtrain.doctor.profiles import access, profile_text
from medtrain.doctor.profiles.access import Entry
from medtrain.doctor.profiles.profile import Profile, profile, share, sliced
from medtrain.doctor.profiles.survey import Partition, Survey, survey
from medtrain.launch import submit as launch
from medtrain.runs.run import Run
from medtrain.slurm import sbatch

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
TRIED = 5  # partitions that are asked about before one gives up: each is a question to the controller
Findings = list[tuple[str, Finding]]


@dataclass(frozen=True)
class Written:
    """A new cluster file, and what the doctor finds of it without a job."""

    name: str
    path: Path
    profile: Profile
    findings: Findings


def write(name: str, partition: str) -> Written:
    """Write the file of this cluster; InputError where there is one of that name already."""
    sbatch.require_slurm(f"write the file by hand, after {cluster_files.PACKAGED / 'example.yaml'};")
    if name:  # before anything is asked
        new_path(name)
    seen = survey()
    name = name or seen.name
    path = new_path(name)
    made, findings = chosen(seen, partition)
    text = profile_text.text(name, made, seen, findings)
    values = {"slurm": parse_yaml(text, str(path))}
    if configfile.merge(Config(), values, str(path)).slurm != made.config:
        raise RuntimeError(f"{path}: the settings changed when read back:\n{text}")
    save(path, text)
    return Written(name, path, made, findings)


def new_path(name: str) -> Path:
    """Where a file of that name goes; InputError where it may not be."""
    if not NAME.fullmatch(name) or name.endswith(cluster_files.ENDINGS):
        raise InputError(
            f"a cluster file cannot have the name {name!r}", "choose letters, digits, - and _: cluster init gpu"
        )
    path = cluster_files.own_folder() / f"{name}.yaml"
    if os.path.lexists(path):
        raise InputError(
            f"{path} exists already, and is not overwritten",
            f"look at it: medtrain cluster show {name}; write another: medtrain cluster init OTHER_NAME; or move it:"
            f" mv {shlex.quote(str(path))} {shlex.quote(f'{path}.old')}",
        )
    return path


def save(path: Path, text: str) -> None:
    """For its user's eyes, as the umask of every process of medtrain has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


def chosen(seen: Survey, wanted: str) -> tuple[Profile, Findings]:
    """The first partition that the doctor finds usable, in order of preference, or the wanted one."""
    usable, refused = ranked(seen)
    candidates = usable
    if wanted:
        ensure_there(seen, wanted)
        candidates = [one for one in usable if one[0].name == wanted]
        refused = [reason for reason in refused if reason.startswith(f"{wanted}: ")]
    for partition, entry in candidates[:TRIED]:
        made = profile(partition, entry, seen)
        findings = list(examined(made))
        bad = [finding.text for _, finding in findings if finding.state == "FAIL"]
        if not bad:
            return made, findings
        refused.append(f"{partition.name}: {bad[0]}")
    if wanted and (others := [partition.name for partition, _ in usable if partition.name != wanted]):
        problem = f"no job of {seen.user} could train in the partition {refused[0]}"
        raise MachineError(problem, f"choose another: --partition {others[0]}")
    raise MachineError(
        f"no job of {seen.user} could train in any partition here ({'; '.join(refused[:TRIED])})",
        "ask your administrator for access to one; where nodes are out of service, wait (sinfo -R says why)",
    )


def ensure_there(seen: Survey, wanted: str) -> None:
    """InputError where the cluster has no such partition."""
    names = [partition.name for partition in seen.partitions]
    if wanted not in names:
        raise InputError(f"there is no partition {wanted}{nearest(wanted, names)}", f"there are: {', '.join(names)}")


def ranked(seen: Survey) -> tuple[list[tuple[Partition, Entry]], list[str]]:
    """The partitions that this user may use, the best first: with GPUs, where a preempted job comes back after a
    warning, of the longest limit, of the most nodes, the default one. And the others, each with why not."""
    entries = [(partition, access.entry(partition, seen)) for partition in seen.partitions]
    usable = [(partition, entry) for partition, entry in entries if not entry.why_not]
    refused = [f"{partition.name}: {entry.why_not}" for partition, entry in entries if entry.why_not]

    def better(one: tuple[Partition, Entry]) -> tuple[object, ...]:
        partition, entry = one
        finding = slurm.preemption(partition.name, entry.qos)
        limit, given = entry.limits.minutes, share(partition, entry, seen)
        return (
            given.gpus == 0 or sliced(given.kind),
            finding is not None and finding.state != "ok",
            -(float("inf") if limit is None else limit),
            -partition.in_service,
            partition.fields.get("Default") != "YES",
        )

    return sorted(usable, key=better), refused


def examined(made: Profile) -> Iterator[tuple[str, Finding]]:
    """What `medtrain doctor --cluster` says of the values before it sends a job, and how long a job may save."""
    script = launch.script(Run(Path("medtrain-doctor")), made.config)
    yield from cluster.findings(made.config, script, made.partition.fields)
    if finding := slurm.kill_wait():
        yield "ending", finding
