"""What the probe found on the nodes: the same software and folder, own GPUs, ways to each other, signals, requeue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrain.checks import Finding, fail, ok, warn
from medtrain.checks.cluster import ADMIN, SHORT_SECONDS
from medtrain.checks.folder import CLOCK_SECONDS
from medtrain.config import SlurmConfig
from medtrain.slurmjob import Fields

LATE_SECONDS = 5.0  # the doctor writes its time every second, and a file system may show it late
LEAST_MB = 1500  # what a rank needs for its imports alone
LONG_REQUEUE_SECONDS = 300.0
Line = dict[str, Any]


@dataclass(frozen=True)
class Told:
    """All that is known of a probe: what was asked, how the job went, what its ranks and its batch script said."""

    asked: SlurmConfig
    job: str
    waited: float
    fields: Fields
    requeue_seconds: float | None
    never: Finding | None
    lines: list[Line]
    batch: list[Line]
    complaints: str
    software: dict[str, str]
    runs: Path

    def said(self, event: str) -> list[Line]:
        """What ranks said of one kind."""
        return [line for line in self.lines if line["event"] == event]

    @property
    def ranks(self) -> int:
        """Ranks that were asked for."""
        return self.asked.nodes * (self.asked.tasks_per_node or self.asked.gpus_per_node or 1)


def findings(told: Told) -> Iterator[tuple[str, Finding]]:
    """One finding a check; where no rank came up nothing else can be said."""
    if told.never:
        yield "start", told.never
    if told.said("hello") or not told.never:
        yield "ranks", ranks(told)
    silent = {line["node"] for line in told.said("hello")} - {line["node"] for line in told.said("node")}
    if silent:
        yield "nodes", fail(f"{', '.join(sorted(silent))} said nothing of itself in time", "ask again; see --wait")
    if told.said("node"):
        for name, look in LOOKS.items():
            if finding := look(told):
                yield name, finding


def ranks(told: Told) -> Finding:
    """Whether every rank came up: Python and medtrain must be on a folder that all nodes see."""
    up = {line["rank"] for line in told.said("hello")}
    if len(up) == told.ranks:
        return ok(f"{len(up)} ranks came up {told.waited:.0f} s after the job was sent")
    died = sorted({line["node"] for line in told.said("died") if line["rank"] not in up})
    where = f" (on {', '.join(died)})" if died else ""
    # Not what Slurm says of the end, which the probe asked for.
    own = [
        line
        for line in told.complaints.splitlines()
        if line.strip() and "slurmstepd" not in line and "srun:" not in line
    ]
    said = " ".join(own[0].split())[-200:] if own else ""
    return fail(
        f"{told.ranks - len(up)} of {told.ranks} ranks did not come up{where}: {said or 'they said nothing'}",
        "Python, its packages and medtrain must lie on a folder that every node sees; see: srun python --version",
    )


def software(told: Told) -> Finding:
    """Whether every node runs what this machine runs."""
    unlike = []
    for line in told.said("node"):
        there = line["software"]
        differs = [f"{name} {there.get(name)}" for name, here in told.software.items() if there.get(name) != here]
        unlike += [f"{line['node']} has {', '.join(differs)}"] if differs else []
    if unlike:
        return fail(f"{'; '.join(unlike)}, unlike this machine", "use one environment on a shared folder")
    return ok(f"every node runs the same: medtrain {told.software['medtrain']}, torch {told.software['torch']}")


def gpus(told: Told) -> Finding | None:
    """Whether each rank has a GPU of its own, by what Slurm shows it: the rule is `place.gpu_index`."""
    if not told.asked.gpus_per_node:
        return None
    own, blind = defaultdict(list), set()
    local: dict[str, int] = defaultdict(int)
    for line in sorted(told.said("hello"), key=lambda line: int(line["rank"])):
        shown = [gpu for gpu in line["gpus"].get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
        if shown:
            own[line["node"], shown[local[line["node"]] % len(shown)]].append(line["rank"])
        else:
            blind.add(line["node"])
        local[line["node"]] += 1
    if blind:
        return fail(
            f"Slurm does not say on {', '.join(sorted(blind))} which GPUs are the job's (CUDA_VISIBLE_DEVICES is not"
            " set): ranks would compute on those of other jobs",
            f"no --gpu-bind=none in the profile; else {ADMIN} (gres.conf needs File=)",
        )
    shared = [
        f"ranks {' and '.join(map(str, some))} on {node} have GPU {gpu}"
        for (node, gpu), some in own.items()
        if len(some) > 1
    ]
    if shared:
        return fail("; ".join(shared), "as many GPUs as ranks on each node: gpus_per_node, without tasks_per_node")
    drivers = {line["node"]: line["driver_gpus"] for line in told.said("node")}
    dead = sorted(node for node, count in drivers.items() if count == 0)
    if dead:
        return fail(f"the GPU driver on {', '.join(dead)} shows no GPU (nvidia-smi -L)", ADMIN)
    return ok(f"each of {len(own)} ranks has a GPU of its own")


def memory(told: Told) -> Finding | None:
    """A rank's share of the job's memory."""
    shares = [(line["memory_mb"], line["node"]) for line in told.said("hello") if line["memory_mb"]]
    if not shares:
        return None
    least, node = min(shares)
    if least < LEAST_MB:
        return warn(
            f"a rank on {node} has {least:,} MB of memory; importing torch alone may need more", "a larger mem_gb"
        )
    return ok(f"a rank has {least:,} MB of memory")


def sharing(told: Told) -> Finding:
    """Whether every node sees the same folder of runs and may write there."""
    for line in told.said("node"):
        facts, node = line["folder"], line["node"]
        if "missing" in facts:
            return fail(
                f"node {node}: {facts['missing']}", "keep runs on a file system that every node sees: --folder DIR"
            )
        if facts["writing"]["state"] == "FAIL" or line["token"]:
            reason = line["token"] or facts["writing"]["text"]
            return fail(f"node {node} cannot write to {told.runs} ({reason})", f"choose another folder, or {ADMIN}")
    hidden = [f"files of {', '.join(line['unseen'])} on {line['node']}" for line in told.said("met") if line["unseen"]]
    if hidden:
        return fail(f"{told.runs}: {'; '.join(hidden)} did not show within 10 s", "choose a shared file system")
    kinds = ", ".join(sorted({line["folder"]["kind"] for line in told.said("node")}))
    return ok(f"every node sees and may write {told.runs} ({kinds})")


def renaming(told: Told) -> Finding | None:
    """Whether a rename on one node is atomic for a reader on another, as checkpoints rely on."""
    told_lines = told.said("flipped")
    if faults := [line["fault"] for line in told_lines if "fault" in line]:
        return fail(
            f"a file in {told.runs} could not be replaced by rename ({faults[0]})", "choose another file system"
        )
    readers = [line for line in told_lines if "whole" in line]
    if not readers:
        return None
    count = {kind: sum(line[kind] for line in readers) for kind in ("whole", "torn", "gone", "stale")}
    if count["torn"]:
        return fail(
            f"{count['torn']} of {sum(count.values())} reads on another node found a half-replaced file",
            "renames are not atomic there: choose another file system for runs",
        )
    if not count["whole"]:
        return fail(
            "a file that one node replaces never showed whole on another", "choose another file system for runs"
        )
    return ok(f"renames are atomic between nodes ({count['whole']:,} reads, none torn)")


def clocks(told: Told) -> Finding:
    """Whether the nodes' clocks agree with each other, with this machine's and with the file server's."""
    off = []
    for line in told.said("met"):
        for other, seen in line["met"].items():
            if abs(seen.get("ahead", 0.0)) > CLOCK_SECONDS + seen.get("exact", 0.0):
                off.append(f"{other} is {seen['ahead']:+.1f} s from {line['node']}")
    for line in told.said("node"):
        late = line["time"] - line["folder"].get("doctors_clock", line["time"])
        if not -CLOCK_SECONDS < late < LATE_SECONDS + 10.0:
            off.append(f"{line['node']} is {late:+.0f} s from this machine")
    if off:
        return warn(f"clocks differ: {'; '.join(off)}", f"{ADMIN} (NTP); times in logs and file ages mislead")
    return ok("clocks agree")


