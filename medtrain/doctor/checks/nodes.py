"""What the probe of a cluster told, as findings: the job, its nodes and their ranks."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Iterator

from medtrain.config.sbatch_options import gpus_per_node
from medtrain.doctor.checks import ADMIN, Finding, examine, fail, ok, resources, run_folder, signals, supervision, warn
from medtrain.doctor.checks.probe_result import Told, all_nodes, each

Look = Callable[[Told], Finding | None]
BEFORE_IT_RAN = ("CANCELLED", "DEADLINE", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED")


def findings(told: Told) -> Iterator[tuple[str, Finding]]:
    """Every check in turn; nothing about ranks where none was heard, and nothing about nodes that said nothing."""
    yield "start", start(told)
    if not told.said("hello"):
        return
    of_nodes: dict[str, Look] = {
        "software": software, "sharing": sharing, "writing": writing, "room": room, "rename": rename,
        "clocks": clocks, "names": names, "ports": ports, "gpus": resources.gpus, "memory": resources.memory,
        "weights": resources.weights,
    }  # fmt: skip
    of_the_job: dict[str, Look] = {
        "supervisor": supervision.supervisor,
        "signals": signals.passed_on, "warning": signals.warning, "ending": signals.ending, "requeue": signals.requeue,
    }  # fmt: skip
    for name, check in {"ranks": ranks, **(of_nodes if told.nodes else {}), **of_the_job}.items():
        if finding := examine(functools.partial(check, told)):
            yield name, finding


def start(told: Told) -> Finding:
    """Whether the job ran at all."""
    if told.never and not told.batch:
        return told.never
    host, reason, state = (told.fields.get(name, "?") for name in ("BatchHost", "Reason", "JobState"))
    if not told.batch and state in BEFORE_IT_RAN:
        return warn(f"job {told.job} was ended before it ran ({state}, {reason})", "ask again")
    if not told.batch and not told.complaints.strip():
        return fail(
            f"job {told.job} ran on {host} and left nothing in {told.runs}: that folder is not shared with it, "
            f"or cannot be written there ({reason}, exit code {told.fields.get('ExitCode', '?')})",
            "keep runs on the cluster's shared file system: --folder DIR (and train with --runs DIR)",
        )
    if not told.said("hello"):
        return fail(
            f"job {told.job} ran on {host}, and no rank started: {told.last_words}",
            "the environment and the lines of `setup:` must work on every node; see also: medtrain doctor   there",
        )
    return ok(f"job {told.job} started after {told.waited:.0f} s on {told.fields.get('NodeList', '?')}")


def ranks(told: Told) -> Finding:
    """Whether every rank started, with Python and medtrain at hand."""
    heard = {line["rank"] for line in told.said("hello")}
    dead = {line["node"]: line["code"] for line in told.lost if line["rank"] not in heard}
    if dead:
        nodes = ", ".join(sorted(dead))
        codes = ", ".join(map(str, sorted(set(dead.values()))))
        return fail(
            f"on {nodes} no rank can start (exit code {codes}): {told.last_words}",
            f"the environment must be there too, at the same place; until then exclude it: sbatch --exclude={nodes}",
        )
    if len(heard) < told.ranks:
        return fail(
            f"{len(heard)} of {told.ranks} ranks started: {told.last_words}", f"{ADMIN} (the logs of slurmd say more)"
        )
    if told.lost:
        ended = {line["node"]: f"exit code {line['code']}" for line in told.lost}
        return fail(
            f"ranks started and ended by themselves: {each(ended)}: {told.last_words}", "run it again, and report it"
        )
    silent = {line["node"] for line in told.said("hello")} - told.nodes.keys()
    if silent:
        return fail(
            f"ranks on {', '.join(sorted(silent))} started and said no more: {told.last_words}",
            "run it again, and report it",
        )
    return ok(f"all {len(heard)} started, on {all_nodes(told)}")


def software(told: Told) -> Finding:
    """Whether each node has the Python, packages and medtrain of this machine."""
    other = {}
    for node, line in told.nodes.items():
        different = [
            f"{name} {version} (here {told.software.get(name, 'none')})"
            for name, version in line["software"].items()
            if version != told.software.get(name)
        ]
        if different:
            other[node] = ", ".join(different)
    if other:
        alike = len({str(line["software"]) for line in told.nodes.values()}) == 1
        return (warn if alike else fail)(
            f"not the same {'there as here' if alike else 'everywhere'}: {each(other)}",
            "use one environment on the shared file system, or install the same on every node",
        )
    return ok(f"medtrain {told.software['medtrain']}, Python {told.software['Python']} and all packages on every node")


def sharing(told: Told) -> Finding:
    """Whether all nodes see the same folder."""
    apart = {node: line["folder"]["missing"] for node, line in told.nodes.items() if "missing" in line["folder"]}
    for line in told.said("met"):
        if line["node"] in told.together and (
            unseen := [node for node in line["unseen"] if not told.together.get(node, {"token": "?"})["token"]]
        ):
            apart[line["node"]] = f"files written on {', '.join(unseen)} do not show"
    if apart:
        return fail(
            f"{told.runs} is not shared: {each(apart)}",
            "keep runs and shards on the cluster's shared file system: --folder DIR (and train with --runs DIR)",
        )
    kinds = sorted({line["folder"]["kind"] for line in told.nodes.values()})
    return ok(f"{told.runs} ({', '.join(kinds)}) is the same folder on {all_nodes(told)}")


def writing(told: Told) -> Finding | None:
    """Whether every node can do to files what a run does."""
    facts = {node: line["folder"]["writing"] for node, line in told.together.items()}
    bad = {node: finding["text"] for node, finding in facts.items() if finding["state"] != "ok"}
    if not told.together:
        return None
    if bad:
        return fail(
            each(bad),
            f"{ADMIN}: the folder must be mounted alike on every node; or exclude the node: sbatch --exclude",
        )
    return ok(f"one can {', '.join(run_folder.STEPS)} on every node")


def room(told: Told) -> Finding | None:
    """Whether there is room for checkpoints: it is one folder, so one node's word is enough."""
    facts = [line["folder"]["room"] for line in told.together.values() if "room" in line["folder"]]
    return Finding(**min(facts, key=lambda finding: finding["state"] == "ok")) if facts else None


