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
    to: Literal["hf", "monai_bundle", "onnx", "safetensors", "timm", "torch_export"] = "torch_export",
    out: Path | None = None,
    bound: float = 0.0,
    push: str = "",
    license: str = "",
    runs: Path = Path("runs"),
    json: Flag = False,
) -> None:
    """Write a run's best weights for programs without medtrain: the network, how images become its input, labels,
    thresholds, hashes and a model card.

    Before it is there a program without medtrain loads it, and its answers to the test split are compared with the
    run's.

    Args:
        name: Name of the run.
        to: torch_export (PyTorch alone; pixels in, probabilities out), onnx (ONNX Runtime alone; the same), hf (a
            folder for the Hugging Face Hub), monai_bundle (for monai.bundle.load), safetensors (tensors by the names of
            torchvision or timm), or timm (for timm.create_model("local-dir:...")).
        out: New folder (default: exports/FORMAT in the run's folder).
        bound: Largest difference of a probability or score that is accepted (0: 1e-4; of a run in bf16 0.05).
        push: Upload the folder into this repository of the Hugging Face Hub (USER/NAME), a private one where it is new.
            The token is that of HF_TOKEN or hf auth login, the server that of HF_ENDPOINT.
        license: Licence of the exported weights, as the Hub writes it (default: that of the weights training began
            from). Some terms forbid --push, or must be read first.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    run = Run.find(runs, name)
    config = configfile.load(run.config_file)
    permissions.apply(config.share)
    busy(f"loading the network of {run.name}, writing it, and proving it on the test split")
    from medtrain.exporting import licences, push_export
    from medtrain.exporting.write_export import export_run  # torch

    licences.ensure_name(license)
    if push:
        push_export.ensure_can_push(push)
        licences.ensure_may_push(run, config, license)
    found = export_run(run, to, out, bound, license, reuse=bool(push))
    if not json:
        proof = found["proof"]
        say(f"export: {found['folder']} ({found['file']}, SHA-256 {found['sha256'][:16]}...)")
        answers = f"the run's answers to {proof['samples']:,} samples of the {proof['split']} split"
        apart = f"at most {proof['largest_difference']:.2g} apart (bound {proof['bound']:g})"
        say(f"a program without medtrain gave {answers}, {apart}")
    if push:
        found["pushed_to"] = push_export.push_export(Path(found["folder"]), push)
    if json:
        say_json(found)
    elif push:
        say(f"pushed: {found['pushed_to']}   licence: {found['licence']['id'] or 'none is stated (--license ID)'}")
