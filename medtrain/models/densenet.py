"""DenseNet (Huang et al., CVPR 2017) from torchvision, for one or three channels."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision.models import DenseNet

from medtrain.config import ModelConfig
from medtrain.errors import MachineError
from medtrain.weights import load_local

NAMES = ["densenet121", "densenet161", "densenet169", "densenet201"]


def names() -> list[str]:
    """All of them."""
    return NAMES


def builds(backbone: str) -> bool:
    """Whether it is one of these."""
    return backbone in NAMES


def build(config: ModelConfig, outputs: int) -> DenseNet:
    """A DenseNet with `outputs` logits; with weights, the first filter is summed over colours for one channel."""
    if config.weights == "imagenet":
        model = _published(config.backbone, config.dropout)
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


def fetch(backbone: str) -> Path:
    """The published weights in PyTorch's cache."""
    _published(backbone)
    weights = torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"]
    return Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)


def _published(backbone: str, dropout: float = 0.0) -> DenseNet:
    try:  # by get_model: the published files name their tensors as older versions did, and it knows how
        return torchvision.models.get_model(backbone, weights="IMAGENET1K_V1", drop_rate=dropout)
    except OSError as error:
        raise MachineError(
            f"the published weights of {backbone} could not be downloaded ({error})",
            f"fetch them once where there is a network: medtrain data weights {backbone}   or give"
            " --weights FILE.safetensors",
        ) from None


def _one_channel(conv: nn.Conv2d, summed: bool) -> nn.Conv2d:
    made = nn.Conv2d(1, conv.out_channels, 7, stride=2, padding=3, bias=False)
    if summed:
        made.weight.data = conv.weight.data.sum(1, keepdim=True)
    else:
        nn.init.kaiming_normal_(made.weight)
    return made
