"""Clips are trained on in an arithmetic whose gradients are right: bfloat16 on a CPU is compared with float32 first."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medtrain.core.errors import MachineError
from medtrain.distributed.cpu_bf16 import has_right_gradients_of_clips
from medtrain.distributed.process_group import resolve_precision

KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16}
on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, and trains in its own bf16")


@on_cpu
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 8])
def test_the_precision_for_clips_has_right_gradients(depth: int) -> None:
    kind = KINDS[resolve_precision("auto", trains_on_clips=True)[0]]
    torch.manual_seed(1)
    layer = nn.Conv3d(64, 32, (3, 1, 1), padding=(1, 0, 0), bias=False)
    clips, upstream = torch.randn(2, 64, depth, 8, 8), torch.randn(2, 32, depth, 8, 8)
    layer(clips).backward(upstream)
    assert layer.weight.grad is not None
    exact = layer.weight.grad.clone()
    layer.to(kind).zero_grad()
    layer(clips.to(kind)).backward(upstream.to(kind))
    assert torch.allclose(layer.weight.grad.float(), exact, atol=0.02 * float(exact.abs().max()))


@on_cpu
def test_bf16_that_is_wrong_is_refused_for_clips_alone() -> None:
    assert resolve_precision("bf16") == ("bf16", "as configured")
    assert resolve_precision("fp32", trains_on_clips=True) == ("fp32", "as configured")
    if has_right_gradients_of_clips():
        assert resolve_precision("bf16", trains_on_clips=True) == ("bf16", "as configured")
    else:
        with pytest.raises(MachineError, match="wrong gradients of clips in bf16 on this CPU"):
            resolve_precision("bf16", trains_on_clips=True)
        assert resolve_precision("auto", trains_on_clips=True)[0] == "fp32"


def test_the_comparison_takes_no_random_numbers_of_the_training() -> None:
    before = torch.random.get_rng_state()
    has_right_gradients_of_clips()
    assert torch.equal(torch.random.get_rng_state(), before)
