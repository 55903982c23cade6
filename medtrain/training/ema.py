"""The exponential moving average (EMA) of the weights: smoother than the weights themselves, and often better."""

from __future__ import annotations

import torch
from torch import nn


class EMA:
    """timm's ModelEmaV3 with its warm-up: after step t the average moves by max(1 - decay, t ** (-2/3)) of the way
    to the weights. BatchNorm statistics are averaged too; counters are copied."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        from timm.utils.model_ema import ModelEmaV3  # importing it costs a second, which a run without it does not pay

        self._rule = ModelEmaV3(model, decay=decay, use_warmup=True)

    @property
    def model(self) -> nn.Module:
        """A model like the trained one that holds the average."""
        return self._rule.module  # type: ignore[no-any-return]

    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the weights after optimizer step `step` (the first is 1)."""
        self._rule.update(model, step)

    def tensors(self) -> dict[str, torch.Tensor]:
        """For a checkpoint."""
        return dict(self.model.state_dict())
