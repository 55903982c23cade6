"""sbatch's own options in the setting `slurm.sbatch`: read, merged by name, and what contradicts a setting.

The options are those of sbatch from Slurm 22.05 to 26.05 (man sbatch). What a newer one has more goes through
`--sbatch=--NAME=VALUE` untouched, and Slurm itself says whether it knows it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from medtrain.config.node_range import nodes_range

if TYPE_CHECKING:
    from medtrain.config.slurm_settings import SlurmConfig

# That have a value behind `=` or a blank. Known by these names as flags of medtrain's commands.
VALUED = (
    "acctg-freq", "bb", "bbf", "begin", "cluster-constraint", "comment", "core-spec", "cores-per-socket", "cpu-freq",
    "cpus-per-gpu", "deadline", "delay-boot", "distribution", "exclude", "export", "extra", "extra-node-info",
    "gpu-bind", "gpu-freq", "gpus", "gpus-per-socket", "gpus-per-task", "gres", "gres-flags", "hint", "licenses",
    "mail-type", "mail-user", "mcs-label", "mem-bind", "mem-per-cpu", "mem-per-gpu", "mincpus", "network", "nodefile",
    "nodelist", "ntasks-per-core", "ntasks-per-socket", "oom-kill-step", "power", "prefer", "priority", "profile",
    "reservation", "resv-ports", "segment", "sockets-per-node", "switches", "thread-spec", "threads-per-core",
    "time-min", "tmp", "tres-bind", "tres-per-task", "wait-all-nodes", "wckey",
)  # fmt: skip
# That have none, or one behind `=` alone (exclusive=user).
BARE = (
    "consolidate-segments", "contiguous", "exclusive", "get-user-env", "hold", "nice", "no-kill", "overcommit",
    "oversubscribe", "propagate", "reboot", "spread-job", "spread-segments", "stepmgr", "use-min-nodes",
)  # fmt: skip
# Option -> the setting that is the same thing.
SETTINGS = {
    "account": "account", "array": "array_throttle", "constraint": "constraint", "cpus-per-task": "cpus_per_task",
    "dependency": "dependency", "gpus-per-node": "gpus_per_node", "job-name": "run", "mem": "mem_gb", "nodes": "nodes",
    "ntasks": "tasks_per_node", "ntasks-per-gpu": "tasks_per_node", "ntasks-per-node": "tasks_per_node",
    "partition": "partition", "qos": "qos", "signal": "signal_seconds", "time": "time",
}  # fmt: skip
# Option -> why a run cannot have it.
SUPERVISION = {
    "chdir": "the job works in the folder that it is sent from",
    "clusters": "log in to that cluster, and submit there",
    "error": "the log is in the folder of the run",
    "export-file": "export the variables before the command, or in setup",
    "gid": "submit as a member of that group",
    "input": "a run reads no input",
    "kill-on-invalid-dep": "medtrain sets it",
    "no-requeue": "a run that is preempted goes back to the queue",
    "open-mode": "medtrain sets it",
    "output": "the log is in the folder of the run",
    "requeue": "medtrain sets it",
    "test-only": "medtrain submit RECIPE --dry-run shows the script, medtrain doctor --cluster NAME tests it",
    "uid": "submit as that user",
    "wait": "medtrain status RUN and medtrain logs RUN -f show how it is",
    "wrap": "the script of the job is medtrain's",
    **dict.fromkeys(("help", "ignore-pbs", "parsable", "quiet", "usage", "verbose", "version"), "it asks for nothing"),
}
# Ways to ask for one thing, of which a job has one: settings first.
GPUS = ("gpus_per_node", "gres", "gpus", "gpus-per-socket", "gpus-per-task", "tres-per-task")
NOTHING: dict[str, dict[str, Any]] = {
    "gpus_per_node": {"gpus_per_node": 0, "gpu_type": ""},
    "mem_gb": {"mem_gb": 0.0},
    "cpus_per_task": {"cpus_per_task": 0},
}
ALTERNATIVES = (GPUS, ("mem_gb", "mem-per-cpu", "mem-per-gpu"), ("cpus_per_task", "cpus-per-gpu"))
# What a job of one process without GPUs has no use for when it comes from the profile of a cluster.
OF_SHAPE = (*GPUS, "consolidate-segments", "contiguous", "cpus-per-gpu", "exclusive", "gpu-bind", "gpu-freq",
            "gres-flags", "mem-per-gpu", "mincpus", "nodefile", "nodelist", "segment", "spread-job", "spread-segments",
            "switches")  # fmt: skip
# About when the job may start that is sent now, and not the next one of the run.
ONCE = ("begin", "deadline", "hold")
OPTION = re.compile(r"--([a-z][a-z0-9_-]*)(=[^\n]*)?")
TYPED = re.compile(r"(?:gpu:)?((?!gpu:)[A-Za-z][\w.-]*):(\d+)")
# `gpu:4`, `gpu:a100:4`, `gres/gpu:a100=4` among others between commas.
GPU = re.compile(r"(?:^|,)(?:gres[/:])?gpu(?::(?P<type>[A-Za-z][^:=,(]*))?(?:[:=](?P<count>\d+))?(?=[,(]|$)")


def split(option: str) -> tuple[str, str | None]:
    """`--gres=gpu:4` -> ("gres", "gpu:4"), `--exclusive` -> ("exclusive", None). ValueError for anything else."""
    found = OPTION.fullmatch(option)
    if found is None:
        raise ValueError(f"{option!r} is no option of sbatch: write --NAME=VALUE or --NAME")
    return found[1].replace("_", "-"), found[2] and found[2][1:]


def named(options: Iterable[str]) -> dict[str, str | None]:
    """Options by their names; of one that is there twice the last, as sbatch has it. Unreadable ones are left out."""
    readable = [option for option in options if OPTION.fullmatch(option)]
    return dict(map(split, readable))


def spelled(options: dict[str, str | None]) -> tuple[str, ...]:
    """Options as the setting has them."""
    return tuple(f"--{name}" if value is None else f"--{name}={value}" for name, value in options.items())


def typed(value: object) -> tuple[str, int] | None:
    """`a100:4` as sbatch's --gpus-per-node has it -> ("a100", 4); None for what is no typed number."""
    found = TYPED.fullmatch(str(value))
    return (found[1], int(found[2])) if found else None


