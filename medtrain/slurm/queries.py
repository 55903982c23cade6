"""Questions to Slurm about a job: each has a time limit, and each may stay without an answer.

Without accounting, after a job was purged, or while the controller is down Slurm knows little or nothing; whoever
asks must do without.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, field

from medtrain.core.processes import ASKING_OR_HANGUP

ASK_SECONDS = 20.0  # Slurm's own commands give up after 10 (MessageTimeout) or later
ENDED = frozenset(
    ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
     "REVOKED")
)  # fmt: skip
# What `scontrol show job` calls a job that has not begun, or not again: it waits, whatever for.
WAITING = frozenset(
    ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "EXPEDITING", "RESV_DEL_HOLD")
)
RUNS = ("RUNNING", "SIGNALING")  # the second for a moment after a SIGCONT, which Slurm sends before a TERM
NO_ANSWER = "UNKNOWN"
FAILED = ("down", "fail", "unknown", "not_responding", "*")  # in a node's state; * is "not responding" too
OUT_OF_SERVICE = (*FAILED, "drain", "reboot", "power")
RETURN_SECONDS = 900.0  # a node that starts anew so soon after an attempt's end was what ended it
# Text of users and administrators, in which there may be anything: a job's name, and what begins with one of these. Of
# what follows, only fields that Slurm itself writes there are read (src/scontrol/info_job.c).
NAME = re.compile(r"JobName=.*?(?=\s(?:SLUID|HetJobIdSet)=|\sUserId=\S*\(\d+\)\sGroupId=)")
FREE_TEXT = re.compile(
    r"\s(?:Command|SubmitLine|AdminComment|SystemComment|Comment|Extra)=.*?"
    r"(?P<rest>(?:\s+(?:Std(?:Err|In|Out)|Power|BurstBuffer\w*|Switches|Gres\w+|Kill\w+|Spread\w+|Consolidate\w+|SegmentSize|"
    r"ExpeditedRequeue|OOMKillStep|\w+PerTres|Tres\w+|Mail(?:User|Type)|NtasksPerTRES|Container\w*|SELinuxContext|ResvPorts)"
    r"=\S*)*)\s*$"
)
Fields = dict[str, str]


@dataclass(frozen=True)
class JobStatus:
    """Where a run is under way: a Slurm job (with its state and reason) or a process of this machine.

    A job that Slurm says nothing about, because its controller does not answer, may well be running: its state is
    NO_ANSWER, and nobody starts a second one beside it. `fields` are those of `scontrol show job`.
    """

    kind: str
    id: str
    state: str = ""
    reason: str = ""
    fields: Fields = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether it is a job that has not begun yet, or not again."""
        return self.state in WAITING


