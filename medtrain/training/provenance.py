"""What a run computes with: versions, device and threads decide its last bits."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata
from pathlib import Path

import torch

from medtrain import __version__
from medtrain.distributed.process_group import World
from medtrain.runs.environment_record import DIFFERS, differing, record, recorded
from medtrain.runs.run import Run
from medtrain.tracking.run_log import log


def note_environment(run: Run, world: World) -> None:
    """Write down what the run computes with; later attempts with other versions are warned that bits may differ."""
    names = ("torch", "torchvision", "numpy", "accelerate", "timm", "opencv-python-headless", "simplejpeg")
    on_gpu = world.device.type == "cuda"
    device = torch.cuda.get_device_name() if on_gpu else platform.machine()
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
