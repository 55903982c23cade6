"""DenseNet (Huang et al., CVPR 2017) from torchvision, for one or three channels."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision.models import DenseNet

from medtrain.config import ModelConfig
from medtrain.errors import InputError, MachineError

NAMES = ["densenet121", "densenet161", "densenet169", "densenet201"]


def build(config: ModelConfig, outputs: int) -> DenseNet:
    """A DenseNet with `outputs` logits; with weights, the first filter is summed over colours for one channel."""
    if config.weights == "imagenet":
        model = _published(config)
    else:
        model = torchvision.models.get_model(config.backbone, weights=None, drop_rate=config.dropout)
    if config.channels == 1:
        model.features.conv0 = _one_channel(model.features.conv0, summed=config.weights == "imagenet")
    model.classifier = nn.Linear(model.classifier.in_features, outputs)
    if config.weights not in ("", "imagenet"):
        _load_local(model, Path(config.weights))
    return model


def _published(config: ModelConfig) -> DenseNet:
    try:
        return torchvision.models.get_model(config.backbone, weights="IMAGENET1K_V1", drop_rate=config.dropout)
    except OSError as error:
        raise MachineError(
            f"the published weights of {config.backbone} could not be downloaded ({error})",
            "run once where there is a network (they are kept in ~/.cache/torch), or give --weights FILE.safetensors",
        ) from None


def _one_channel(conv: nn.Conv2d, summed: bool) -> nn.Conv2d:
    made = nn.Conv2d(1, conv.out_channels, 7, stride=2, padding=3, bias=False)
    if summed:
        made.weight.data = conv.weight.data.sum(1, keepdim=True)
    else:
        nn.init.kaiming_normal_(made.weight)
    return made


def _load_local(model: nn.Module, path: Path) -> None:
    """Take every tensor that fits; a head for other classes is left out, anything else missing is an error."""
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path}: weights cannot be read: {error}", "give a .safetensors file of this backbone"
        ) from None
    own = model.state_dict()
    first = "features.conv0.weight"
    if first in tensors and own[first].shape[1] == 1 and tensors[first].shape[1] == 3:
        tensors[first] = tensors[first].sum(1, keepdim=True)
    fitting = {name: value for name, value in tensors.items() if name in own and own[name].shape == value.shape}
    left = [name for name in own if name not in fitting and not name.startswith("classifier.")]
    if left:
        raise InputError(
            f"{path}: {len(left)} tensors are missing or of another shape (first: {left[0]})",
            "give weights of the same backbone",
        )
    with torch.no_grad():
        model.load_state_dict(fitting, strict=False)
