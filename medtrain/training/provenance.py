"""What a run computes with: versions, device and threads decide its last bits."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata

import torch

from medtrain import __version__
from medtrain.distributed.process_group import World
from medtrain.runs.run import Run
from medtrain.tracking.run_log import log


def note_environment(run: Run, world: World) -> None:
    """Write down what the run computes with; later attempts with other versions are warned that bits may differ."""
    names = ("torch", "torchvision", "numpy", "accelerate", "timm", "opencv-python-headless", "simplejpeg")
    device = torch.cuda.get_device_name() if world.device.type == "cuda" else platform.machine()
    lines = [f"medtrain {__version__}", f"python {platform.python_version()}", f"device {device}"]
    lines += [f"threads {torch.get_num_threads()}", *(f"{name} {_version(name)}" for name in names)]
    before = run.environment.read_text(errors="replace").splitlines() if run.environment.exists() else lines
    changed = sorted(set(lines) - set(before))
    if changed:
        log(run, f"warning: this attempt differs from the first ({', '.join(changed)}): last bits may differ too")
    else:
        with contextlib.suppress(OSError):  # a full disk stops no training
            run.environment.write_text("\n".join(lines) + "\n")


def _version(package: str) -> str:
    """Of an installed package; conda names some of them otherwise."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "?"
