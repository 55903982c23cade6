"""DenseNet (Huang et al., CVPR 2017) from torchvision, for one or three channels."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision.models import DenseNet

from medtrain.config import ModelConfig
from medtrain.weights import file_of, load_local

NAMES = ["densenet121", "densenet161", "densenet169", "densenet201"]


def names() -> list[str]:
    """All of them."""
    return NAMES


def builds(backbone: str) -> bool:
    """Whether it is one of these."""
    return backbone in NAMES


def build(config: ModelConfig, outputs: int) -> DenseNet:
    """A DenseNet with `outputs` logits; with weights, the first filter is summed over colours for one channel."""
    model = torchvision.models.get_model(config.backbone, weights=None, drop_rate=config.dropout, num_classes=outputs)
    if config.channels == 1:
        first = model.features.conv0
        model.features.conv0 = nn.Conv2d(1, first.out_channels, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.features.conv0.weight)
    if config.weights:
        path = file_of(config, kept(config.backbone) if config.weights == "imagenet" else None)
        load_local(model, path, first="features.conv0.weight", head="classifier.")
    return model  # type: ignore[no-any-return]


def last_map(model: DenseNet) -> nn.Module:
    """After the last dense block."""
    features: nn.Module = model.features
    return features


def blocks(model: DenseNet) -> list[nn.Module]:
    """The dense blocks; what lies between them is a small part."""
    return [block for name, block in model.features.named_children() if name.startswith("denseblock")]


def kept(backbone: str) -> Path | None:
    """The published weights in PyTorch's cache; None where they are not there."""
    file = _cached(backbone)
    return file if file.exists() else None


def fetch(backbone: str) -> Path:
    """The published weights, downloaded into that cache; the name of the file holds the beginning of its hash."""
    file = _cached(backbone)
    file.parent.mkdir(parents=True, exist_ok=True)
    digits = file.stem.rpartition("-")[2]
    torch.hub.download_url_to_file(_url(backbone), str(file), hash_prefix=digits, progress=sys.stderr.isatty())
    return file


def _cached(backbone: str) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", Path(_url(backbone)).name)


def _url(backbone: str) -> str:
    return str(torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"].url)
