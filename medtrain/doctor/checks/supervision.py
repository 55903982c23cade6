"""Whether the supervisor of a run would see its job as Slurm granted it, from what the probe's batch script decided."""

from __future__ import annotations

from medtrain.doctor.checks import Finding, fail, ok
from medtrain.doctor.checks.probe_result import Told


def supervisor(told: Told) -> Finding | None:
    """Whether a run would train on all ranks of its own job, and put that job back into the queue.

    A new version of Slurm, a prolog or a line of `setup:` may change what a batch script finds in its environment: it
    then trains on one rank or does not come back, and says nothing.
    """
    row = next((line for line in told.batch if line["event"] == "decides"), None)
    if row is None:
        return None
    wrong = []
    if not row["in_job"]:
        wrong.append(
            f"takes itself for a task or for no job, and would train on one node (SLURM_STEP_ID={row['step']})"
        )
    elif not row["batch"]:
        wrong.append(
            "takes itself for a shell, and would not put its job back into the queue (ENVIRONMENT is not BATCH)"
        )
    if row["own_job"] != told.job:
        wrong.append(f"takes job {row['own_job'] or 'none'} for its own")
    if row["ranks"] != told.ranks:
        wrong.append(f"would start {row['ranks']} of {told.ranks} ranks (SLURM_NTASKS)")
    if row["leaves"] and not row["preempted"]:
        wrong.append("would leave its job to Slurm, which does not bring it back")
    if wrong:
        return fail(
            f"the batch script of job {told.job} {'; '.join(wrong)}",
            "look for SLURM_ variables and ENVIRONMENT in `setup:` of the profile and in the site's prologs; where "
            "nothing sets them, please report it with the output of: sbatch --wrap 'env; scontrol --version'",
        )
    return ok(f"the batch script knows its job and its {told.ranks} ranks, and would requeue it")
