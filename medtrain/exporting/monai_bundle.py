"""A run's network as a MONAI bundle: configs, weights without code, and what its preprocessing is in MONAI's words."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medtrain import __version__
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import write_json
from medtrain.evaluation.inference import TrainedModel
from medtrain.evaluation.inputs import input_shape
from medtrain.exporting.traced_program import plain_network

WEIGHTS = "models/model.pt"
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
TO_TENSOR = {"_target_": "EnsureType", "data_type": "tensor", "track_meta": False}
OWN_MEAN = "$lambda x: (x - x.mean()) / x.std(correction=0).clamp(min=1)"


def write_monai_bundle(opened: TrainedModel, folder: Path, about: dict[str, Any]) -> str:
    """configs/inference.json, configs/metadata.json and models/model.pt, a dictionary of tensors that MONAI reads with
    weights_only. InputError where MONAI, which proves it, is missing."""
    if find_spec("monai") is None:
        raise InputError("--to monai_bundle needs monai", 'pip install "medtrain[monai]"')
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir()
    network = plain_network(opened)
    torch.save({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / WEIGHTS)
    write_json(folder / "configs" / "inference.json", _inference(network, about))
    write_json(folder / "configs" / "metadata.json", _metadata(opened, about))
    return WEIGHTS


def finish(folder: Path, described: dict[str, Any]) -> None:
    """docs/README.md and LICENSE, where a bundle has them, of the card that is there."""
    (folder / "docs" / "README.md").write_text((folder / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    licence = described["licence"]
    lines = [f"These weights: {licence['id'] or 'no licence is stated'}"]
    lines += [f"Training began from {licence['weights']['began_as']}: {licence['weights']['licence']}"]
    lines += [f"Trained on {one['name']}: {one['licence']}" for one in licence["data"]]
    (folder / "LICENSE").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _inference(network: nn.Module, about: dict[str, Any]) -> dict[str, Any]:
    final = about["output"]["function"]
    last = [] if final == "none" else [{"_target_": "Activations", final: True}]
    return {
        "imports": [
            "$import torch",
            "$import timm" if about["network"]["library"] == "timm" else "$import torchvision",
        ],
        "bundle_root": ".",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": _network(network, about["network"]),
        "inferer": {"_target_": "SimpleInferer"},
        "preprocessing": {"_target_": "Compose", "transforms": [TO_TENSOR, *_transforms(about)]},
        "postprocessing": {"_target_": "Compose", "transforms": [TO_TENSOR, *last]},
    }


def _network(network: nn.Module, about: dict[str, Any]) -> Any:
    """How MONAI builds it, from timm or torchvision alone."""
    if about["library"] == "timm":
        return {
            "_target_": "timm.create_model", "model_name": about["name"], "num_classes": about["outputs"],
            "in_chans": about["channels"],
        }  # fmt: skip
    built = f"torchvision.models.get_model({about['name']!r}, weights=None, num_classes={about['outputs']})"
    first: Any = network.get_submodule(about["first"])
    if first.in_channels == 3:
        return f"${built}"
    shape = f"{first.in_channels}, {first.out_channels}, {first.kernel_size}, {first.stride}, {first.padding}"
    layer = f"torch.nn.{type(first).__name__}({shape}, bias=False)"
    return f"$(lambda network: (network.set_submodule({about['first']!r}, {layer}), network)[1])({built})"


def _transforms(about: dict[str, Any]) -> list[dict[str, Any]]:
    """From pixels of 0 to 255 [channels, ...] to what the network takes."""
    how, channels = about["normalization"], about["network"]["channels"]
    repeated = channels // about["input"]["channels"]
    found: list[dict[str, Any]] = [{"_target_": "Lambda", "func": OWN_MEAN}] if how["per_image"] else []
    if repeated > 1:
        found.append({"_target_": "RepeatChannel", "repeats": repeated})
    if not how["per_image"]:
        mean, std = ([255 * number for number in how[name]] for name in ("mean", "std"))
        found.append({"_target_": "NormalizeIntensity", "subtrahend": mean, "divisor": std, "channel_wise": True})
    return found


def _metadata(opened: TrainedModel, about: dict[str, Any]) -> dict[str, Any]:
    """What `monai.bundle verify_metadata` wants."""
    channels, *sides = input_shape(opened.config)
    labels = about["output"]["labels"]
    common = {"dtype": "float32", "is_patch_data": False}
    library = about["network"]["library"]
    return {
        "schema": SCHEMA, "version": "0.1.0", "changelog": {"0.1.0": f"exported by medtrain {__version__}"},
        "monai_version": _version("monai"), "pytorch_version": _version("torch"), "numpy_version": _version("numpy"),
        "required_packages_version": {library: _version(library)}, "name": about["run"],
        "task": f"{about['task']} {'video' if opened.config.data.frames else 'image'} classification",
        "description": f"{about['network']['name']}, trained with medtrain; see docs/README.md",
        "authors": "to be written by the authors", "copyright": "to be written by the authors",
        "intended_use": "to be written by the authors; it is no medical device",
        "network_data_format": {
            "inputs": {"image": {
                **common, "type": "image", "format": "magnitude", "num_channels": channels, "spatial_shape": sides,
                "value_range": [], "channel_def": {str(number): "image" for number in range(channels)},
            }},
            "outputs": {"pred": {
                **common, "type": "probabilities", "format": "classification", "num_channels": len(labels),
                "spatial_shape": [1], "value_range": [0, 1] if about["output"]["function"] != "none" else [],
                "channel_def": {str(number): label for number, label in enumerate(labels)},
            }},
        },
    }  # fmt: skip


def _version(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return ""
