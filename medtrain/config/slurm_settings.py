"""The settings of the section `slurm`: what a job of a run asks for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SlurmConfig:
    """What is asked of Slurm."""

    cluster: str = ""
    """Cluster file by name or path (medtrain cluster list); its values are your defaults for the fields below."""
    nodes: int = 1
    """Nodes, or A-B: as many as are free (exact mode)."""
    min_nodes: int = 0
    """Fewest nodes of an attempt (0: always `nodes`); --nodes A-B sets both."""
    allow_device_change: bool = False
    """With nodes A-B: train on another GPU model than the run began on, where the last bits may differ."""
    spare_nodes: int = 0
    """Nodes beyond `nodes`: one replaces a node that is drained or where two attempts crashed, in the same job."""
    tasks_per_node: int = 0
    """Ranks on each node (0: one for each GPU, or one without GPUs)."""
    gpus_per_node: int = 0
    """GPUs on each node; of one type as TYPE:N (a100:4)."""
    gpu_type: str = ""
    """Type of those GPUs as Slurm names it; gpus_per_node a100:4 sets both."""
    cpus_per_task: int = 0
    """CPU cores a rank (0: the cluster's default)."""
    mem_gb: float = 0.0
    """Memory a node in GB (0: the cluster's default)."""
    time: str = ""
    """Time limit of one attempt as Slurm writes it (minutes, H:MM:SS or D-HH:MM:SS); empty for the partition's."""
    partition: str = ""
    """Partition."""
    account: str = ""
    """Account that is charged."""
    qos: str = ""
    """Quality of service."""
    constraint: str = ""
    """Node features."""
    signal_seconds: int = 120
    """Seconds before the time limit at which Slurm warns the job; a step and a save must fit."""
    dependency: str = ""
    """What this job waits for, as sbatch has it (afterany:812); ids alone mean afterok (812:813); empty for nothing."""
    successors: int = -1
    """Jobs that wait to continue the run should its job be cancelled (-1: one where preemption cancels; N: a chain)."""
    array_throttle: int = 0
    """Most jobs of an array that run at once (0: all)."""
    idle_minutes: float = 0.0
    """Minutes of idle GPUs after which the site cancels a job: a warning comes before (0: the site does not)."""
    carbon_intensity_g_per_kwh: float = 0.0
    """Grams of CO2 for a kWh where the cluster is: with it the CO2 of a run's GPUs is estimated (0: unknown)."""
    sbatch: tuple[str, ...] = ()
    """Further options of sbatch, each as --NAME=VALUE (those of today's Slurm are flags by their own names too)."""
    setup: tuple[str, ...] = ()
    """Shell lines to run first in the batch script (module load ...)."""
    packed_environment: str = ""
    """File of medtrain env pack, which each node mounts and its ranks run from; empty for what is installed."""
    container: str = ""
    """Image that the ranks run in: FILE.sif, docker://NAME, what Pyxis names, an EDF FILE.toml; empty for none."""
    container_runtime: str = ""
    """What starts it: apptainer, singularity, pyxis, edf, or a program (empty: edf for .toml, else Apptainer)."""
    container_binds: tuple[str, ...] = ()
    """Further folders that the ranks see in it, as SOURCE or SOURCE:TARGET[:ro] (run and shards are always seen)."""
    container_python: str = "python3"
    """Interpreter with medtrain's packages inside the image."""
