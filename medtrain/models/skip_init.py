"""A network for the tensors of a checkpoint: its first weights, which nobody would ever see, are not drawn.

For ConvNeXt-Large they are most of what a network costs each rank of a resumed run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from medtrain import models
from medtrain.config.schema import ModelConfig

DRAWS = ("normal_", "uniform_", "kaiming_uniform_", "bernoulli_")  # of tensors, and of torch.nn.init
MAKES_OF_THEM = ("erfinv_", "mul_", "add_", "clamp_")  # a truncated normal distribution


def build_without_init(config: ModelConfig, outputs: int) -> nn.Module:
    """As `models.build` without weights, but with zeros for random ones. A network that has tensors of its own which no
    checkpoint holds (buffers that are not persistent) is built as ever: they may be drawn, or computed from draws."""
    bare, before = replace(config, weights=""), torch.get_rng_state()
    with _SkipInit():
        model = models.build(bare, outputs)
    saved = model.state_dict().keys()
    own = [name for name, _ in (*model.named_buffers(), *model.named_parameters()) if name not in saved]
    if not own:
        return model
    torch.set_rng_state(before)
    return models.build(bare, outputs)


class _SkipInit(TorchFunctionMode):
    """Parameters are zeros where they would be random; all other tensors are what they are."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name, options = getattr(func, "__name__", ""), kwargs or {}
        tensor = args[0] if args else options.get("tensor")
        if name not in (*DRAWS, *MAKES_OF_THEM) or not isinstance(tensor, nn.Parameter):
            return func(*args, **options)
        with torch.no_grad():
            return tensor.zero_() if name in DRAWS else tensor
