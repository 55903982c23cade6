"""The grace time of a preemption: whether Slurm brings the job back, or its batch script has to.

Up to 23.11 nobody does unless the script requeues its job. From 24.05 on Slurm does at the end of the batch script,
whatever its exit code. A script that requeues its job all the same has it brought back twice: Slurm's mark stays on the
job until a later life ends, were that by `medtrain stop` or with a finished run.
"""

from __future__ import annotations

from medtrain.slurm.environment import in_batch_script, own_job
from medtrain.slurm.queries import Fields, ask, ask_controller, configuration, parse, seconds, show, version

BRINGS_BACK = (24, 5)  # the first version whose controller requeues a job that ends in its grace time


def brings_back(job: str) -> bool:
    """Whether Slurm puts a job back into the queue when its batch script ends now; no where it does not answer.

    Slurm tells the time of a preemption until the job is requeued or gone. A job that may not be requeued (Requeue=0)
    and one that its partition or QOS cancels stay away, unless they requeue themselves.
    """
    fields, _ = show(job)
    if seconds(fields, "PreemptTime") is None or fields.get("Requeue") != "1":
        return False
    settings = configuration()
    return version(settings) >= BRINGS_BACK and "CANCEL" not in _mode(settings, fields)


def cancels(job: str) -> bool:
    """Whether a preemption of a job cancels it for good, or nobody may requeue it; no where Slurm does not answer."""
    fields, _ = show(job)
    settings = configuration() if fields else {}
    preempts = settings.get("PreemptType", "preempt/none") not in ("preempt/none", "(null)")
    return fields.get("Requeue") == "0" or (preempts and "CANCEL" in _mode(settings, fields))


def stay_away() -> None:
    """End the job of this batch script for good where Slurm would bring it back: a stop is one in a grace time too."""
    if in_batch_script() and brings_back(own_job()):
        ask_controller("scancel", own_job())


def _mode(settings: Fields, fields: Fields) -> str:
    """What a preemption does to a job: the mode of its QOS or partition, or else the cluster's."""
    if settings.get("PreemptType") == "preempt/qos":
        qos = fields.get("QOS", "")
        shown, _ = ask("sacctmgr", "--noheader", "--parsable2", "show", "qos", qos, "format=PreemptMode")
        mode = shown.strip().upper()
    else:
        partition, _ = ask_controller("scontrol", "--oneliner", "show", "partition", fields.get("Partition", ""))
        mode = parse(partition).get("PreemptMode", "").upper()
    return settings.get("PreemptMode", "").upper() if mode in ("", "CLUSTER") else mode