def ask(*command: str) -> tuple[str, str]:
    """What a command of Slurm prints and, where it failed, what it complained of. Times come as seconds since 1970.

    Slurm sends a job's end to every process of its batch script, this one too: it must not die of that half way.
    """
    if shutil.which(command[0]) is None:
        return "", f"{command[0]} is not installed here"
    environment = {**os.environ, "SLURM_TIME_FORMAT": "%s"}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING_OR_HANGUP)  # a child inherits it
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", env=environment
        )
    except OSError as error:  # no more processes or memory: as good as no answer
        return "", f"{command[0]} could not be started ({error.strerror})"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        answer, complaint = process.communicate(timeout=ASK_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "", f"{command[0]} gave no answer within {ASK_SECONDS:g} s"
    if process.returncode == 0:
        return answer, ""
    return answer, " ".join(complaint.split()) or f"{command[0]} left with exit code {process.returncode}"


def why_no_answer() -> str:
    """Why the controller does not answer; empty where it does."""
    answer, problem = ask("scontrol", "ping")
    if "DOWN" in answer and "UP" not in answer:
        return " ".join(answer.partition("\n")[0].split())
    return "" if "UP" in answer else problem


def remedy(complaint: str) -> str:
    """What helps where a command of Slurm complains that it cannot reach the controller."""
    if "munge" in complaint.lower():
        return "munged must run on this machine, with the cluster's key: ask your administrator"
    return "is the controller up (scontrol ping), and SLURM_CONF right? ask your administrator"


def ask_controller(*command: str) -> tuple[str, str]:
    """As `ask`, for what the controller answers: where it is down, a ping knows at once, and others try for 18 s."""
    problem = why_no_answer()
    return ("", problem) if "DOWN" in problem else ask(*command)


def parse(text: str) -> Fields:
    """The fields of one line of `scontrol --oneliner show`; the first of a name counts, and free text is left out."""
    line = NAME.sub("", text.strip().split("\n")[0])
    if free := FREE_TEXT.search(line):
        _, std_err, rest = free["rest"].rpartition(" StdErr=")
        line = line[: free.start()] + (std_err + rest if std_err else free["rest"])
    pairs = [word.partition("=") for word in re.split(r"\s+(?=[A-Z][\w/:]*=)", line)]
    return {name: value for name, equals, value in reversed(pairs) if equals}


def configuration() -> Fields:
    """What the controller says of itself, its version among it; `{}` where it is silent."""
    lines = [line.partition("=") for line in ask_controller("scontrol", "show", "config")[0].splitlines()]
    return {name.strip(): value.strip() for name, equals, value in lines if equals}


def version(settings: Fields) -> tuple[int, int]:
    """The controller's version, or where it is silent that of the commands here: `22.05.8` -> (22, 5)."""
    found = re.search(r"(\d+)\.(\d+)", settings.get("SLURM_VERSION") or ask("scontrol", "--version")[0])
    return (int(found[1]), int(found[2])) if found else (0, 0)


def expedites() -> bool:
    """Whether a job may ask to be first in the queue, and at once, when it is requeued (Slurm 25.11, sbatch's
    --requeue=expedite)."""
    settings = configuration()
    allowed = "enable_expedited_requeue" in settings.get("SlurmctldParameters", "").split(",")
    return allowed and version(settings) >= (25, 11)


def preempted(fields: Fields) -> bool:
    """Whether a job is preempted in this life of it: Slurm 22.05 tells the time also in the next one."""
    when = seconds(fields, "PreemptTime")
    return when is not None and when >= (seconds(fields, "StartTime") or 0.0) - 1


def age_counts() -> bool:
    """Whether a job gains priority while it depends on another (PriorityFlags, man slurm.conf)."""
    return "ACCRUE_ALWAYS" in configuration().get("PriorityFlags", "")


def show(job: str) -> tuple[Fields, str]:
    """What the controller says of a job, or `{}` and why it says nothing."""
    text, problem = ask_controller("scontrol", "--oneliner", "show", "job", job)
    return ({}, problem) if problem else (parse(text), "")


def records(job: str) -> tuple[list[Fields], str]:
    """What the controller says of a job, of an array a record for each task that it has begun with and one for the
    others; or nothing, and why."""
    text, problem = ask_controller("scontrol", "--oneliner", "show", "job", job)
    return [fields for line in text.splitlines() if (fields := parse(line))], problem


def all_completed(job: str) -> bool:
    """Whether accounting remembers a job, and that all of it succeeded."""
    text, _ = ask("sacct", "--allocations", "--parsable2", "--noheader", "--format=State", f"--jobs={job}")
    return bool(text.split()) and set(text.split()) == {"COMPLETED"}


def queue_state(job: str) -> JobStatus | None:
    """A job that waits or runs; None where Slurm knows it no more, or there is no Slurm."""
    if shutil.which("scontrol") is None:
        return None
    text, problem = ask_controller("scontrol", "--oneliner", "show", "job", job)
    if problem and "Invalid job id" not in problem:
        return JobStatus("job", job, NO_ANSWER, f"Slurm does not answer ({problem})")
    records = [] if problem else [parse(line) for line in text.splitlines()]  # of an array there are several
    live = [fields for fields in records if fields.get("JobState", "COMPLETED") not in ENDED]
    return JobStatus("job", job, live[0]["JobState"], live[0]["Reason"], live[0]) if live else None


def seconds(fields: Fields, name: str) -> float | None:
    """A time among a job's fields, in seconds since 1970; None where it is not set."""
    text = fields.get(name, "")
    return float(text) if text.isdigit() else None


def sacct_record(job: str, started: float) -> Fields:
    """What sacct knows of the life of a job that ran at the time `started`; `{}` without accounting.

    A requeued job has a row for each of its lives.
    """
    names = ("State", "ExitCode", "Start", "End", "NodeList")
    text, _ = ask(
        "sacct", "--duplicates", "--allocations", "--parsable2", "--noheader", f"--format={','.join(names)}",
        f"--jobs={job}",
    )  # fmt: skip
    lives = [dict(zip(names, line.split("|"), strict=True)) for line in text.splitlines() if line.count("|") == 4]
    began = [life for life in lives if (seconds(life, "Start") or float("inf")) <= started + 1]
    return max(began, key=lambda life: seconds(life, "Start") or 0.0, default={})


@functools.cache
def hosts(nodes: str) -> frozenset[str]:
    """The nodes of a list as Slurm writes it: `gpu[1-2],big` -> gpu1, gpu2, big."""
    if not nodes or nodes == "(null)":  # both are written where there are none
        return frozenset()
    return frozenset(ask("scontrol", "show", "hostnames", nodes)[0].split() if "[" in nodes else nodes.split(","))


def preemptor(fields: Fields, nodes: str, since: float, within_s: float | None = None) -> str:
    """The job that a preempted one made room for; empty where none is seen (some clusters show only one's own).

    It is of another partition or QOS: the first that started on the nodes after the time `since`, or else the first in
    the queue that is planned there; with `within_s` only one that started so soon.
    """
    taken, ours = hosts(nodes), (fields.get("Partition"), _unset(fields.get("QOS", "")))
    states = "--states=PENDING,CONFIGURING,RUNNING,COMPLETING,COMPLETED,FAILED,CANCELLED,TIMEOUT"
    text, _ = ask_controller("squeue", "--all", "--noheader", "--sort=-p", states, "--format=%A|%T|%P|%q|%Y|%N|%S")
    began, planned = [], []
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 6]
    for job, state, partition, qos, scheduled, at, start in rows:
        if job == fields.get("JobId") or (partition, _unset(qos)) == ours:
            continue
        if state == "PENDING":
            planned += [job] if within_s is None and taken & hosts(scheduled) else []
        elif within_s is not None and start.isdigit() and float(start) > since + within_s:
            continue
        elif start.isdigit() and float(start) > since - 1 and taken & hosts(at):
            began.append((float(start), job))
    return min(began)[1] if began else planned[0] if planned else ""


