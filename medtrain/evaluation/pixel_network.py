"""The network with what stands before and behind it: pixels of 0 to 255 in, probabilities or a score out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from medtrain.config.schema import Config
from medtrain.evaluation.inputs import OF_COLOURS

FINAL = {"multiclass": "softmax", "multilabel": "sigmoid", "abnormality": "sigmoid", "score": "none"}


class PixelNetwork(nn.Module):
    """float32 [B, channels, H, W] of 0 to 255, of clips [B, channels, T, H, W], -> float32 [B, outputs]."""

    means: torch.Tensor
    deviations: torch.Tensor

    def __init__(self, network: nn.Module, config: Config) -> None:
        super().__init__()
        self.network = network
        self.normalize = config.data.normalize
        self.fixed = 255 * config.data.mean, 255 * config.data.std
        self.channels = config.model.channels
        self.final = FINAL[config.task]
        for name, numbers in zip(("means", "deviations"), _of_colours(config), strict=True):
            self.register_buffer(name, numbers, persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """As `evaluation.inputs.pixels`, the network, and the task's last function."""
        logits: torch.Tensor = self.network(self.normalised(pixels)).float()
        if self.final == "softmax":
            return logits.softmax(1)
        return logits.sigmoid() if self.final == "sigmoid" else logits

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 [B, model channels, ...]."""
        if self.normalize == "image":
            around = list(range(1, pixels.ndim))
            mean = pixels.mean(around, keepdim=True)
            deviation = (pixels - mean).square().mean(around, keepdim=True).sqrt()
            pixels = (pixels - mean) / deviation.clamp(min=1)
        elif self.normalize == "fixed":
            pixels = (pixels - self.fixed[0]) / self.fixed[1]
        if pixels.shape[1] < self.channels:
            pixels = pixels.expand(-1, self.channels, *[-1] * (pixels.ndim - 2))
        if self.normalize in OF_COLOURS:
            pixels = (pixels - self.means) / self.deviations
        return pixels


def _of_colours(config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and deviations on the scale of 0 to 255, as they stand against [B, 3, ...]; empty where there are none."""
    numbers: Any = OF_COLOURS.get(config.data.normalize, ((), ()))
    places = 3 if config.data.frames else 2
    mean, deviation = (255 * torch.tensor(each, dtype=torch.float32).reshape(1, -1, *[1] * places) for each in numbers)
    return mean, deviation
