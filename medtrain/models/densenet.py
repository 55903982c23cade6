"""DenseNet (Huang et al., CVPR 2017) from torchvision, for one or three channels."""

from __future__ import annotations

from pathlib import Path

import torchvision
from torch import nn
from torchvision.models import DenseNet

from medtrain.config import ModelConfig
from medtrain.errors import MachineError
from medtrain.weights import load_local

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
        load_local(model, Path(config.weights), first="features.conv0.weight", head="classifier.")
    return model


def last_map(model: DenseNet) -> nn.Module:
    """After the last dense block."""
    features: nn.Module = model.features
    return features


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
