"""How the weights are written, by the kind of export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from medtrain.config.backbones import DENSENETS
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.evaluation.inference import TrainedModel
from medtrain.evaluation.inputs import CHANNELS, OF_COLOURS
from medtrain.exporting.pixel_network import PixelNetwork, example, plain_network

FIRST = {"densenet": "features.conv0", "r2plus1d": "stem.0"}  # the layer that sees the channels


def network_of(opened: TrainedModel) -> dict[str, Any]:
    """Library, name, and what a consumer must know to build the network: `channels`, `outputs`, `first`."""
    config = opened.config.model
    known = {"name": config.backbone, "channels": config.channels, "outputs": opened.task.outputs}
    if config.backbone in DENSENETS or config.backbone.startswith("r2plus1d"):
        first = next(layer for start, layer in FIRST.items() if config.backbone.startswith(start))
        return {"library": "torchvision", **known, "first": first}
    return {"library": "timm", **known}


def write_safetensors(opened: TrainedModel, folder: Path) -> str:
    """model.safetensors: the tensors of the network by the names of its library."""
    tensors = {name: tensor.contiguous() for name, tensor in plain_network(opened).state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return "model.safetensors"


def write_torch_export(opened: TrainedModel, folder: Path) -> str:
    """model.pt2: pixels of 0 to 255 in, probabilities out, for any number of samples."""
    config = opened.config
    network = PixelNetwork(plain_network(opened), config).eval()
    given = example(config, CHANNELS[config.data.color_mode] if config.data.frames else 1)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(network, (given,), dynamic_shapes={"pixels": {0: batch}})
    torch.export.save(program, folder / "model.pt2")
    return "model.pt2"


def write_timm(opened: TrainedModel, folder: Path) -> str:
    """model.safetensors and config.json, as timm's own local-dir: and hubs have them."""
    if network_of(opened)["library"] != "timm":
        raise InputError(
            f"{opened.config.model.backbone} is no network of timm", "give --to safetensors, or --to torch_export"
        )
    from timm.models import save_for_hf

    normalization = normalization_of(opened.config)
    if normalization["per_image"]:
        raise InputError(
            "the run normalizes each image by itself, for which timm's config has no words",
            "give --to safetensors, or --to torch_export",
        )
    side = opened.config.data.image_size
    channels = opened.config.model.channels
    told = {
        "label_names": list(opened.task.output_names), "mean": normalization["mean"], "std": normalization["std"],
        "input_size": [channels, side, side], "crop_pct": 1.0, "interpolation": "bilinear",
    }  # fmt: skip
    save_for_hf(plain_network(opened), str(folder), model_config={"pretrained_cfg": told}, safe_serialization=True)
    return "model.safetensors"


def normalization_of(config: Config) -> dict[str, Any]:
    """`per_image`, or `mean` and `std` of each channel on the scale of 0 to 1."""
    data, channels = config.data, config.model.channels
    if data.normalize == "image":
        return {"per_image": True}
    mean, std = OF_COLOURS.get(data.normalize, ((data.mean,) * channels, (data.std,) * channels))
    return {"per_image": False, "mean": list(mean), "std": list(std)}


WRITERS: dict[str, Callable[[TrainedModel, Path], str]] = {
    "safetensors": write_safetensors,
    "timm": write_timm,
    "torch_export": write_torch_export,
}
