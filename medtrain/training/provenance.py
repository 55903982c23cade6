"""What a run computes with: versions, device and threads decide its last bits."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata
from pathlib import Path

import torch

from medtrain import __version__
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.distributed.process_group import World
from medtrain.runs.environment_record import DIFFERS, differing, record, recorded
from medtrain.runs.run import Run, resume_command
from medtrain.slurm.environment import node_name
from medtrain.tracking.run_log import log


def note_environment(run: Run, world: World) -> None:
    """Write down what the run computes with; later attempts with other versions are warned that bits may differ."""
    names = ("torch", "torchvision", "numpy", "accelerate", "timm", "opencv-python-headless", "simplejpeg")
    on_gpu, device = world.device.type == "cuda", device_of(world)
    facts = {"medtrain": __version__, "python": platform.python_version(), "device": device}
    if not on_gpu:
        facts["processor"] = processor()
    facts |= {"threads": str(torch.get_num_threads()), **{name: _version(name) for name in names}}
    known = recorded(run)  # earlier versions wrote down less, of which nothing can be said
    if differs := differing({name: value for name, value in facts.items() if name in known}, known):
        told = ", ".join(f"{name} {value}" for name, value in sorted(differs.items()))
        log(run, f"warning: {DIFFERS} ({told}): last bits may differ too")
    else:
        with contextlib.suppress(OSError):  # a full disk stops no training
            record(run, facts)


def device_of(world: World) -> str:
    """The model of this rank's GPU, or the kind of machine."""
    return torch.cuda.get_device_name() if world.device.type == "cuda" else platform.machine()


def ensure_same_device(run: Run, config: Config, device: str, of_first: str) -> None:
    """InputError where an attempt of `--nodes A-B` was granted another GPU model than the run began on; `of_first` is
    that of rank 0, which a run that begins now writes down."""
    began = recorded(run).get("device", of_first)
    if config.slurm.min_nodes and began != device and not config.slurm.allow_device_change:
        raise InputError(
            f"{node_name()} has {device}, and run {run.name} began on {began}: other models add up in another order",
            f"ask for that model (--gpus_per_node TYPE:N, --constraint), or accept other last bits:"
            f" {resume_command(run)} --allow_device_change",
        )


def processor() -> str:
    """The CPU's model, and which of its instructions torch takes: libraries choose their kernels by both, so that two
    models may sum in another order."""
    model = ""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(errors="replace") as lines:  # a paragraph a core
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"


def _version(package: str) -> str:
    """Of an installed package; conda names some of them otherwise."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "?"
