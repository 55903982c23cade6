"""Why a job waits, as Slurm names it, in a sentence, and what helps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wait:
    """A reason in words: why the job waits, and what the user can do about it (empty: nothing is needed)."""

    why: str
    helps: str = ""


STOP = "medtrain stop {run}, then medtrain resume {run}"
LESS = "ask for less, so that it fits in sooner: fewer --nodes, a shorter --time, another --partition"
LIMITED = "wait until your other jobs end, or ask the administrators for a higher limit (sacctmgr show qos, assoc)"
ADMIN = "ask the administrators of the cluster"

# The names are those of job_reason_string() in Slurm's source (src/common/slurm_protocol_defs.c), without spaces.
REASONS = {
    "None": Wait("the scheduler has not looked at it yet"),
    "Priority": Wait("jobs of higher priority come first", LESS),
    "Resources": Wait("the nodes asked for are busy", LESS),
    "BeginTime": Wait("it was requeued and starts again in a moment"),
    "Dependency": Wait("it waits for another job to end ({dependency})"),
    "DependencyNeverSatisfied": Wait(
        "it waits for another job that ended otherwise than asked ({dependency}): it never starts", STOP
    ),
    "Prolog": Wait("its nodes are being prepared (the prolog runs)"),
    "Cleaning": Wait("its last attempt is still being cleaned up"),
    "JobHeldUser": Wait("it was held by its owner", "let it go: scontrol release {job}"),
    "JobHeldAdmin": Wait("it was held by an administrator, who alone can let it go", ADMIN),
    "launch_failed_requeued_held": Wait(
        "its last start failed on a node, and Slurm holds it now", "let it go: scontrol release {job}"
    ),
    "job_requeued_in_held_state": Wait("it was requeued and held", "let it go: scontrol release {job}"),
    "PartitionNodeLimit": Wait(
        "it asks for more nodes than partition {partition} gives, or for one that is not in it",
        STOP + " --nodes N or --partition P",
    ),
    "PartitionTimeLimit": Wait(
        "it asks for more time than partition {partition} gives",
        STOP + " --time T   (sinfo -o '%P %l' shows the limits)",
    ),
    "PartitionDown": Wait("partition {partition} is closed at the moment", "wait, or: " + STOP + " --partition P"),
    "PartitionInactive": Wait("partition {partition} is inactive", "wait, or: " + STOP + " --partition P"),
    "NodeDown": Wait("a node that it needs is down", "wait until it is repaired, or do not ask for it by name"),
    "ReqNodeNotAvail": Wait(
        "nodes that it needs are down, drained or reserved{nodes}",
        "wait until they are back (scontrol show reservation shows planned work), or a --time that ends before it",
    ),
    "Nodes_required_for_job_are_DOWN": Wait(
        "nodes that it needs are down, drained or reserved for higher partitions", "wait, or fewer --nodes"
    ),
    "BadConstraints": Wait(
        "no nodes of the partition fit what it asks for (constraint, memory, GPUs, excluded nodes)",
        "see what was asked: scontrol show job {job}; " + STOP,
    ),
    "Licenses": Wait("the licences that it asks for are in use", "wait (scontrol show licenses)"),
    "Reservation": Wait("its reservation has not begun, or is full", "wait (scontrol show reservation)"),
    "ReservationDeleted": Wait("its reservation was deleted: it never starts", STOP),
    "BurstBufferResources": Wait("the burst buffer is full"),
    "BurstBufferStageIn": Wait("its files are being copied to the burst buffer"),
    "InvalidAccount": Wait("its account is not valid (any more)", STOP + " --account A"),
    "InvalidQOS": Wait("its QOS is not valid (any more)", STOP + " --qos Q"),
    "JobArrayTaskLimit": Wait("as many tasks of its array run as may at once"),
    "DeadLine": Wait("it cannot end before its deadline any more"),
    "AccountNotAllowed": Wait("its account may not use partition {partition}", STOP + " --account A or --partition P"),
    "QOSNotAllowed": Wait("its QOS may not be used in partition {partition}", STOP + " --qos Q or --partition P"),
    "FrontEndDown": Wait("the cluster's front end is down", ADMIN),
    "NodeLaunchFailure": Wait("its nodes could not be started", "wait; if it lasts: " + ADMIN),
    "SystemFailure": Wait("something failed in Slurm itself", ADMIN),
}


def words(reason: str, facts: dict[str, str]) -> Wait:
    """A reason as scontrol or squeue writes it, in words.

    `facts` holds run and job, and the fields of `scontrol show job` where they are known.
    """
    name, _, rest = reason.replace(" ", "_").partition(",")
    fill = {
        "run": facts.get("run", "RUN"),
        "job": facts.get("job", "JOB"),
        "partition": facts.get("Partition", "its"),
        "dependency": facts.get("Dependency", "scontrol show job tells which"),
        "nodes": f" ({rest.partition(':')[2]})" if ":" in rest else "",
        "holder": "QOS" if name.startswith("QOS") else "account",
    }
    if name == "BeginTime" and facts.get("Restarts", "0") == "0":
        return Wait("it may not start before the time that it was given")
    found = REASONS.get(name) or _of_family(name) or Wait(f"Slurm says: {reason}")
    return Wait(found.why.format(**fill), found.helps.format(**fill))


def _of_family(name: str) -> Wait | None:
    """A limit of a QOS or an association, which Slurm has about 100 names for."""
    if not name.startswith(("QOS", "Assoc", "Max")):
        return None
    if "Wall" in name and "Max" in name:
        return Wait("it asks for more time than your {holder} allows a job: it never starts so", STOP + " --time T")
    if "Min" in name.replace("Minutes", ""):
        return Wait("it asks for less than your {holder} requires: it never starts so", STOP)
    if "Minutes" in name or "Usage" in name or "Wall" in name:
        more = "wait until it is renewed, take another --account, or ask for more"
        return Wait("the computing time of your {holder} is used up", more)
    if "PerJob" in name or "PerNode" in name:
        return Wait("it asks for more than your {holder} allows one job: it never starts so", STOP + " with less")
    if "Job" in name:
        return Wait("you have as many jobs as your {holder} allows", LIMITED)
    return Wait("your jobs together would use more than your {holder} allows", LIMITED)