def laid_over(slurm: SlurmConfig, changes: dict[str, Any]) -> dict[str, Any]:
    """The `changes` to the settings of Slurm that a file or flags make, with `sbatch` merged by the names of options;
    another way in which the lower settings ask for the same thing gives way.

    An option with an empty value is taken away: `--reservation=`.
    """
    changes = dict(changes)
    if "nodes" in changes:
        fewest, most = nodes_range(changes["nodes"]) or (0, changes["nodes"])
        changes = {"min_nodes": fewest, **changes, "nodes": most}
    if two := typed(changes.get("gpus_per_node")):
        changes = {"gpu_type": two[0], **changes, "gpus_per_node": two[1]}
    unreadable = tuple(option for option in changes.get("sbatch", ()) if not OPTION.fullmatch(option))
    own = named(changes.get("sbatch", ()))
    given = {*changes, *(name for name, value in own.items() if not _other_gres(name, value))}
    lower = named(slurm.sbatch) if own or "sbatch" not in changes else {}
    for ways in ALTERNATIVES:
        if given & set(ways):
            lower = {name: value for name, value in lower.items() if name not in ways or _other_gres(name, value)}
            setting = ways[0]
            if not given & {setting}:
                changes |= NOTHING[setting]
    merged = {name: value for name, value in {**lower, **own}.items() if value != ""}
    sbatch = (*spelled(merged), *unreadable)
    if sbatch != slurm.sbatch:
        changes["sbatch"] = sbatch
    return changes


def broken(slurm: SlurmConfig) -> list[tuple[bool, str]]:
    """The rules of the setting: each holds or not, with a sentence that names both sides of a contradiction."""
    options = named(slurm.sbatch)
    rules = [
        (OPTION.fullmatch(option) is not None, f"sbatch is {option!r}: write --NAME=VALUE or --NAME")
        for option in slurm.sbatch
    ]
    rules += [(name not in SUPERVISION, f"sbatch --{name}: {SUPERVISION.get(name)}") for name in options]
    rules += [
        (name not in SETTINGS, f"sbatch --{name} is the setting {SETTINGS.get(name)}: give --{SETTINGS.get(name)}")
        for name in options
    ]
    for ways in ALTERNATIVES:
        there = [f"--{way} {getattr(slurm, way)}" for way in ways[:1] if getattr(slurm, way)]
        there += [f"--{way}={options[way]}" for way in ways if way in options and not _other_gres(way, options[way])]
        rules.append((len(there) < 2, f"{' and '.join(there)} ask for the same thing: give one of them"))
    rules.append((not slurm.gpu_type or slurm.gpus_per_node > 0, f"gpu_type is {slurm.gpu_type}: give --gpus_per_node"))
    total = options.get("gpus")
    if total is not None and not slurm.tasks_per_node:
        shares = _count(total) % slurm.nodes == 0 and _count(total) > 0
        rules.append((shares, f"--gpus={total} for {slurm.nodes} nodes: give --gpus_per_node N, the same for each"))
    if total is not None:
        said = f"--gpus={total} is of all nodes, and spare_nodes is {slurm.spare_nodes}: give --gpus_per_node N"
        rules.append((not slurm.spare_nodes, said))
    if "gpus-per-socket" in options:
        rules.append((slurm.tasks_per_node > 0, "--gpus-per-socket: say how many ranks a node has: --tasks_per_node N"))
    return rules


