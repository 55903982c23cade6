"""Why an attempt of a run ended: from what ranks, srun and Slurm said, to one cause in words.

Slurm forgets: a requeue hides what was before it, and without accounting a purged job was never there. So the
supervisor gathers the evidence while it is fresh; what ended without a word is judged later from what is left.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from medtrain.core.errors import EXIT_RESUMABLE
from medtrain.slurm.queries import Fields, seconds

LIMIT_SECONDS = 90.0  # Slurm sends the signal before a time limit up to 60 s early, and a save takes a while
# slurmstepd writes it into the log of a step that it ends.
DUE = re.compile(
    r"\*\*\* (?:STEP|JOB) \S+ ON \S+ CANCELLED AT \S+ DUE TO (TIME LIMIT|PREEMPTION|NODE FAILURE|JOB REQUEUE)"
)
# Its lines come through a rank of its node, whose number srun writes in front. Up to 24.11 they begin with its name and
# the node's, from 25.05 on with the time.
MEMORY = re.compile(
    r"^(?:(?P<rank>\d+): )?(?:slurmstepd-?(?P<node>\S*):|\[\d{4}-[^]]+\]) error: "
    r"(?:.*exceeded memory limit \((?P<used>\d+) > (?P<limit>\d+)\)|.*oom.kill)",
    re.IGNORECASE | re.MULTILINE,
)
OUT_OF_MEMORY = "Out Of Memory"  # srun, of a rank that the kernel killed
LOST_NODE = re.compile(r"srun: error: Node failure on (\S+)")
TASK = re.compile(r"^srun: error: (?P<node>\S+): tasks? (?P<ranks>[\d,-]+): (?P<end>.+)$", re.MULTILINE)
# What srun says where it starts nothing: why it ends is in the first kind that is there.
COMPLAINTS = tuple(
    re.compile(rf"^(?:\S*/)?srun: {kind}(.+)$", re.MULTILINE)
    for kind in ("fatal: ", "error: ", "(?=(?:error while|symbol lookup|unrecognized|unknown|invalid|option) )")
)
DEADLY = {signal.strsignal(number): number for number in signal.Signals}


@dataclass(frozen=True)
class Cause:
    """Why an attempt ended: a kind for programs, words for people, and the rank and node that failed first."""

    kind: str
    words: str
    rank: str = ""
    node: str = ""


@dataclass(frozen=True)
class Evidence:
    """What is known at the end of an attempt; every part but the first two may be missing."""

    started: float
    ended: float
    job: str = ""
    restarts: int = 0  # how often its job had been requeued when it started
    code: int | None = None  # exit code of the ranks; None where nobody was left to see it
    first: str = ""  # the rank that left with it, where the ranks are processes of this machine
    status: dict[str, Any] = field(default_factory=dict)  # status.json
    failure: dict[str, Any] = field(default_factory=dict)  # failure.json
    log_tail: str = ""  # by srun and slurmstepd in this attempt
    asked_to_stop: bool = False  # the file that `medtrain stop` leaves
    signal: str = ""  # the signal that the supervisor got
    scontrol_records: tuple[Fields, ...] = ()  # what `scontrol show job` said, first to last
    time_limit_at: float | None = None  # when the job's time limit ends it
    warned_s: float = 0.0  # how long before that it wanted a signal
    preemptor: str = ""
    sacct_record: Fields = field(default_factory=dict)  # what sacct says
    failed_nodes: tuple[str, ...] = ()  # nodes out of service or started anew since


def diagnose(evidence: Evidence) -> Cause:
    """The cause that the evidence speaks for: the surest kind of evidence first."""
    for look in JUDGES:
        if found := look(evidence):
            return found
    return Cause("lost", "ended without a word: node failure, power loss, or everything was killed")


def _finished(evidence: Evidence) -> Cause | None:
    return Cause("finished", "finished") if evidence.status.get("state") == "finished" else None


def _by_user(evidence: Evidence) -> Cause | None:
    stopped = evidence.status.get("state") == "stopped"
    if evidence.asked_to_stop and (stopped or evidence.code in (0, EXIT_RESUMABLE)):
        return Cause("stopped", "stopped by the user (medtrain stop)")
    return None


def _slurm_wrote(evidence: Evidence) -> Cause | None:
    """slurmd's own words in the log of the step."""
    due = DUE.search(evidence.log_tail)
    if lost := LOST_NODE.search(evidence.log_tail):
        return _node_failure(lost[1])
    return BY_WORDS[due[1]](evidence) if due else None


