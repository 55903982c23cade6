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
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.evaluation.inference import TrainedModel
from medtrain.evaluation.inputs import OF_COLOURS
from medtrain.exporting.monai_bundle import write_monai_bundle
from medtrain.exporting.onnx_file import write_onnx
from medtrain.exporting.traced_program import plain_network, traced

# What timm would say of these weights, and is true of the first that it has for such a network.
OF_THE_FIRST = ("tag", "license", "origin_url", "paper_ids", "notes", "test_input_size", "test_crop_pct")
FIRST = {"densenet": "features.conv0", "r2plus1d": "stem.0"}  # the layer that sees the channels


def network_of(opened: TrainedModel) -> dict[str, Any]:
    """Library, name, and what a consumer must know to build the network: `channels`, `outputs`, `first`."""
    config = opened.config.model
    known = {"name": config.backbone, "channels": config.channels, "outputs": opened.task.outputs}
    if config.backbone in DENSENETS or config.backbone.startswith("r2plus1d"):
        first = next(layer for start, layer in FIRST.items() if config.backbone.startswith(start))
        return {"library": "torchvision", **known, "first": first}
    return {"library": "timm", **known}


def write_safetensors(opened: TrainedModel, folder: Path, about: dict[str, Any]) -> str:
    """model.safetensors: the tensors of the network by the names of its library."""
    tensors = {name: tensor.contiguous() for name, tensor in plain_network(opened).state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return "model.safetensors"


def write_torch_export(opened: TrainedModel, folder: Path, about: dict[str, Any]) -> str:
    """model.pt2: pixels of 0 to 255 in, probabilities out, for any number of samples."""
    torch.export.save(traced(opened), folder / "model.pt2")
    return "model.pt2"


def write_timm(opened: TrainedModel, folder: Path, about: dict[str, Any]) -> str:
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
        "mean": normalization["mean"], "std": normalization["std"], "input_size": [channels, side, side],
        "crop_pct": 1.0, "interpolation": "bilinear",
    }  # fmt: skip
    config = {"pretrained_cfg": told, "label_names": list(opened.task.output_names)}
    save_for_hf(plain_network(opened), str(folder), model_config=config, safe_serialization=True)
    path = folder / "config.json"
    written = read_json(path)
    for name in OF_THE_FIRST:
        written["pretrained_cfg"].pop(name, None)
    if licence := about["licence"]["id"]:
        written["pretrained_cfg"]["license"] = licence
    write_json(path, written)
    return "model.safetensors"


def write_hf(opened: TrainedModel, folder: Path, about: dict[str, Any]) -> str:
    """model.safetensors and config.json, by which the Hub counts: of timm's networks as timm writes them, so that
    timm.create_model("hf-hub:...") loads them; of others with what a consumer must know to build the network."""
    if network_of(opened)["library"] == "timm" and not normalization_of(opened.config)["per_image"]:
        return write_timm(opened, folder, about)
    write_json(folder / "config.json", {"architecture": opened.config.model.backbone, **network_of(opened)})
    return write_safetensors(opened, folder, about)


def normalization_of(config: Config) -> dict[str, Any]:
    """`per_image`, or `mean` and `std` of each channel on the scale of 0 to 1."""
    data, channels = config.data, config.model.channels
    if data.normalize == "image":
        return {"per_image": True}
    mean, std = OF_COLOURS.get(data.normalize, ((data.mean,) * channels, (data.std,) * channels))
    return {"per_image": False, "mean": list(mean), "std": list(std)}


Writer = Callable[[TrainedModel, Path, dict[str, Any]], str]  # `about` is what medtrain.json says; -> the main file
WRITERS: dict[str, Writer] = {
    "hf": write_hf,
    "monai_bundle": write_monai_bundle,
    "onnx": write_onnx,
    "safetensors": write_safetensors,
    "timm": write_timm,
    "torch_export": write_torch_export,
}