def _unset(name: str) -> str:
    """A name that Slurm's commands write in different ways where there is none."""
    return "" if name in ("(null)", "N/A") else name


def failed_nodes(nodes: str, since: float) -> list[str]:
    """Which of the nodes are down, or started anew within minutes after the time `since`."""
    text, _ = ask_controller("scontrol", "--oneliner", "show", "node", nodes)
    found = []
    for node in map(parse, text.splitlines()):
        starts = [seconds(node, name) or 0.0 for name in ("BootTime", "SlurmdStartTime")]
        anew = any(since - 1 < start < since + RETURN_SECONDS for start in starts)
        if anew or any(word in node.get("State", "").lower() for word in FAILED):
            found.append(node["NodeName"])
    return found


def nodes_without(job: str, nodes: set[str], fewest: int = 0) -> tuple[str, str]:
    """The list of nodes that a job must avoid to avoid these too, or an empty one and why it cannot.

    It must still find nodes enough: those in service, of the same partition, features and GPUs as the ones it loses,
    are counted. `fewest` is how many are enough, where it may have more now.
    """
    fields, problem = show(job)
    if problem:
        return "", problem
    left_out = nodes | hosts(fields.get("ExcNodeList", ""))
    if nodes & hosts(fields.get("ReqNodeList", "")):
        return "", "the job asks for it by name"
    text, problem = ask_controller(
        "sinfo", "--noheader", "--Node", f"--partition={fields['Partition']}", "--format=%N|%T|%f|%G"
    )
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 3]
    kinds = {(features, gpus) for name, _, features, gpus in rows if name in nodes}
    usable = {name for name, state, *kind in rows if tuple(kind) in kinds and not out_of_service(state)}
    asked = re.match(r"\d+", fields.get("NumNodes", "1"))
    wanted, there = fewest or (int(asked[0]) if asked else 1), len(usable - left_out)
    if problem or there < wanted:
        return "", problem or f"it needs {wanted} nodes, and of that kind only {there} would be left"
    return ",".join(sorted(left_out)), ""


def exclude(job: str, nodes: str) -> str:
    """Keep a requeued job off a list of nodes. Returns why that was not done, or an empty string.

    Slurm takes this for a pending job only. A requeued one counts as pending while its last processes end, and starts
    only when they have, so the batch script that has just requeued itself can be sure that nothing comes between.
    """
    return ask_controller("scontrol", "update", f"JobId={job}", f"ExcNodeList={nodes}")[1]


def out_of_service(state: str) -> bool:
    """Whether a node in this state takes no jobs."""
    return any(word in state.lower() for word in OUT_OF_SERVICE)
