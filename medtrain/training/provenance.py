"""What a run computes with: versions, device and threads decide its last bits."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata

import torch

from medtrain import __version__
from medtrain.distributed.process_group import World
from medtrain.runs.environment_record import DIFFERS, differing, record, recorded
from medtrain.runs.run import Run
from medtrain.tracking.run_log import log


def note_environment(run: Run, world: World) -> None:
    """Write down what the run computes with; later attempts with other versions are warned that bits may differ."""
    names = ("torch", "torchvision", "numpy", "accelerate", "timm", "opencv-python-headless", "simplejpeg")
    device = torch.cuda.get_device_name() if world.device.type == "cuda" else platform.machine()
    facts = {"medtrain": __version__, "python": platform.python_version(), "device": device}
    facts |= {"threads": str(torch.get_num_threads()), **{name: _version(name) for name in names}}
    if differs := differing(facts, recorded(run) if run.environment.exists() else facts):
        told = ", ".join(f"{name} {value}" for name, value in sorted(differs.items()))
        log(run, f"warning: {DIFFERS} ({told}): last bits may differ too")
    else:
        with contextlib.suppress(OSError):  # a full disk stops no training
            record(run, facts)


def _version(package: str) -> str:
    """Of an installed package; conda names some of them otherwise."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "?"