def _memory(evidence: Evidence) -> Cause | None:
    found = MEMORY.search(evidence.log_tail)
    killed = next((task for task in TASK.finditer(evidence.log_tail) if task["end"] == OUT_OF_MEMORY), None)
    if found is None and killed is None and OUT_OF_MEMORY not in evidence.log_tail:
        return None
    failed = killed.groupdict() if killed else _first_to_fail(evidence)
    if found and found["rank"] and not killed:  # those of other nodes leave first, and are not to blame
        failed = {**failed, "ranks": found["rank"], "node": _node_of(evidence, found["rank"])}
    node = (found["node"] if found else "") or failed["node"]
    sizes = ""
    if found and found["used"]:
        sizes = f": {int(found['used']) / 2**20:,.0f} MiB used, {int(found['limit']) / 2**20:,.0f} allowed"
    return Cause("memory", f"out of memory on {node}{sizes}" if node else "out of memory", failed["ranks"], node)


def _killed_rank(evidence: Evidence) -> Cause | None:
    """A rank died of a signal before any other left: what the others then complain of is only that it is gone."""
    failed = _first_to_fail(evidence)
    number = DEADLY.get(failed["end"].removesuffix(" (core dumped)"))
    if evidence.code is not None and evidence.code < 0:  # of a process here, which no srun reports
        number = signal.Signals(-evidence.code)
    if number is None or evidence.signal in ("SIGINT", number.name):  # a second Ctrl-C kills
        return None
    if number == signal.SIGKILL and _was_preempted(evidence):
        return _preempted(evidence)  # its grace time was over
    return Cause("killed", f"{_who(failed)} killed by signal {int(number)} ({number.name})", **_place(failed))


def _failure(evidence: Evidence) -> Cause | None:
    """What the first rank that failed wrote down before it left."""
    error = str(evidence.failure.get("error", ""))
    if not error:
        return None
    failed = _first_to_fail(evidence)
    if "hung" in evidence.failure:
        rank = str(evidence.failure["hung"])
        return Cause("hung", f"hung: {error}", rank, _node_of(evidence, rank) or failed["node"])
    if "rank" in evidence.failure:
        failed = {**failed, "ranks": str(evidence.failure["rank"])}
        failed["node"] = _node_of(evidence, failed["ranks"]) or str(evidence.failure.get("host", "")) or failed["node"]
    return Cause("crashed", f"{_who(failed)}: {error}" if failed["ranks"] else error, **_place(failed))


def _slurm_answered(evidence: Evidence) -> Cause | None:
    """What the controller said when it was asked, at the first signal and at the end."""
    if _was_preempted(evidence):
        return _preempted(evidence)
    for fields in evidence.scontrol_records:
        state = fields.get("JobState", "")
        if int(fields.get("Restarts", "0")) > evidence.restarts:
            # Slurm requeues by itself after a node failure; with a supervisor alive to ask, somebody wanted it.
            return _requeued(evidence) if evidence.code is not None else None
        if state in BY_STATE:
            return BY_STATE[state](evidence)
        if state == "COMPLETING" and evidence.code is not None:  # something ends the job while its batch script runs
            return _time_limit(evidence) if fields.get("Reason") == "TimeLimit" else _cancelled(evidence)
    return None


def _was_preempted(evidence: Evidence) -> bool:
    """Whether the job was preempted in this attempt, and not in an earlier one."""
    times = [seconds(fields, "PreemptTime") for fields in evidence.scontrol_records]
    return any(time is not None and time >= evidence.started - 1 for time in times)


def _sacct_answered(evidence: Evidence) -> Cause | None:
    state = evidence.sacct_record.get("State", "").split(" ")[0]
    return BY_STATE[state](evidence) if state in BY_STATE else None


def _warned_of_limit(evidence: Evidence) -> Cause | None:
    signalled, limit = "SIGUSR2" in (evidence.signal, _signal(evidence)), evidence.time_limit_at
    if signalled and limit and limit - evidence.ended <= evidence.warned_s + LIMIT_SECONDS:
        return _time_limit(evidence)
    return None


def _node_gone(evidence: Evidence) -> Cause | None:
    otherwise = evidence.sacct_record.get("State", "").split(" ")[0] in ("FAILED", "COMPLETED")
    if evidence.code is not None or not evidence.failed_nodes or _was_preempted(evidence) or otherwise:
        return None
    return _node_failure(", ".join(evidence.failed_nodes))


