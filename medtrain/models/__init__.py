"""Networks, one file a family; a family is found by the backbone's name."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from torch import nn

from medtrain.config import ModelConfig
from medtrain.errors import InputError, nearest


def build(config: ModelConfig, outputs: int) -> nn.Module:
    """The network for `config` with `outputs` logits: float [B, channels, H, W] -> float [B, outputs].

    Every file beside this one is a family: it holds NAMES (backbones it builds), `build(config, outputs)`, and
    `last_map(model)`, the layer whose output [B, K, h, w] is the last that still knows places.
    """
    return _family(config.backbone).build(config, outputs)  # type: ignore[no-any-return]


def last_map(config: ModelConfig, model: nn.Module) -> nn.Module:
    """The layer of `model` that an explanation looks at."""
    return _family(config.backbone).last_map(model)  # type: ignore[no-any-return]


def _family(backbone: str) -> ModuleType:
    known: list[str] = []
    for family in pkgutil.iter_modules([str(Path(__file__).parent)]):
        module = importlib.import_module(f"medtrain.models.{family.name}")
        if backbone in module.NAMES:
            return module
        known += module.NAMES
    raise InputError(f"there is no backbone {backbone!r}{nearest(backbone, known)}", "choose " + ", ".join(known))
