"""Whether this machine has Slurm, and how to get it."""

from __future__ import annotations

import shutil

from slurm_cluster import PATH

INSTALL = "apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge"
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo", "squeue"]
MISSING = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
REASON = f"this machine has no Slurm (missing: {', '.join(MISSING)}); get it by: {INSTALL}"
