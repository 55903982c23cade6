"""ConvNeXt (Liu et al., CVPR 2022) from timm, for one or three channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from medtrain.config import ModelConfig
from medtrain.errors import MachineError
from medtrain.weights import load_local

NAMES = [f"convnext_{size}" for size in ("atto", "femto", "pico", "nano", "tiny", "small", "base", "large", "xlarge")]


def build(config: ModelConfig, outputs: int) -> nn.Module:
    """A ConvNeXt with `outputs` logits; with weights, the first filter is summed over colours for one channel."""
    from timm import create_model  # a second, which a run of another family does not pay

    shape: dict[str, Any] = {"in_chans": config.channels, "num_classes": outputs, "drop_rate": config.dropout}
    try:
        model: nn.Module = create_model(config.backbone, pretrained=config.weights == "imagenet", **shape)
    except OSError as error:
        raise MachineError(
            f"the published weights of {config.backbone} could not be downloaded ({error})",
            "run once where there is a network (they are kept in ~/.cache/huggingface), or give"
            " --weights FILE.safetensors",
        ) from None
    if config.weights not in ("", "imagenet"):
        load_local(model, Path(config.weights), first="stem.0.weight", head="head.fc.")
    return model


def last_map(model: Any) -> nn.Module:
    """After the last stage."""
    return model.stages  # type: ignore[no-any-return]