def gpus_per_node(slurm: SlurmConfig) -> int:
    """How many GPUs are requested of each node, in whichever way; 0 where that cannot be told, or none are."""
    options = named(slurm.sbatch)
    if slurm.gpus_per_node:
        return slurm.gpus_per_node
    if count := _gpus_in(options.get("gres")):
        return count
    if total := options.get("gpus"):
        return _count(total) // slurm.nodes
    each = _count(options.get("gpus-per-task") or "") or _gpus_in(options.get("tres-per-task"))
    return each * (slurm.tasks_per_node or 1)


def typed_gpus(slurm: SlurmConfig) -> str:
    """The setting `gpus_per_node` as sbatch has it, `4` or `a100:4`; empty where none are requested so."""
    return (f"{slurm.gpu_type}:" if slurm.gpu_type else "") + str(slurm.gpus_per_node) if slurm.gpus_per_node else ""


def gpu_type(slurm: SlurmConfig) -> str:
    """The type of the requested GPUs; empty where any will do."""
    if slurm.gpu_type:
        return slurm.gpu_type
    options = named(slurm.sbatch)
    for name in ("gpus", "gpus-per-task", "gpus-per-socket"):
        if two := typed(options.get(name)):
            return two[0]
    kinds = [match["type"] for name in ("gres", "tres-per-task") for match in GPU.finditer(options.get(name) or "")]
    return next(filter(None, kinds), "")


def ranks_per_node(slurm: SlurmConfig) -> int:
    """Ranks on each node: as configured, or one for each GPU, or one."""
    told = slurm.tasks_per_node
    return told or (1 if {"gpus-per-task", "tres-per-task"} & named(slurm.sbatch).keys() else gpus_per_node(slurm)) or 1


def without_once(slurm: SlurmConfig, sent: SlurmConfig | None = None) -> SlurmConfig:
    """The settings of a run's next job: without what was about the start of one job alone, as far as it is as in the
    job that was `sent` before."""
    before = named(slurm.sbatch if sent is None else sent.sbatch)
    kept = {
        name: value
        for name, value in named(slurm.sbatch).items()
        if name not in ONCE or name not in before or before[name] != value
    }
    return dataclasses.replace(slurm, sbatch=spelled(kept))


def one_process(slurm: SlurmConfig, gpu: bool = False) -> SlurmConfig:
    """The settings of a job of one process beside a run: with the memory of one rank, and without its nodes and GPUs,
    or with one `gpu` of them."""
    kept = {name: value for name, value in named(slurm.sbatch).items() if name not in OF_SHAPE}
    one = gpu and gpus_per_node(slurm) > 0
    others = ",".join(part for part in (named(slurm.sbatch).get("gres") or "").split(",") if not _gpus_in(part))
    if others:
        kept["gres"] = others
    kind = gpu_type(slurm) if one else ""
    return dataclasses.replace(
        slurm,
        nodes=1,
        min_nodes=0,
        spare_nodes=0,
        tasks_per_node=1,
        gpus_per_node=int(one),
        gpu_type=kind,
        mem_gb=slurm.mem_gb / ranks_per_node(slurm),
        sbatch=spelled(kept),
    )


def _gpus_in(gres: str | None) -> int:
    """`gpu:a100:4(S:0-1),nvme:1` has 4, `gpu` has 1."""
    return sum(int(match["count"] or 1) for match in GPU.finditer(gres or ""))


def _other_gres(name: str, value: str | None) -> bool:
    """Whether this is a generic resource that is no GPU, which stands beside any request of GPUs."""
    return name in ("gres", "tres-per-task") and not _gpus_in(value)


def _count(text: str) -> int:
    """`4` and `a100:4` have 4."""
    number = text.rpartition(":")[2]
    return int(number) if number.isdigit() else 0
