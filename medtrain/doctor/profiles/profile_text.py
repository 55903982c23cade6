"""A cluster file as text: the values with a remark each, and comments on the cluster around them."""

from __future__ import annotations

import shlex
import textwrap
import time
from collections.abc import Iterable, Iterator

from medtrain.config.sbatch_options import typed_gpus
from medtrain.config.schema import SlurmConfig
from medtrain.config.yaml12 import dumper
from medtrain.core.counts import counted
from medtrain.doctor.checks import Finding, slurm
from medtrain.doctor.profiles import access
from medtrain.doctor.profiles.accounts import Limits
from medtrain.doctor.profiles.profile import Profile, share
from medtrain.doctor.profiles.survey import Node, Partition, Survey

WIDTH = 120
MODULES_SHOWN = 12
PRIVATE_TMP = ("job_container/tmpfs", "namespace/tmpfs", "namespace/linux")
# In this order; those that are as they are without a file are left out.
SETTINGS = ("partition", "account", "qos", "nodes", "gpus_per_node", "tasks_per_node", "cpus_per_task", "mem_gb",
            "time", "signal_seconds")  # fmt: skip
ALWAYS = ("partition", "time", "signal_seconds")
COLUMNS = ("partition", "nodes", "a job", "limit", "default", "GPUs a node", "cores", "GB", "preempted", "")


def text(name: str, made: Profile, seen: Survey, findings: Iterable[tuple[str, Finding]]) -> str:
    """The whole file."""
    settings = seen.settings
    option, today = shlex.quote(name), time.strftime("%Y-%m-%d")
    lines = [
        f"# Cluster {seen.name} (Slurm {settings.get('SLURM_VERSION', '?')}) as {seen.user} saw it on {today}.",
        f"# Check it by a short job: medtrain doctor --cluster {option}",
        f"# Use it:                  medtrain submit RECIPE --cluster {option} ...   (flags win over this file)",
        "",
        *_values(made),
        *_setup(seen),
        "",
        *_missing(findings),
        "",
        *_scratch(made, settings),
        *_accounts(seen),
        "",
        *_partitions(made, seen),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _values(made: Profile) -> list[str]:
    import yaml

    plain = SlurmConfig()
    values = {name: getattr(made.config, name) for name in SETTINGS}
    if made.config.gpu_type:
        values["gpus_per_node"] = typed_gpus(made.config)
    shown = {name: value for name, value in values.items() if name in ALWAYS or value != getattr(plain, name)}
    left = {name: yaml.dump({name: value}, Dumper=dumper()).strip() for name, value in shown.items()}
    left["time"] = f'time: "{shown["time"]}"'  # a number to the base of 60 in YAML 1.1
    width = max(map(len, left.values()))
    return [f"{line:<{width}}  # {made.remarks[name]}" if made.remarks[name] else line for name, line in left.items()]


def _setup(seen: Survey) -> Iterator[str]:
    """Lines to fill in, not to run: which modules an environment needs only its owner knows."""
    if not seen.modules.useful and not seen.modules.loaded:
        return
    example = (seen.modules.loaded or seen.modules.useful)[0]
    yield "# setup:   # lines that a job runs before it trains; PyTorch's wheels bring their own CUDA"
    yield f"#   - module load {example}"
    if seen.modules.loaded:
        yield from _wrapped(f"Loaded in this shell: {_some(seen.modules.loaded)}")
    if seen.modules.useful:
        yield from _wrapped(f"Modules here: {_some(seen.modules.useful)}")


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MODULES_SHOWN} more" if len(names) > MODULES_SHOWN else ""
    return f"{', '.join(names[:MODULES_SHOWN])}{more}"


def _missing(findings: Iterable[tuple[str, Finding]]) -> Iterator[str]:
    bad = [finding for _, finding in findings if finding.state != "ok"]
    if not bad:
        yield "# Stopped and preempted runs resume here by themselves, as far as Slurm's settings tell."
        return
    yield "# What is missing here for runs that are to resume by themselves:"
    for finding in bad:
        yield from _wrapped(f"* {finding.text}", "#   ")
        yield from _wrapped(f"-> {finding.fix}", "#     ")


