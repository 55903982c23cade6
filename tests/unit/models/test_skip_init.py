"""A network that waits for a checkpoint's tensors is the one that was saved, once they are in place."""

from __future__ import annotations

import pytest
import torch
import xxhash
from torch import nn

from medtrain import models
from medtrain.config.schema import ModelConfig
from medtrain.models.skip_init import build_without_init


def digest(model: nn.Module) -> str:
    """Of every tensor, those that no checkpoint holds too, and of how they lie in memory."""
    found = xxhash.xxh3_128()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        found.update(f"{name} {tensor.shape} {tensor.dtype} {tensor.stride()} {tensor.requires_grad}".encode())
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize(
    "backbone",
    ["densenet121", "convnext_atto", "test_resnet", "r2plus1d_18", "test_vit", "swin_tiny_patch4_window7_224"],
)
def test_with_the_tensors_of_a_checkpoint_it_is_the_same(backbone: str) -> None:
    config = ModelConfig(backbone, channels=3)  # type: ignore[arg-type]
    torch.manual_seed(1)
    drawn = models.build(config, 5)
    torch.manual_seed(2)
    undrawn = build_without_init(config, 5)
    assert digest(undrawn) != digest(drawn)
    undrawn.load_state_dict(drawn.state_dict())
    assert digest(undrawn) == digest(drawn)
    assert [type(layer) for layer in undrawn.modules()] == [type(layer) for layer in drawn.modules()]


def test_nothing_is_drawn() -> None:
    before = torch.default_generator.get_state()
    weights = dict(build_without_init(ModelConfig("convnext_atto"), 5).named_parameters())  # type: ignore[arg-type]
    assert torch.equal(before, torch.default_generator.get_state())
    assert not any(own.any() for own in weights.values() if own.dim() > 1)
    assert weights["head.norm.weight"].eq(1).all()


class Fourier(nn.Module):
    """A network with random frequencies, which no checkpoint holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(8), persistent=False)
        self.fc = nn.Linear(8, 2)


def test_a_network_with_tensors_that_no_checkpoint_holds_is_drawn_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come from the seed, as in the attempt before, after the same draws."""
    monkeypatch.setattr(models, "build", lambda config, outputs: nn.Sequential(nn.Linear(3, 3), Fourier()))
    torch.manual_seed(1)
    before = digest(models.build(ModelConfig("any"), 2))  # type: ignore[arg-type]
    torch.manual_seed(1)
    assert digest(build_without_init(ModelConfig("any"), 2)) == before  # type: ignore[arg-type]
