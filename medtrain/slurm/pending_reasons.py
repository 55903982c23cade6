"""Why a job waits, as Slurm names it, in a sentence, and what helps."""

from __future__ import annotations

import re
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
RELEASE = "let it go: scontrol release {job}"
AGAIN = "see why (medtrain status {run} --json, sacct -j {job}), then let it go: scontrol release {job}"

# The names of 22.05 to 26.05: src/common/job_state_reason.c (before 23.11 slurm_protocol_defs.c), and state_desc in
# src/slurmctld, whose spaces scontrol prints as _.
# The reason of a job without one, by its state.
STATES = {
    "REQUEUE_HOLD": "job_requeued_in_held_state",
    "SPECIAL_EXIT": "job_requeued_in_held_state",
    "RESV_DEL_HOLD": "ReservationDeleted",
    "REQUEUE_FED": "FedJobLock",
    "REQUEUED": "BeginTime",
    "EXPEDITING": "BeginTime",
}
# Reasons with a name or a number in them, as state_desc has them.
PATTERNS = (
    (r"Reservation_.*_was_deleted", "ReservationDeleted"),
    (r"Reservation_.*_is_invalid", "ReservationInvalid"),
    (r"uid_\d+_not_in_group_permitted_to_use_this_partition", "PartitionConfig"),
    (r"(?i)burst_?buffer", "BurstBufferOperation"),
    (r"Job_is_at_or_exceeds_(QOS|association)", "AccountingPolicy"),
)
REASONS = {
    "None": Wait("the scheduler has not considered it yet"),
    "Priority": Wait("jobs of higher priority come first", LESS),
    "Resources": Wait("the requested nodes are busy", LESS),
    "BeginTime": Wait("it was requeued and starts again in a moment"),
    "Dependency": Wait("it waits for another job to end ({dependency})"),
    "DependencyNeverSatisfied": Wait(
        "it waits for another job that did not end as required ({dependency}): it never starts", STOP
    ),
    "Prolog": Wait("its nodes are being prepared (the prolog runs)"),
    "Cleaning": Wait("its last attempt is still being cleaned up"),
    "JobHeldUser": Wait("it was held by its owner", RELEASE),
    "JobHoldMaxRequeue": Wait("it was requeued too often (MaxBatchRequeue), and Slurm holds it now", AGAIN),
    "JobHeldAdmin": Wait("it was held by an administrator, who alone can let it go", ADMIN),
    "launch_failed_requeued_held": Wait("its last start failed on a node, and Slurm holds it now", RELEASE),
    "launch_failure_limit_exceeded_requeued_held": Wait(
        "it failed to start as often as Slurm tries it, and is held now", AGAIN
    ),
    "job_requeued_in_held_state": Wait("it was requeued and held", RELEASE),
    "PartitionNodeLimit": Wait(
        "it asks for more nodes than partition {partition} gives, or for one that is not in it",
        STOP + " --nodes N or --partition P",
    ),
    "PartitionTimeLimit": Wait(
        "it asks for more time than partition {partition} gives",
        STOP + " --time T   (sinfo -o '%P %l' shows the limits)",
    ),
    "PartitionConfig": Wait(
        "partition {partition} does not take such a job (its limits, nodes, accounts or groups)",
        "see them: scontrol show partition {partition}; " + STOP + " --partition P",
    ),
    "MaxMemPerLimit": Wait(
        "it asks for more memory than partition {partition} gives: it never starts so", STOP + " --mem_gb N"
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
        "see what was requested: scontrol show job {job}; " + STOP,
    ),
    "Constraints": Wait(
        "no node that has what it asks for (constraint, memory, GPUs) is free or in service",
        "wait, or see what was requested: scontrol show job {job}; " + STOP,
    ),
    "Licenses": Wait("the licences that it asks for are in use", "wait (scontrol show licenses)"),
    "Reservation": Wait("its reservation has not begun, or is full", "wait (scontrol show reservation)"),
    "ReservationDeleted": Wait("its reservation was deleted: it never starts", STOP),
    "ReservationInvalid": Wait("its reservation is not valid (any more): it never starts", STOP),
    "BurstBufferOperation": Wait("a step of its burst buffer failed, and Slurm holds it now", ADMIN),
    "BurstBufferResources": Wait("the burst buffer is full"),
    "BurstBufferStageIn": Wait("its files are being copied to the burst buffer"),
    "InvalidAccount": Wait("its account is not valid (any more)", STOP + " --account A"),
    "InvalidQOS": Wait("its QOS is not valid (any more)", STOP + " --qos Q"),
    "JobArrayTaskLimit": Wait("as many tasks of its array run as may at once"),
    "DeadLine": Wait("it cannot end before its deadline any more"),
    "AccountNotAllowed": Wait("its account may not use partition {partition}", STOP + " --account A or --partition P"),
    "QOSNotAllowed": Wait("its QOS may not be used in partition {partition}", STOP + " --qos Q or --partition P"),
    "FrontEndDown": Wait("the cluster's front end is down", ADMIN),
    "SchedDefer": Wait("Slurm starts no job at once when it is submitted, and will consider it soon"),
    "MpiPortsBusy": Wait("the ports for MPI of its nodes are in use", "wait; if it lasts: " + ADMIN),
    "NvidiaImexChannels": Wait("all channels between nodes for NVIDIA GPUs (IMEX) are in use", "wait; " + LESS),
    "MaxPoweredUpNodes": Wait("as many nodes are switched on as the cluster allows", "wait until others are free"),
    "PowerNotAvail": Wait("the cluster's power is used up", LESS),
    "PowerReserved": Wait("the cluster's power is reserved for others", LESS),
    "BlockMaxError": Wait("its block of nodes has too many errors", ADMIN),
    "BlockFreeAction": Wait("its block of nodes is being freed", "wait; if it lasts: " + ADMIN),
    "FedJobLock": Wait("another cluster of the federation may be starting it"),
    "AccountingPolicy": Wait("a limit of your account or QOS stands against it", LIMITED),
    "QOSUsageThreshold": Wait(
        "your share of the cluster is used up below what your QOS asks for",
        "wait until it has recovered (sshare -U), or take another: " + STOP + " --qos Q",
    ),
    # How its last life ended, where it was requeued and held after that (REQUEUE_HOLD, SPECIAL_EXIT).
    "NonZeroExitCode": Wait("its last life left with an error, and Slurm holds it now", AGAIN),
    "RaisedSignal": Wait("a signal ended its last life{signal}, and Slurm holds it now", AGAIN),
    "TimeLimit": Wait("its last life came to the time limit, and Slurm holds it now", AGAIN),
    "InactiveLimit": Wait("its last life ended as it did nothing for too long, and Slurm holds it now", AGAIN),
    "OutOfMemory": Wait(
        "its last life ran out of memory, and Slurm holds it now", STOP + " --mem_gb N   (or a smaller batch)"
    ),
    "JobLaunchFailure": Wait("its last start failed, and Slurm holds it now", AGAIN),
    "NodeLaunchFailure": Wait("its nodes could not be started", "wait; if it lasts: " + ADMIN),
    "SystemFailure": Wait("something failed in Slurm itself", ADMIN),
}


