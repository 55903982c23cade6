"""reporting.explanations: heat maps of a network whose answer is known, and of a trained run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medtrain import models
from medtrain.config.schema import ModelConfig
from medtrain.core.errors import InputError
from medtrain.evaluation.gradcam import grad_cam


class Known(nn.Module):
    """Two channels, the input and its negative; output 0 adds up the first, output 1 the second."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.conv.weight.data = torch.tensor([1.0, -1.0])[:, None, None, None]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu_(self.conv(inputs)).mean((2, 3))


def test_the_map_is_where_the_output_comes_from() -> None:
    inputs = torch.zeros(1, 1, 8, 8)
    inputs[0, 0, 1:3, 5:7] = 2.0
    inputs[0, 0, 6, 0] = -3.0
    net = Known()
    bright, dark = grad_cam(net, net.conv, inputs, [0, 1])
    expected = np.zeros((8, 8), np.float32)
    expected[1:3, 5:7] = 1
    np.testing.assert_array_equal(bright, expected)
    assert np.argwhere(dark).tolist() == [[6, 0]]


def test_every_family_has_a_map_that_knows_places() -> None:
    for backbone in ("densenet121", "convnext_atto"):
        config = ModelConfig(backbone=backbone, channels=1)
        torch.manual_seed(0)
        model = models.build(config, 3)
        maps = grad_cam(model, models.last_map(config, model), torch.randn(1, 1, 96, 128), [0, 2])
        assert maps.shape == (2, 3, 4)
        assert 0 <= maps.min() <= maps.max() <= 1


def test_a_network_whose_maps_have_the_channels_last() -> None:
    config = ModelConfig(backbone="swin_tiny_patch4_window7_224", channels=1)
    torch.manual_seed(0)
    model = models.build(config, 3)
    assert grad_cam(model, models.last_map(config, model), torch.randn(1, 1, 224, 224), [0, 2]).shape == (2, 7, 7)


@pytest.mark.parametrize("backbone", ["volo_d1_224", "hrnet_w18_small", "twins_pcpvt_small", "coat_tiny"])
def test_networks_that_keep_their_maps_otherwise_are_read_rightly_or_refused(backbone: str) -> None:
    config = ModelConfig(backbone=backbone, channels=1)
    torch.manual_seed(0)
    model = models.build(config, 2)
    try:
        maps = grad_cam(model, models.last_map(config, model), torch.randn(1, 1, 224, 224), [0])
    except InputError as error:
        assert "explain a convolutional" in error.fix
    else:
        assert maps.shape[1] == maps.shape[2], "places, not channels"


def test_a_network_without_maps() -> None:
    config = ModelConfig(backbone="vit_tiny_patch16_224", channels=1)
    model = models.build(config, 2)
    with pytest.raises(InputError, match="keeps no maps"):
        grad_cam(model, models.last_map(config, model), torch.randn(1, 1, 224, 224), [0])