def names(told: Told) -> Finding | None:
    """Whether node names resolve, and to an address that others can reach."""
    unknown = sorted({node for line in told.said("met") for node, found in line["resolved"].items() if not found})
    networks = {line["network"] for line in told.said("node")}
    loops = [
        line["node"]
        for line in told.said("node")
        if len(networks) > 1 and all(address.startswith(("127.", "::1")) for address in line["own_addresses"])
    ]
    if loops:
        return fail(
            f"on {', '.join(loops)} the node's own name leads to the loopback: other nodes cannot connect back",
            "export GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME in `setup` of the profile, or mend /etc/hosts",
        )
    if unknown:
        return warn(
            f"names that do not resolve on the nodes: {', '.join(unknown)}; ranks meet by address, other tools may not",
            f"{ADMIN} (DNS or /etc/hosts)",
        )
    return ok("node names resolve") if told.said("met") else None


def ports(told: Told) -> Finding | None:
    """Whether nodes can connect to each other at a port such as a run takes."""
    closed = [f"{line['node']} -> {other}: {seen['fault']}" for line in told.said("met")
              for other, seen in line["met"].items() if "fault" in seen]  # fmt: skip
    if closed:
        return fail(
            f"nodes cannot connect to each other ({'; '.join(closed)})", f"open the ports of the nodes: {ADMIN}"
        )
    return ok("nodes reach each other") if told.said("met") else None


