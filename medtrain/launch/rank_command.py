"""How one rank is started: by the interpreter that runs here, or inside a container.

The supervisor stays outside, where Slurm's commands are. A rank asks Slurm for nothing: its place, its GPUs and its
cores are in its environment, which every container runtime below passes on.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from medtrain.config.schema import Config, SlurmConfig
from medtrain.core import processes
from medtrain.core.errors import InputError, MachineError
from medtrain.launch.environment_mount import archive_code, mounted
from medtrain.runs import code_snapshot
from medtrain.runs.run import Run
from medtrain.slurm.environment import in_slurm_job

APPTAINER = ("apptainer", "singularity")  # Singularity is its name until 2021, and SingularityCE's still
BINDS = "MEDTRAIN_CONTAINER_BINDS"  # for a program of the site: folders, one a line, each at its own path inside
CACHES = ("APPTAINER_CACHEDIR", "SINGULARITY_CACHEDIR")


@dataclass(frozen=True)
class RankCommand:
    """What starts a rank."""

    words: list[str]
    """The command line."""
    srun: list[str] = field(default_factory=list)
    """Further options of srun."""
    environment: dict[str, str] = field(default_factory=dict)
    """Further variables."""


def rank_command(run: Run, config: Config) -> RankCommand:
    """How the ranks of a run are started here; raises InputError and MachineError where its container cannot be."""
    slurm, root = config.slurm, code_snapshot.root_of(run)
    words = processes.command("medtrain.launch.rank_main", str(run.folder), root=root)
    if slurm.packed_environment:
        archive_code(root)
        return RankCommand(mounted(slurm.packed_environment, words))
    if not slurm.container:
        return RankCommand(words)
    if not in_slurm_job():
        raise InputError(
            f"container is {slurm.container}, and containers are for ranks that srun starts",
            "start it with medtrain submit, or here without: --container ''",
        )
    return contained(slurm, [slurm.container_python, *words[1:]], binds(run, config))


def binds(run: Run, config: Config) -> list[str]:
    """What a rank reads and writes outside of its image, each as SOURCE or SOURCE:TARGET[:ro]."""
    weights = config.model.weights
    there = [
        run.folder,
        code_snapshot.root_of(run),
        config.data.shards,
        config.weights_dir,
        os.environ.get("TMPDIR", ""),
    ]
    there += [Path(weights).parent] if weights and Path(weights).is_file() else []
    folders = dict.fromkeys(Path(folder).absolute() for folder in map(str, there) if folder)
    # Apptainer refuses a source that is not there; a folder inside one that is bound is bound with it.
    kept = [path for path in folders if path.exists() and not folders.keys() & set(path.parents)]
    return [*map(str, kept), *config.slurm.container_binds]


def contained(slurm: SlurmConfig, command: list[str], bound: list[str]) -> RankCommand:
    """A command inside the container of the settings, whose runtime sees the folders that are `bound`."""
    runtime, image = slurm.container_runtime or _runtime_of(slurm.container), slurm.container
    if runtime == "pyxis":
        file = Path(image).absolute() if Path(image).exists() else image  # else as enroot names what a registry has
        mounts = ",".join(mount if ":" in mount else f"{mount}:{mount}" for mount in bound)
        return RankCommand(command, [f"--container-image={file}", f"--container-mounts={mounts}"])
    if runtime == "edf":
        return RankCommand(command, [f"--environment={_there(image)}"])
    if runtime in APPTAINER:
        gpus = slurm.gpus_per_node or int(os.environ.get("SLURM_GPUS_ON_NODE") or 0)
        words = [runtime, "exec", "--bind", ",".join(bound), *(["--nv"] if gpus else []), _there(image), *command]
        return RankCommand(words, environment=_cache(image))
    if shutil.which(runtime) is None:
        raise MachineError(
            f"container_runtime is {runtime}, and there is no such program",
            "give apptainer, singularity, pyxis, edf, or a program that is called as: PROGRAM IMAGE COMMAND",
        )
    return RankCommand([runtime, _there(image), *command], environment={BINDS: "\n".join(bound)})


def _runtime_of(image: str) -> str:
    """What runs an image where the settings do not say: EDF files by their ending, else what is installed."""
    if image.endswith(".toml"):
        return "edf"
    if found := next(filter(shutil.which, APPTAINER), ""):
        return found
    raise MachineError(
        f"container is {image}, and neither apptainer nor singularity is found",
        "load its module in `setup`, or give --container_runtime pyxis, edf or a program",
    )


def _there(image: str) -> str:
    """The path of an image from any folder; what a registry has is left as it is."""
    path = Path(image).absolute()
    if "://" in image or ("/" not in image and not path.exists()):  # a registry's, or the name of an EDF
        return image
    if not path.exists():
        raise InputError(f"container is {image}, and there is no such file", "give --container the path of an image")
    return str(path)


def _cache(image: str) -> dict[str, str]:
    """A registry's image is converted once for all ranks and attempts, and not in a home with a quota."""
    if "://" not in image or any(name in os.environ for name in CACHES):
        return {}
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.cwd() / ".cache") / "medtrain" / "containers"
    return dict.fromkeys(CACHES, str(folder))
