"""Whether numbers are finite: a step's gradients, and what a checkpoint is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from medtrain.core.errors import NumericalError

SKIPS_IN_A_ROW = 30  # as many halvings take torch's first loss scale, 65,536, below the smallest
SMALLEST_SCALE = 1e-4  # fairseq's --min-loss-scale


class NotFinite(Exception):
    """Tensors that no run can resume from; the message names the first."""


def any_not_finite(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """Scalar, 1.0 where any value of any tensor is NaN or infinite; on their device, and nothing waits for it."""
    own = [tensor.detach() for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    if not own:
        return torch.zeros(())
    if own[0].is_cuda:  # few kernels for all of them
        largest = list(torch._foreach_norm(own, torch.inf))
    else:  # measured: a fifth of the time of that norm; NaN comes through both
        largest = [torch.stack(tensor.aminmax()).abs().amax() for tensor in own]
    return 1 - torch.stack([each.float() for each in largest]).isfinite().all().float()


def broken_gradients(parameters: Iterable[torch.Tensor], device: torch.device) -> torch.Tensor:
    """The same of the gradients that there are."""
    return any_not_finite(p.grad for p in parameters if p.grad is not None).to(device)


def finite(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity; its least and its largest value show both."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(math.isfinite(value) for value in map(float, tensor.aminmax()))


def not_finite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of the tensors that hold NaN or infinity."""
    return [name for name, tensor in tensors.items() if not finite(tensor)]


class Gradients:
    """Judges step after step whether its gradients were finite. Under fp16 a step whose loss scale is too large is
    skipped and tried with half of it (Micikevicius et al., ICLR 2018): there many in a row, or a scale that has become
    tiny, say that no scale would do."""

    def __init__(self, scaler: Any) -> None:
        self._scaler = scaler
        self._skipped = 0  # steps in a row up to the last one

    @property
    def scaled(self) -> bool:
        """Whether the loss is scaled, so that a step may be skipped."""
        return self._scaler is not None

    def check_step(self, step: int, epoch: int, broken: bool, fix: str) -> None:
        """Take the flag of a step in; raises NumericalError, which names the first bad one."""
        if not broken:
            self._skipped = 0
            return
        if not self.scaled:
            raise NumericalError(f"the gradients of step {step} (epoch {epoch}) are not finite; its loss was", fix)
        self._skipped += 1
        scale = float(self._scaler.get_scale())
        if self._skipped < SKIPS_IN_A_ROW and scale >= SMALLEST_SCALE:
            return
        raise NumericalError(
            f"the gradients are not finite from step {step - self._skipped + 1} on (epoch {epoch}): {self._skipped}"
            f" steps in a row were skipped, and the loss scale of fp16 is {scale:.2g}",
            fix,
        )
