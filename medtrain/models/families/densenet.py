"""DenseNet (Huang et al., CVPR 2017) from torchvision, for one or three channels."""

from __future__ import annotations

from pathlib import Path

import torchvision
from torch import nn
from torchvision.models import DenseNet

from medtrain.config.backbones import DENSENETS
from medtrain.config.schema import ModelConfig
from medtrain.models.weights import download, file_of, kept_in_hub, load_local

LEARNED_FROM = "imagenet"


def names() -> list[str]:
    """All of them."""
    return list(DENSENETS)


def builds(backbone: str) -> bool:
    """Whether it is one of these."""
    return backbone in DENSENETS


def build(config: ModelConfig, outputs: int) -> DenseNet:
    """A DenseNet with `outputs` logits."""
    model = torchvision.models.get_model(config.backbone, weights=None, drop_rate=config.dropout, num_classes=outputs)
    if config.channels == 1:
        first = model.features.conv0
        model.features.conv0 = nn.Conv2d(1, first.out_channels, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.features.conv0.weight)
    return model  # type: ignore[no-any-return]


def load(config: ModelConfig, model: DenseNet) -> None:
    """Take the weights; the first filter is summed over colours for one channel."""
    load_local(model, file_of(config, LEARNED_FROM, kept), first="features.conv0.weight", head="classifier.")


def map_layers(model: DenseNet) -> list[nn.Module]:
    """After each dense block; after the last its norm, too."""
    parts = dict(model.features.named_children())
    return [*(parts[f"denseblock{i}"] for i in range(1, 4)), model.features]


def stages(model: DenseNet) -> list[nn.Module]:
    """The first convolution, each dense block with the transition behind it, the last norm, and the head."""
    parts = dict(model.features.named_children())
    dense = [
        nn.ModuleList([parts[name] for name in (f"denseblock{i}", f"transition{i}") if name in parts])
        for i in range(1, 5)
    ]
    return [nn.ModuleList([parts["conv0"], parts["norm0"]]), *dense, parts["norm5"], model.classifier]


def blocks(model: DenseNet) -> list[nn.Module]:
    """The dense blocks; what lies between them is a small part."""
    return [block for name, block in model.features.named_children() if name.startswith("denseblock")]


def kept(backbone: str) -> Path | None:
    """The published weights in PyTorch's cache; None where they are not there."""
    return kept_in_hub(_url(backbone))


def licence(backbone: str) -> tuple[str, str]:
    """Of the published weights: torchvision's own, with what it says of them."""
    return "bsd-3-clause", "torchvision, which adds that the terms of their training data (ImageNet) may apply"


def fetch(backbone: str) -> Path:
    """The published weights, downloaded into that cache."""
    return download(_url(backbone))


def _url(backbone: str) -> str:
    return str(torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"].url)