def rename(told: Told) -> Finding | None:
    """Whether a file that is replaced by rename is whole at every moment, as another node sees it."""
    if len(told.together) < 2:
        return None
    seen = [line for line in told.said("flipped") if line["node"] in told.together]
    done = sum(line.get("renames", 0) for line in seen)
    readers = [line for line in seen if line["node"] != line["writer"]]
    reads = sum(line["whole"] for line in readers)
    if faults := {line["node"]: line["fault"] for line in seen if "fault" in line}:
        return fail(f"a file cannot be replaced by rename: {each(faults)}", f"{ADMIN}, or another --folder DIR")
    bad = {
        line["node"]: f"{line['torn']} torn, {line['gone']} missing" for line in readers if line["torn"] + line["gone"]
    }
    if bad:
        return fail(
            f"a file that is replaced by rename is not whole at every moment: {each(bad)} of {reads} reads",
            "choose a POSIX file system (NFS, Lustre, GPFS, BeeGFS): --folder DIR",
        )
    if not done or not reads:
        return warn("no node saw how another replaces a file", "ask again; if it stays so, choose another --folder DIR")
    stale = sum(line["stale"] for line in readers)
    again = f"; {stale} more were stale, as NFS does it" if stale else ""
    again += "; the reader saw only one version" if min(line["contents"] for line in readers) < 2 else ""
    return ok(f"atomic as seen from another node: {done} renames, {reads} reads, each whole{again}")


def clocks(told: Told) -> Finding:
    """Whether nodes, file server and this machine agree on the time; only what is certain counts."""
    off = []
    for line in told.said("met"):
        for node, met in line["met"].items():
            if (
                "fault" not in met
                and line["node"] < node
                and abs(met["ahead"]) - met["exact"] > run_folder.CLOCK_SECONDS
            ):
                off.append(_off(node, met["ahead"], f"{line['node']}'s"))
    for node, line in told.nodes.items():
        if "clock" in line["folder"]:
            finding = run_folder.clock_finding(*line["folder"]["clock"])
            off += [finding.text.replace("this machine's", f"{node}'s")] if finding.state != "ok" else []
        behind = line["folder"].get("doctors_clock", 0.0) - line["time"]
        ahead = line["time"] - line["seen"]  # it was written before it was seen, and read after it was written
        if max(ahead, behind) > run_folder.CLOCK_SECONDS:
            off.append(_off(node, ahead if ahead > behind else -behind, "this machine's"))
    if off:
        return warn(
            "; ".join(off), f"{ADMIN} to synchronise the clocks (NTP, chrony): times in logs mislead until then"
        )
    return ok(
        f"those of {all_nodes(told)}, the file system and this machine agree within {run_folder.CLOCK_SECONDS:.0f} s"
    )


def _off(node: str, seconds: float, whose: str) -> str:
    return f"{node}'s clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} {whose}"


def names(told: Told) -> Finding | None:
    """Whether nodes find each other, and themselves, by name: ranks meet by address, but gloo asks for its own name."""
    if len(told.nodes) < 2:
        return None
    unknown = {
        line["node"]: f"{', '.join(bad)} does not resolve"
        for line in told.said("met")
        if (bad := [node for node, found in line["resolved"].items() if not found])
    }
    lost = _lost(told)
    if lost:
        # NCCL looks at the interfaces, gloo at the name; a run on one node needs neither.
        say = warn if gpus_per_node(told.asked) or told.planned_nodes < 2 else fail
        return say(
            "; ".join(filter(None, (each(lost), each(unknown)))),
            f"{ADMIN} to fix /etc/hosts or DNS; until then in the profile: "
            "setup: [export GLOO_SOCKET_IFNAME=INTERFACE NCCL_SOCKET_IFNAME=INTERFACE]   (ip address shows the names)",
        )
    if unknown:
        return warn(
            f"{each(unknown)}: medtrain's ranks meet by address, but other programs use names",
            f"{ADMIN} to put the nodes' names into DNS or /etc/hosts",
        )
    return ok(f"the names of {all_nodes(told)} resolve on each of them")


def _lost(told: Told) -> dict[str, str]:
    """Nodes of different machines that take themselves for an address where no other reaches them."""
    if len({line["network"] for line in told.nodes.values()}) < 2:
        return {}
    lost = {}
    for node, line in told.nodes.items():
        own = [address.partition("%")[0] for address in line["own_addresses"]]
        if all(ipaddress.ip_address(address).is_loopback for address in own):
            lost[node] = f"its own name {line['host']} resolves to {', '.join(own) or 'nothing'}"
    return lost


def ports(told: Told) -> Finding | None:
    """Whether each node reaches each other one at a free port, as ranks do."""
    closed = [
        f"{line['node']} cannot reach {node} ({met['fault']})"
        for line in told.said("met")
        for node, met in line["met"].items()
        if "fault" in met
    ]
    if len(told.nodes) < 2:
        return None
    if closed:
        return (fail if told.planned_nodes > 1 else warn)(
            "; ".join(closed),
            f"{ADMIN} to open TCP between compute nodes (the ports of /proc/sys/net/ipv4/ip_local_port_range); "
            "until then use one node: --nodes 1",
        )
    return ok(f"every one of {all_nodes(told)} reaches every other at a free port")