def signals(told: Told) -> Finding:
    """Which signals reached which ranks: what the supervisor passes on, the warning before a time limit, the end."""
    up = {line["rank"] for line in told.said("hello")}
    heard: dict[str, set[int]] = defaultdict(set)
    for line in told.said("signal"):
        heard[line["name"]].add(line["rank"])
    for name, what, fix in (
        ("SIGUSR1", "a signal that is passed on by scancel", ADMIN),
        ("SIGUSR2", "Slurm's warning before the time limit", "unset SBATCH_SIGNAL; else " + ADMIN),
        ("SIGTERM", "the TERM of a requeue", ADMIN),
    ):
        if missing := sorted(up - heard[name]):
            who = (
                "no rank"
                if len(missing) == len(up)
                else f"ranks {', '.join(map(str, missing))} did not: not every rank"
            )
            return fail(f"{who} heard {what} ({name}): a run would be ended without a save", fix)
    return ok("USR1, the time limit's USR2 and TERM reach every rank")


def term_to_kill(told: Told) -> Finding | None:
    """KillWait as it was measured: how long ranks lived after TERM."""
    began = {line["rank"]: line["at"] for line in told.said("signal") if line["name"] == "SIGTERM"}
    ends = {line["rank"]: line["time"] for line in told.said("alive")}
    if not began:
        return None
    lived = min(ends.get(rank, at) - at for rank, at in began.items())
    if lived < SHORT_SECONDS - 1:
        return warn(
            f"ranks were killed {lived:.1f} s after TERM: too soon to save", f"save more often, or {ADMIN} (KillWait)"
        )
    return ok(f"ranks have {lived:.0f} s or more after TERM")


def requeue(told: Told) -> Finding:
    """Whether a job goes back to the queue, and how long it takes to come back."""
    refused = next((line["problem"] for line in told.batch if line["event"] == "requeued" and line["problem"]), "")
    if refused:
        return fail(
            f"Slurm does not requeue the job ({refused}): a run would stay stopped",
            f"unset SBATCH_NO_REQUEUE; else {ADMIN}, or go on by hand: medtrain resume NAME",
        )
    seconds = told.requeue_seconds
    if seconds is None:
        return fail("the job was requeued and did not come back", f"scontrol show job says why it waits; {ADMIN}")
    if seconds > LONG_REQUEUE_SECONDS:
        return warn(f"a requeued job comes back after {seconds:.0f} s", f"{ADMIN} (AuthInfo cred_expire, bf_interval)")
    return ok(f"a requeued job comes back after {seconds:.0f} s")


def weights(told: Told) -> Finding:
    """Whether pretrained weights that recipes or your settings start from are there on nodes without a network."""
    faults = [
        f"{title}: {fault} on {line['node']}" for line in told.said("node") for title, fault in line["weights"].items()
    ]
    if faults:
        return fail(
            f"pretrained weights are missing: {'; '.join(faults)}",
            "load them once where there is a network (a run's first step does it), in a cache that every node sees",
        )
    return ok("pretrained weights are there, or none are asked for")


LOOKS: dict[str, Callable[[Told], Finding | None]] = {
    "software": software, "binding": gpus, "memory": memory, "sharing": sharing, "renaming": renaming,
    "clocks": clocks, "names": names, "ports": ports, "signals": signals, "term": term_to_kill,
    "requeue": requeue, "weights": weights,
}  # fmt: skip
