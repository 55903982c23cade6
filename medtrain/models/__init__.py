"""Networks, one file a family; a family is found by the backbone's name."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from torch import nn

from medtrain.config import ModelConfig
from medtrain.errors import InputError, nearest


def build(config: ModelConfig, outputs: int) -> nn.Module:
    """The network for `config` with `outputs` logits: float [B, channels, H, W] -> float [B, outputs].

    Every file beside this one is a family: it holds NAMES (backbones it builds) and `build(config, outputs)`.
    """
    known: list[str] = []
    for family in pkgutil.iter_modules([str(Path(__file__).parent)]):
        module = importlib.import_module(f"medtrain.models.{family.name}")
        if config.backbone in module.NAMES:
            return module.build(config, outputs)  # type: ignore[no-any-return]
        known += module.NAMES
    raise InputError(
        f"there is no backbone {config.backbone!r}{nearest(config.backbone, known)}", "choose " + ", ".join(known)
    )