def _scratch(made: Profile, settings: dict[str, str]) -> Iterator[str]:
    sizes = sorted({node.disk_mb // 1024 for node in made.partition.alike(made.share.kind)})
    place = settings.get("TmpFS", "/tmp")
    size = "of a size that Slurm does not know"
    if sizes and sizes[-1]:
        size = f"{sizes[0]:,} GB" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,} GB"
    plugins = [settings.get(name, "") for name in ("JobContainerType", "NamespaceType")]  # the second since 25.11
    own = next((plugin for plugin in plugins if plugin in PRIVATE_TMP), "")
    private = f"; each job has a /tmp of its own, which is gone when it ends ({own})" if own else ""
    yield from _wrapped(f"Local scratch of a node: {place}, {size}{private}.")


def _accounts(seen: Survey) -> Iterator[str]:
    known = seen.accounts
    if known.unknown:
        yield from _wrapped(f"Accounts: {known.unknown}.")
        return
    mine = dict.fromkeys(name for row in known.rows for name in row.qos)
    rules = {}
    if seen.settings.get("PreemptType") == "preempt/qos":
        found = slurm.qos_rules("", seen.settings.get("PreemptMode", "OFF")) or []
        rules = {name: f"preempted: {mode.lower()} {grace}s" for name, mode, grace in found}
    told = [f"{name}{_bounds(known.qos[name], rules.get(name, ''))}" for name in mine if name in known.qos]
    yield from _wrapped(f"Your QOS: {', '.join(told) or 'none'}.")


def _bounds(limits: Limits, preemption: str) -> str:
    most = [slurm.clock(limits.minutes)] if limits.minutes is not None else []
    most += [counted(limits.gpus, "GPUs")] if limits.gpus is not None else []
    told = [f"at most {', '.join(most)}"] if most else []
    told += [preemption] if preemption else []
    return f" ({'; '.join(told)})" if told else ""


def _partitions(made: Profile, seen: Survey) -> Iterator[str]:
    """A line for each partition."""
    several = len(seen.partitions) > 1
    yield "# All partitions (* is the default one)" + (
        "; another one: medtrain cluster init OTHER_NAME --partition P" if several else ""
    )
    rows = [COLUMNS, *(_row(partition, made, seen) for partition in seen.partitions)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    for row in rows:
        line = "#   " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
    yield "# nodes: in service/all; a job: the most nodes for one; default: the limit of a job that names none;"
    yield "# cores, GB: for each GPU, or of a node without GPUs; preempted: how, and after how many seconds."


def _row(partition: Partition, made: Profile, seen: Survey) -> tuple[str, ...]:
    fields, entry = partition.fields, access.entry(partition, seen)
    given = share(partition, access.Entry(), seen)
    most = fields.get("MaxNodes", "")
    return (
        partition.name + ("*" if fields.get("Default") == "YES" else ""),
        f"{partition.in_service}/{len(partition.nodes)}",
        most if most.isdigit() else "-",
        _short(fields.get("MaxTime", "")),
        _short(fields.get("DefaultTime", "")),
        _gpus(partition),
        str(given.cores_each) if partition.nodes else "-",
        str(given.memory_each) if given.memory_gb else "-",
        preempted(partition, seen.settings),
        "<- this file" if partition.name == made.partition.name else entry.why_not,
    )


def _short(text: str) -> str:
    """`7-00:00:00` is 7d, `01:30:00` 1h30m."""
    minutes = slurm.minutes(text)
    if minutes is None:
        return "-"
    parts = {"d": int(minutes) // 1440, "h": int(minutes) // 60 % 24, "m": int(minutes) % 60}
    return "".join(f"{number}{unit}" for unit, number in parts.items() if number) or f"{minutes * 60:.0f}s"


def _gpus(partition: Partition) -> str:
    nodes: list[Node] = partition.alike(None)
    told = [f"{kind}:{number}" if kind else str(number) for kind, number in sorted(partition.kinds)]
    some_without = any(not node.gpus for node in nodes) and told
    return ", ".join([*told, *(["none"] if some_without else [])]) or "-"


def preempted(partition: Partition, settings: dict[str, str]) -> str:
    """How the jobs of a partition make way for others, and the seconds that they have for it."""
    kind = settings.get("PreemptType", "preempt/none")
    mode = partition.fields.get("PreemptMode", "OFF")
    if kind == "preempt/qos":
        return "by QOS"
    if kind == "preempt/none" or mode == "OFF":
        return "no"
    grace = partition.fields.get("GraceTime", "0")
    return f"{mode.lower()} {grace}s"


def _wrapped(words: str, first: str = "# ") -> list[str]:
    after = first + "  " * (len(first) > 2)
    return textwrap.wrap(words, WIDTH, initial_indent=first, subsequent_indent=after, break_on_hyphens=False)
