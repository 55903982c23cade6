"""Checks of Slurm: is it there, does it answer, and would a run that is stopped come back by itself."""

from __future__ import annotations

import functools
import getpass
import os
import re
import shutil
from pathlib import Path

from medtrain.core.counts import counted
from medtrain.doctor.checks import ADMIN, Finding, ask, fail, ok, warn
from medtrain.slurm.job_environment import as_on_a_login_node
from medtrain.slurm.queries import remedy

NEEDED = ("sbatch", "srun", "sinfo", "squeue", "scancel", "scontrol")
SHORT_GRACE_SECONDS = 10
TOO_SOON = "a large model cannot be saved in that time"
LONGER_WAIT = f"{ADMIN} for a KillWait of 30 or more; until then save more often: --every_minutes 2"
ALIVE = ("RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT")


def programs() -> Finding:
    """The commands that medtrain calls."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing == list(NEEDED) and "SLURM_JOB_ID" not in os.environ:
        return ok("there is no Slurm here; training runs on this machine")
    if missing:
        return fail(
            f"not found: {', '.join(missing)}", "load your cluster's Slurm module, or add its bin folder to PATH"
        )
    return ok(f"its commands are in {Path(str(shutil.which('sbatch'))).parent}")


def partitions() -> Finding | None:
    """Whether the controller answers, and where jobs could run."""
    if shutil.which("sinfo") is None:
        return None
    answer = ask("sinfo", "--noheader", "--format=%P|%a|%l|%F|%G")
    if answer.code != 0:
        return fail(f"Slurm does not answer ({answer.reason})", remedy(answer.error))
    rows = [line.split("|") for line in answer.out.splitlines() if line.count("|") == 4]
    if not rows:
        return fail("sinfo shows no partition", "ask your administrator for access to one")
    shown = [
        f"{name} ({state}, {_nodes(counts)}, limit {limit}{_gres(gres)})" for name, state, limit, counts, gres in rows
    ]
    text = f"{counted(len(rows), 'partitions')}: {'; '.join(shown)}"
    if not any(state == "up" and _in_service(counts) for _, state, _, counts, _ in rows):
        return fail(f"{text}; no node is in service", "wait, or ask your administrator (sinfo -R says why)")
    return ok(text)


def submitting() -> Finding | None:
    """Whether Slurm would take a job of yours."""
    if shutil.which("sbatch") is None or configuration() is None:
        return None
    with as_on_a_login_node():
        answer = ask("sbatch", "--test-only", "--ntasks=1", "--time=1", "--wrap=true")
    if answer.code != 0:
        return warn(
            f"a small job without --partition and --account would be refused ({answer.reason})",
            "give them: medtrain submit ... --partition NAME --account NAME",
        )
    return ok(f"Slurm would take a job of {getpass.getuser()}")


def requeueing() -> Finding | None:
    """Whether jobs that are stopped go back to the queue."""
    settings = configuration()
    if settings is None:
        return None
    if settings.get("JobRequeue") == "0":
        return warn(
            "JobRequeue=0: a preempted job goes back to the queue only where it asks for it",
            "medtrain submit asks for it (--requeue); in an sbatch script of your own write #SBATCH --requeue",
        )
    return ok("JobRequeue=1: stopped jobs go back to the queue")


def preemption(partition: str = "", qos: str = "") -> Finding | None:
    """What happens to a job of a partition and QOS (empty: of each) that must make way."""
    settings = configuration()
    if settings is None:
        return None
    kind = settings.get("PreemptType", "preempt/none")
    if kind == "preempt/none":
        return ok("jobs are not preempted here")
    rows = qos_rules(qos, settings.get("PreemptMode", "OFF")) if kind == "preempt/qos" else _partition_rules(partition)
    if rows is None:
        return warn("jobs are preempted by their QOS, and sacctmgr does not say how", ADMIN)
    if not rows:
        return ok(f"jobs of {qos or partition or 'any QOS'} are not preempted")
    text = "; ".join(f"{name}: {mode}, {grace} s grace" for name, mode, grace in rows)
    lost = [name for name, mode, _ in rows if "CANCEL" in mode]
    text += "; of cancelled ones another job continues the run" if lost else ""
    woken = [name for name, mode, _ in rows if "SUSPEND" in mode or mode == "GANG"]
    if woken and len(woken) == sum(mode != "OFF" for _, mode, _ in rows):
        return ok(
            f"preempted jobs of {', '.join(woken)} are suspended and continue by themselves: no attempt ends, and no"
            f" step is lost; they keep memory and GPUs meanwhile ({text})"
        )
    hasty = [name for name, mode, grace in rows if mode in ("REQUEUE", "CANCEL") and grace < SHORT_GRACE_SECONDS]
    if hasty and not _user_signal(settings):
        return warn(
            f"preempted jobs of {', '.join(hasty)} have less than {SHORT_GRACE_SECONDS} s to save ({text})",
            "save more often there: --every-minutes 2 (steps since the last save are computed again)",
        )
    kept = f"; those of {', '.join(woken)} are suspended, and continue by themselves" if woken else ""
    return ok(f"preempted jobs are warned{kept} ({text})")


def _user_signal(settings: dict[str, str]) -> bool:
    """Whether a preempted job is sent the signal that it asked for, by its name of before 23.02 or since."""
    before = settings.get("SlurmctldParameters", "").split(",")
    return "preempt_send_user_signal" in before or "send_user_signal" in settings.get("PreemptParameters", "").split(
        ","
    )


def kill_wait() -> Finding | None:
    """Whether a job that is stopped has time to save between TERM and KILL, as the settings have it."""
    shown = (configuration() or {}).get("KillWait", "").split()
    if not shown or not shown[0].isdigit():
        return None
    text = f"KILL follows TERM after {shown[0]} s (KillWait={shown[0]})"
    if int(shown[0]) < SHORT_GRACE_SECONDS:
        return warn(f"{text}: {TOO_SOON}", LONGER_WAIT)
    return ok(text)


def accounting() -> Finding | None:
    """Whether ended jobs are remembered."""
    settings = configuration()
    if settings is None:
        return None
    if "slurmdbd" not in settings.get("AccountingStorageType", ""):
        return ok("no accounting: what became of a run is read from its folder")
    if shutil.which("sacct") is None:
        return ok("accounting is on, sacct is not here: what became of a run is read from its folder")
    answer = ask("sacct", "--noheader", "--allocations", "--starttime=now-1minutes")
    if answer.code != 0:
        return warn(
            f"accounting is on, and sacct fails ({answer.reason})", "ask your administrator; runs do without it"
        )
    return ok("sacct answers")


def job() -> Finding:
    """Whether this shell is inside a job, and whether that job is real."""
    number = os.environ.get("SLURM_JOB_ID")
    if number is None:
        return ok("this is not inside a Slurm job")
    if shutil.which("squeue") is not None:
        answer = ask("squeue", "--noheader", "--jobs", number, "--format=%T")
        known = answer.code == 0 or "Invalid job id" in answer.error  # else the controller is silent
        if known and answer.out.strip() not in ALIVE:
            return fail(
                f"SLURM_JOB_ID={number}, and no such job runs: training would try to start in it",
                "the variables come from an older shell: unset ${!SLURM_*}",
            )
    nodes, tasks = os.environ.get("SLURM_JOB_NODELIST", "?"), os.environ.get("SLURM_NTASKS", "1")
    return ok(f"inside job {number} on {nodes}, tasks: {tasks}")


@functools.cache
def configuration() -> dict[str, str] | None:
    """`scontrol show config` as a mapping; None where there is no Slurm or no answer (`partitions` says so)."""
    if shutil.which("scontrol") is None:
        return None
    answer = ask("scontrol", "show", "config")
    pairs = [line.partition("=") for line in answer.out.splitlines()]
    return {name.strip(): value.strip() for name, equals, value in pairs if equals} if answer.code == 0 else None


def minutes(text: str) -> float | None:
    """A time as Slurm writes it, in minutes; None where there is no limit."""
    if not re.fullmatch(r"[\d:-]+", text):
        return None
    days, dash, clock = text.rpartition("-")
    parts = [float(part) for part in clock.split(":")]
    if dash or len(parts) == 3:
        hours, minute, second = (*parts, 0.0, 0.0)[:3]
    else:  # minutes, or minutes:seconds
        hours, (minute, second) = 0.0, (*parts, 0.0)[:2]
    return float(days or 0) * 1440 + hours * 60 + minute + second / 60


def clock(minutes: float) -> str:
    """Minutes as Slurm writes a time: 12:00:00, 7-00:00:00."""
    seconds = round(minutes * 60)
    days = seconds // 86_400 if seconds > 86_400 else 0
    text = f"{seconds // 3600 - 24 * days:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{days}-{text}" if days else text


def _partition_rules(wanted: str) -> list[tuple[str, str, int]]:
    """Name, preemption mode and seconds of grace of a partition (empty: of each)."""
    shown = ask("scontrol", "--all", "--oneliner", "show", "partition").out
    rows = []
    for line in shown.splitlines():
        fields = dict(re.findall(r"(\w+)=(\S+)", line))
        rows.append((fields["PartitionName"], fields.get("PreemptMode", "OFF"), int(fields.get("GraceTime", "0"))))
    return [row for row in rows if wanted in ("", row[0])]


def qos_rules(wanted: str, cluster_mode: str) -> list[tuple[str, str, int]] | None:
    """The same of a QOS (empty: of each) that another may preempt; None where sacctmgr does not tell."""
    if shutil.which("sacctmgr") is None:
        return None
    columns = "format=Name,PreemptMode,GraceTime,Preempt"
    answer = ask("sacctmgr", "--noheader", "--parsable2", "show", "qos", columns)
    rows = [line.split("|") for line in answer.out.splitlines() if line.count("|") == 3]
    if answer.code != 0 or not rows:
        return None
    preempted = {name for *_, names in rows for name in names.split(",")}
    return [
        (name, cluster_mode if mode == "cluster" else mode.upper(), round(60 * (minutes(grace) or 0)))
        for name, mode, grace, _ in rows
        if name in preempted and wanted in ("", name)
    ]


def _nodes(counts: str) -> str:
    """`%F` of sinfo is allocated/idle/other/total."""
    return f"{_in_service(counts)} of {counts.split('/')[3]} nodes in service"


def _in_service(counts: str) -> int:
    allocated, idle, _, _ = counts.split("/")
    return int(allocated) + int(idle)


def _gres(gres: str) -> str:
    return "" if gres in ("(null)", "") else f", {gres}"