def explain_reason(reason: str, facts: dict[str, str]) -> Wait:
    """A reason as scontrol or squeue writes it, in words.

    `facts` holds run and job, and the fields of `scontrol show job` where they are known.
    """
    name, _, rest = reason.replace(" ", "_").partition(",")
    signal = re.match(r"RaisedSignal:(\d+)", name)
    name = "RaisedSignal" if signal else STATES.get(facts.get("JobState", ""), name) if name == "None" else name
    fill = {
        "run": facts.get("run", "RUN"),
        "job": facts.get("job", "JOB"),
        "partition": facts.get("Partition", "its"),
        "dependency": facts.get("Dependency", "scontrol show job shows which"),
        "nodes": f" ({rest.partition(':')[2]})" if ":" in rest else "",
        "holder": "QOS" if name.startswith("QOS") or name.endswith("PerUser") else "account",
        "signal": f" ({signal[1]})" if signal else "",
    }
    if name == "BeginTime" and facts.get("Restarts", "0") == "0":
        return Wait("it may not start before the time that it was given")
    known = name if name in REASONS else next((kind for form, kind in PATTERNS if re.match(form, name)), name)
    found = (
        REASONS.get(known) or _of_family(known) or Wait("Slurm says: " + reason.replace("{", "{{").replace("}", "}}"))
    )
    return Wait(found.why.format(**fill), found.helps.format(**fill))


def _of_family(name: str) -> Wait | None:
    """A limit of a QOS or an association, which Slurm has about 100 names for."""
    if not name.startswith(("QOS", "Assoc", "Max")):
        return None
    if "Wall" in name and "Max" in name:
        return Wait("it asks for more time than your {holder} allows a job: it never starts so", STOP + " --time T")
    if re.search("Min(ute)?sPerJob", name):
        return Wait(
            "it asks for more computing time than your {holder} allows one job: it never starts so",
            STOP + " with fewer nodes or GPUs, or --time T",
        )
    if "RunMin" in name:
        return Wait("your running jobs may yet take as much computing time as your {holder} allows at once", LIMITED)
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
