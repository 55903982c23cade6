"""What Slurm itself says of a profile, before any job is sent: would it take the job, start it, let it come back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from medtrain import slurmjob
from medtrain.checks import Finding, ask, fail, ok, slurm, warn
from medtrain.config import SlurmConfig
from medtrain.slurmjob import Fields

SHORT_SECONDS = 5  # less than that between TERM and KILL is not enough to save
ADMIN = "ask the administrators of the cluster"
Named = tuple[str, Finding]


def findings(asked: SlurmConfig, script: str) -> Iterator[Named]:
    """The profile against the cluster's configuration; `script` is what `medtrain submit` would send."""
    yield "profile", taken(script)
    fields = partition(asked.partition)
    if fields:
        yield "partition", open_enough(asked, fields)
        yield "time", long_enough(asked, fields)
        yield "grace", grace(fields)
    yield "killwait", killwait()


def taken(script: str) -> Finding:
    """Whether Slurm would take the job: partition, account, QOS, features, GPUs, memory."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        answer = ask("sbatch", "--test-only", file.name)
    if answer.code != 0:
        reason = answer.reason.replace("allocation failure: ", "")
        return fail(
            f"Slurm would refuse a job with this profile ({reason})", "correct the profile: sinfo -o '%P %D %G %l'"
        )
    return ok("Slurm would take a job with this profile")


def partition(name: str) -> Fields:
    """A partition's fields as scontrol has them; of the default partition where `name` is empty; `{}` if unknown."""
    text, _ = slurmjob.ask_controller("scontrol", "--oneliner", "show", "partition", *([name] if name else []))
    found = [slurmjob.parse(line) for line in text.splitlines()]
    return next((fields for fields in found if name or fields.get("Default") == "YES"), {})


def open_enough(asked: SlurmConfig, fields: Fields) -> Finding:
    """Whether the partition is open and has as many nodes in service as the profile asks for."""
    name, state = fields["PartitionName"], fields.get("State", "?")
    if state != "UP":
        return fail(f"partition {name} is {state}: its jobs wait until it is opened", f"choose another, or {ADMIN}")
    text, _ = slurmjob.ask_controller("sinfo", "--noheader", "--Node", f"--partition={name}", "--format=%N|%T")
    states = dict(line.split("|") for line in text.splitlines())
    out = [f"{node} ({state})" for node, state in sorted(states.items()) if slurmjob.out_of_service(state)]
    there, most = len(states) - len(out), most_nodes(fields)
    if asked.nodes > most:
        fix = f"give --nodes {most} or fewer, or another partition"
        return fail(f"partition {name} gives a job {most} nodes at the most, the profile asks for {asked.nodes}", fix)
    if asked.nodes > there:
        text = f"{there} of {len(states)} nodes of {name} are in service, the profile asks for {asked.nodes}"
        return fail(f"{text}: out of service are {', '.join(out)}", f"fewer --nodes, or {ADMIN} (sinfo -R says why)")
    return ok(f"{name} is up, {there} of {len(states)} nodes are in service")


def long_enough(asked: SlurmConfig, fields: Fields) -> Finding:
    """Whether the time that the profile asks for is within the partition's limit: a job beyond it waits for ever."""
    wanted, most = minutes(asked.time), minutes(fields.get("MaxTime", ""))
    if wanted and most and wanted > most:
        return fail(
            f"the profile asks for {asked.time}, and {fields['PartitionName']} gives {fields['MaxTime']}:"
            " its jobs never start",
            f"time: {fields['MaxTime']} or less in the profile; a run goes on by itself in the next job",
        )
    if wanted and wanted * 60 <= asked.signal_seconds:
        return fail(
            f"the profile asks for {asked.time}, and to be warned {asked.signal_seconds} s before: at once",
            "a longer time, or a smaller signal_seconds",
        )
    return ok(f"time limit {asked.time or fields.get('DefaultTime', '?')}, of {fields.get('MaxTime')} at the most")


def grace(fields: Fields) -> Finding:
    """What becomes of a preempted job of this partition."""
    name, mode, seconds = fields["PartitionName"], fields.get("PreemptMode", "OFF"), int(fields.get("GraceTime", "0"))
    if mode == "OFF":
        return ok(f"jobs of {name} are not preempted")
    if "CANCEL" in mode:
        return warn(f"preempted jobs of {name} are cancelled", "go on by hand after it: medtrain resume NAME")
    if seconds < SHORT_SECONDS and "preempt_send_user_signal" not in slurm.setting("SlurmctldParameters"):
        return warn(
            f"preempted jobs of {name} have {seconds} s to save: the steps since the newest checkpoint are done again",
            "save more often there: --every_minutes 2",
        )
    return ok(f"preempted jobs of {name} have {seconds} s to save, and are requeued")


def killwait() -> Finding:
    """How long Slurm waits between TERM and KILL where a job is requeued or its node goes down."""
    text = slurm.setting("KillWait")
    seconds = int(text.split()[0]) if text and text.split()[0].isdigit() else SHORT_SECONDS
    if seconds < SHORT_SECONDS:
        return warn(
            f"KillWait is {seconds} s: a requeued job has no time to save",
            f"save more often (--every_minutes 2), or {ADMIN}",
        )
    return ok(f"KillWait is {seconds} s")


def most_nodes(fields: Fields) -> int:
    """Nodes that a job in a partition may have."""
    limit, total = fields.get("MaxNodes", "UNLIMITED"), int(fields.get("TotalNodes", "1"))
    return min(int(limit), total) if limit.isdigit() else total


def minutes(text: str) -> float | None:
    """A time as Slurm writes it (minutes, H:MM:SS, D-HH:MM:SS); None for none or no limit."""
    days, dash, rest = text.rpartition("-")
    try:
        parts = [int(part) for part in rest.split(":")]
    except ValueError:
        return None
    if dash:
        hours, mins, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, mins, seconds = parts
    else:
        hours, mins, seconds = 0, parts[0], parts[1] if len(parts) == 2 else 0
    return int(days or 0) * 1440 + hours * 60 + mins + seconds / 60
