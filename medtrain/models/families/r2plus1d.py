"""R(2+1)D (Tran et al., CVPR 2018) from torchvision, for clips of one or three channels."""

from __future__ import annotations

from pathlib import Path

import torchvision
from torch import nn
from torchvision.models.video import VideoResNet

from medtrain.config.backbones import OF_CLIPS
from medtrain.config.schema import ModelConfig
from medtrain.models.weights import download, file_of, kept_in_hub, load_local

LEARNED_FROM = "kinetics"


def names() -> list[str]:
    """All of them."""
    return list(OF_CLIPS)


def builds(backbone: str) -> bool:
    """Whether it is one of these."""
    return backbone in OF_CLIPS


def build(config: ModelConfig, outputs: int) -> VideoResNet:
    """float [B, channels, T, H, W] -> [B, outputs]. The paper has no dropout; here it is of what the head reads."""
    model = torchvision.models.get_model(config.backbone, weights=None, num_classes=outputs)
    if config.channels == 1:
        first = model.stem[0]
        model.stem[0] = nn.Conv3d(1, first.out_channels, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False)
        nn.init.kaiming_normal_(model.stem[0].weight, mode="fan_out", nonlinearity="relu")
    if config.dropout:
        model.avgpool = nn.Sequential(model.avgpool, nn.Dropout(config.dropout))  # no tensor gets another name
    return model  # type: ignore[no-any-return]


def load(config: ModelConfig, model: VideoResNet) -> None:
    """Take the weights; the first filter is summed over colours for one channel."""
    load_local(model, file_of(config, LEARNED_FROM, kept), first="stem.0.weight", head="fc.")


def map_layers(model: VideoResNet) -> list[nn.Module]:
    """After each pair of residual blocks: [B, K, t, h, w]."""
    return [model.layer1, model.layer2, model.layer3, model.layer4]


def stages(model: VideoResNet) -> list[nn.Module]:
    """The stem, four pairs of residual blocks, and the head."""
    return [model.stem, model.layer1, model.layer2, model.layer3, model.layer4, model.fc]


def blocks(model: VideoResNet) -> list[nn.Module]:
    """The residual blocks."""
    return [block for layer in (model.layer1, model.layer2, model.layer3, model.layer4) for block in layer]


def kept(backbone: str) -> Path | None:
    """The published weights in PyTorch's cache; None where they are not there."""
    return kept_in_hub(_url(backbone))


def licence(backbone: str) -> tuple[str, str]:
    """Of the published weights: torchvision's own, with what it says of them."""
    return "bsd-3-clause", "torchvision, which adds that the terms of their training data (Kinetics-400) may apply"


def fetch(backbone: str) -> Path:
    """The published weights, downloaded into that cache."""
    return download(_url(backbone))


def _url(backbone: str) -> str:
    return str(torchvision.models.get_model_weights(backbone)["KINETICS400_V1"].url)
