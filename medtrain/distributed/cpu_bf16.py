"""Whether this CPU's bfloat16 has right gradients of clips: PyTorch 2.14.1's convolutions over time do not always."""

from __future__ import annotations

import torch
from torch import nn

DEPTHS = (1, 2, 3, 4, 5)  # frames that are left to a layer; kernels over time span 3 of them
TOLERANCE = 0.05  # of the largest gradient; rounding makes less than a tenth of that


def has_right_gradients_of_clips() -> bool:
    """Compare the weight gradient of a temporal convolution with that in float32, for each depth (some milliseconds).

    With a depth of 2 planes of the kernel got what was in memory: nothing was raised, and the loss stayed finite
    (findings/torch_bf16_conv3d_weight_gradient.sh). The random numbers are this function's own.
    """
    generator = torch.Generator().manual_seed(0)
    return all(_is_right(depth, generator) for depth in DEPTHS)


def _is_right(depth: int, generator: torch.Generator) -> bool:
    weight = torch.randn(16, 16, 3, 1, 1, generator=generator)
    clips, upstream = torch.randn(2, 2, 16, depth, 8, 8, generator=generator)
    exact, made = (_gradient(kind, weight, clips, upstream) for kind in (torch.float32, torch.bfloat16))
    return bool((made - exact).abs().max() < TOLERANCE * exact.abs().max())  # false of NaN


def _gradient(kind: torch.dtype, weight: torch.Tensor, clips: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
    leaf = weight.to(kind, copy=True).requires_grad_()
    with torch.enable_grad():
        made = nn.functional.conv3d(clips.to(kind), leaf, padding=(1, 0, 0))
    (gradient,) = torch.autograd.grad(made, leaf, upstream.to(kind))
    return gradient.float()
