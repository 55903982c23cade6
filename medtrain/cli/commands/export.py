"""The command export: a run's best weights for programs without medtrain."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from medtrain.cli.flag_types import Flag, RunName
from medtrain.config import configfile
from medtrain.core import permissions
from medtrain.core.console import busy, say, say_json
from medtrain.runs.run import Run


def export(
    name: RunName,
    to: Literal["safetensors", "timm", "torch_export"] = "torch_export",
    out: Path | None = None,
    bound: float = 0.0,
    runs: Path = Path("runs"),
    json: Flag = False,
) -> None:
    """Write a run's best weights for programs without medtrain: the network, how images become its input, labels,
    thresholds, hashes and a model card.

    Before it is there a program without medtrain loads it, and its answers to the test split are compared with the
    run's.

    Args:
        name: Name of the run.
        to: torch_export (PyTorch alone; pixels in, probabilities out), safetensors (tensors by the names of torchvision
            or timm), or timm (a folder for timm.create_model("local-dir:...")).
        out: New folder (default: exports/FORMAT in the run's folder).
        bound: Largest difference of a probability or score that is accepted (0: 1e-4; of a run in bf16 0.05).
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    run = Run.find(runs, name)
    permissions.apply(configfile.load(run.config_file).share)
    busy(f"loading the network of {name}, writing it, and proving it on the test split")
    from medtrain.exporting.write_export import export_run  # torch

    found = export_run(run, to, out, bound)
    if json:
        say_json(found)
        return
    proof = found["proof"]
    say(f"export: {found['folder']} ({found['file']}, SHA-256 {found['sha256'][:16]}...)")
    answers = f"the run's answers to {proof['samples']:,} samples of the {proof['split']} split"
    apart = f"at most {proof['largest_difference']:.2g} apart (bound {proof['bound']:g})"
    say(f"a program without medtrain gave {answers}, {apart}")