def _by_signal(evidence: Evidence) -> Cause | None:
    name = _signal(evidence) or (evidence.signal if evidence.code else "")
    if name in ("SIGINT", "SIGHUP"):
        how = "Ctrl-C" if name == "SIGINT" else "its terminal was closed"
        return Cause("stopped", f"stopped by the user ({how})")
    return Cause("asked", f"stopped by {name}") if name else None


def _exit_code(evidence: Evidence) -> Cause | None:
    if evidence.code is None:
        return None
    complaints = [kind.findall(evidence.log_tail) for kind in COMPLAINTS]
    failed = _first_to_fail(evidence)
    if failed["ranks"] and not complaints[0]:
        return Cause("crashed", f"{_who(failed)}: {failed['end'][:1].lower()}{failed['end'][1:]}", **_place(failed))
    last = next((found[-1] for found in complaints if found), "")
    words = f"srun: {last}" if last else f"a rank left with exit code {evidence.code}"
    return Cause("crashed", words)


def _signal(evidence: Evidence) -> str:
    """The signal that the ranks say they stopped for; the supervisor hears a Ctrl-C and passes on a TERM."""
    if evidence.status.get("state") not in ("stopped", "queued"):
        return ""
    if evidence.status.get("updated", evidence.started) < evidence.started:  # of before: the disk may be full
        return ""
    return evidence.signal or str(evidence.status.get("signal") or "a signal")


def _first_to_fail(evidence: Evidence) -> dict[str, str]:
    """The first line of srun about a rank that ended badly; leaving with 75 or by srun's own TERM is not that."""
    for found in TASK.finditer(evidence.log_tail):
        if found["end"] not in (f"Exited with exit code {EXIT_RESUMABLE}", "Terminated"):
            return found.groupdict()
    return {"node": "", "ranks": evidence.first, "end": f"left with exit code {evidence.code}"}


def _node_of(evidence: Evidence, rank: str) -> str:
    for found in TASK.finditer(evidence.log_tail):
        for part in found["ranks"].split(","):
            low, _, high = part.partition("-")
            if rank and int(low) <= int(rank) <= int(high or low):
                return found["node"]
    return ""


def _who(failed: dict[str, str]) -> str:
    if not failed["ranks"]:
        return "a rank"
    several = "ranks" if not failed["ranks"].isdigit() else "rank"
    return f"{several} {failed['ranks']} on {failed['node']}" if failed["node"] else f"{several} {failed['ranks']}"


def _place(failed: dict[str, str]) -> dict[str, str]:
    return {"rank": failed["ranks"], "node": failed["node"]}


def _preempted(evidence: Evidence) -> Cause:
    return Cause("preempted", f"preempted by job {evidence.preemptor}" if evidence.preemptor else "preempted")


def _time_limit(evidence: Evidence) -> Cause:
    return Cause("time limit", "time limit")


def _requeued(evidence: Evidence) -> Cause:
    return Cause("requeued", "requeued by scontrol requeue")


def _cancelled(evidence: Evidence) -> Cause:
    return Cause("cancelled", "cancelled by scancel")


def _node_failed(evidence: Evidence) -> Cause:
    return _node_failure(", ".join(evidence.failed_nodes))


def _node_failure(node: str) -> Cause:
    return Cause("node failure", f"node failure ({node})" if node else "node failure", node=node)


def _memory_state(evidence: Evidence) -> Cause:
    return Cause("memory", "out of memory")


BY_WORDS: dict[str, Callable[[Evidence], Cause]] = {
    "TIME LIMIT": _time_limit,
    "PREEMPTION": _preempted,
    "NODE FAILURE": _node_failed,
    "JOB REQUEUE": _requeued,
}
BY_STATE: dict[str, Callable[[Evidence], Cause]] = {
    "TIMEOUT": _time_limit,
    "PREEMPTED": _preempted,
    "NODE_FAIL": _node_failed,
    "REQUEUED": _requeued,
    "CANCELLED": _cancelled,
    "OUT_OF_MEMORY": _memory_state,
}
JUDGES: tuple[Callable[[Evidence], Cause | None], ...] = (
    _finished,
    _by_user,
    _slurm_wrote,
    _memory,
    _sacct_answered,  # asked only where nobody saw the end: ranks then complain that their peers are gone
    _node_gone,
    _killed_rank,
    _failure,
    _slurm_answered,
    _warned_of_limit,
    _by_signal,
    _exit_code,
)
