"""reporting.explanations: heat maps of a network whose answer is known, and of a trained run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from svg_words import words_of
from torch import nn

from medtrain import models
from medtrain.config.schema import ModelConfig
from medtrain.core.errors import InputError
from medtrain.evaluation.gradcam import CELLS, hires_cam, resolving_layer
from medtrain.reporting import clip_figures, heat_figures
from medtrain.reporting.style import written_as


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
    bright, dark = hires_cam(net, net.conv, inputs, [0, 1])
    expected = np.zeros((8, 8), np.float32)
    expected[1:3, 5:7] = 1
    np.testing.assert_array_equal(bright, expected)
    assert np.argwhere(dark).tolist() == [[6, 0]]


class OnePlace(Known):
    """The second output is the map's sum, the first what lies in its cell at row 2 and column 3 alone."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        made = nn.functional.relu(self.conv(inputs))[:, 0]
        return torch.stack([made[:, 2, 3], made.sum((1, 2))], 1)


def test_a_place_that_the_layers_behind_do_not_look_at_is_cold() -> None:
    """Grad-CAM's mean of the gradients over all places would make both maps the same."""
    net, inputs = OnePlace(), torch.ones(1, 1, 8, 8)
    one, whole = hires_cam(net, net.conv, inputs, [0, 1])
    assert np.argwhere(one).tolist() == [[2, 3]] and (whole == 1).all()


def test_every_family_has_a_map_that_knows_places() -> None:
    for backbone in ("densenet121", "convnext_atto"):
        config = ModelConfig(backbone=backbone, channels=1)
        torch.manual_seed(0)
        model = models.build(config, 3)
        maps = hires_cam(model, models.map_layers(config, model)[-1], torch.randn(1, 1, 96, 128), [0, 2])
        assert maps.shape == (2, 3, 4)
        assert 0 <= maps.min() <= maps.max() <= 1


def test_a_network_whose_maps_have_the_channels_last() -> None:
    config = ModelConfig(backbone="swin_tiny_patch4_window7_224", channels=1)
    torch.manual_seed(0)
    model = models.build(config, 3)
    assert hires_cam(model, models.map_layers(config, model)[-1], torch.randn(1, 1, 224, 224), [0, 2]).shape == (
        2,
        7,
        7,
    )


@pytest.mark.parametrize("backbone", ["volo_d1_224", "hrnet_w18_small", "twins_pcpvt_small", "coat_tiny"])
def test_networks_that_keep_their_maps_otherwise_are_read_rightly_or_refused(backbone: str) -> None:
    config = ModelConfig(backbone=backbone, channels=1)
    torch.manual_seed(0)
    model = models.build(config, 2)
    try:
        maps = hires_cam(model, models.map_layers(config, model)[-1], torch.randn(1, 1, 224, 224), [0])
    except InputError as error:
        assert "explain a convolutional" in error.fix
    else:
        assert maps.shape[1] == maps.shape[2], "places, not channels"


@pytest.mark.parametrize(
    ("backbone", "side", "name", "grid"),
    [
        ("densenet121", 224, "features", (7, 7)),
        ("densenet121", 96, "features.denseblock3", (6, 6)),
        ("convnext_atto", 224, "stages.3", (7, 7)),
        ("convnext_atto", 64, "stages.1", (8, 8)),
        ("resnet18", 112, "layer3", (7, 7)),
        ("resnet18", 32, "layer2", (4, 4)),  # finer ones know edges alone
        ("vit_tiny_patch16_224", 224, "blocks.11.norm1", (14, 14)),
        ("swin_tiny_patch4_window7_224", 224, "layers.3", (7, 7)),
    ],
)
def test_the_layer_resolves(backbone: str, side: int, name: str, grid: tuple[int, int]) -> None:
    """The last layer's map would be one single cell of an image of 32 pixels."""
    config = ModelConfig(backbone=backbone, channels=1)
    torch.manual_seed(0)
    model = models.build(config, 3)
    inputs = torch.randn(1, 1, side, side)
    layer = resolving_layer(model, models.map_layers(config, model), inputs)
    assert (layer.name, layer.grid) == (name, grid)
    assert min(grid) >= CELLS or side < 8 * CELLS
    assert layer.words == f"{name}, {grid[0]} x {grid[1]} cells"
    maps = hires_cam(model, layer.module, inputs, [0, 2])
    assert maps.shape == (2, *grid) and maps.max() == 1


def test_the_layer_of_clips_resolves() -> None:
    config = ModelConfig(backbone="r2plus1d_18", channels=1)
    torch.manual_seed(0)
    model = models.build(config, 1)
    clip = torch.randn(1, 1, 8, 48, 48)
    layer = resolving_layer(model, models.map_layers(config, model), clip)
    assert (layer.name, layer.grid, layer.words) == ("layer3", (2, 6, 6), "layer3, 2 x 6 x 6 cells")
    assert hires_cam(model, layer.module, clip, [0]).shape == (1, 2, 6, 6)


def test_the_class_token_of_a_vit_is_no_place() -> None:
    """What a patch holds moves the map there, and the class token before the patches does not shift it."""
    config = ModelConfig(backbone="vit_tiny_patch16_224", channels=1)
    torch.manual_seed(0)
    model = models.build(config, 1)
    model.norm, model.head = nn.Identity(), nn.Identity()
    model.forward_head = lambda x, pre_logits=False: x[:, 0, :1] * 0 + x[:, 1 + 14 * 3 + 9].relu().sum()[None, None]
    model.blocks[-1] = Through()
    (heat,) = hires_cam(model, model.blocks[-1].norm1, torch.randn(1, 1, 224, 224), [0])
    assert np.unravel_index(heat.argmax(), heat.shape) == (3, 9)


class Through(nn.Module):
    """A last block that hands on its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = Spot()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.norm1(tokens)


class Spot(nn.Module):
    """Keeps the tokens of one patch."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        kept = torch.zeros_like(tokens)
        kept[:, 1 + 14 * 3 + 9] = tokens[:, 1 + 14 * 3 + 9].abs()
        return kept


def test_cold_places_show_the_image_and_hot_ones_a_colour() -> None:
    heat = np.zeros((40, 40), np.float32)
    heat[:20, :20] = np.linspace(0.1, 1, 20, dtype=np.float32)
    image = np.tile(np.arange(0, 240, 6, dtype=np.uint8), (40, 1))
    under = heat_figures.heated(image, heat)
    np.testing.assert_array_equal(under[20:], np.repeat(image[20:, :, None], 3, 2), "clear where it is cold")
    spread = np.ptp(under[:20, :20].astype(int), axis=2)
    assert spread[:, -1].min() > 40, "a colour where it is hot"
    shares = heat_figures.heat_colours()(np.linspace(0, 1, 11))[:, 3]
    assert shares[0] == 0 and (np.diff(shares) > 0).all() and shares[-1] < 0.7, "the hotter the denser, never hidden"


def test_a_clip_moves_under_its_heat(tmp_path: Path) -> None:
    frames = np.full((3, 16, 16, 1), 90, np.uint8)
    heat = np.zeros((3, 16, 16), np.float32)
    for moment in range(3):
        heat[moment, :, 5 * moment : 5 * moment + 5] = 1
    clip_figures.animation(frames, heat, 40, tmp_path / "why.gif")
    with Image.open(tmp_path / "why.gif") as moving:
        hot = []
        for moment in range(moving.n_frames):
            moving.seek(moment)
            hot.append(np.argwhere(np.ptp(np.asarray(moving.convert("RGB"), int), axis=2) > 40)[:, 1].mean() / 336)
    assert hot == pytest.approx([2.5 / 16, 7.5 / 16, 12.5 / 16], abs=0.03), "it goes from left to right"


def test_the_figure_says_what_it_shows(tmp_path: Path) -> None:
    heat = np.zeros((8, 8), np.float32)
    heat[:4, :4] = 1
    image = np.full((64, 64), 128, np.uint8)
    maps = {"Mass: probability 0.912": heat, "Effusion: probability 0.100": np.zeros((8, 8), np.float32)}
    with written_as(("svg", "png")):
        heat_figures.explanation(
            image, maps, tmp_path / "why.png", "a.png, run first", "HiResCAM of layer3, 6 x 6 cells"
        )
    words = words_of(tmp_path / "why.svg")
    assert {"a.png, run first", "Mass: probability 0.912", heat_figures.UNIT, "HiResCAM of layer3, 6 x 6 cells"} <= {
        *words
    }
    assert "(no heat: nothing speaks for it)" in words, "of the label without heat"
    assert {"0 (clear)", "0.5", "1"} <= {*words}, "the colour bar's ends"
    pixels = np.asarray(Image.open(tmp_path / "why.png").convert("RGB"), int)
    coloured = np.ptp(pixels, axis=2) > 40
    panels, bar = coloured[:, : int(0.85 * pixels.shape[1])], coloured[:, int(0.85 * pixels.shape[1]) :]
    third = panels.shape[1] // 3
    assert not panels[:, : third - 10].any(), "the image itself has no colour"
    assert panels[:, third:-third].sum() > 5000 and not panels[:, -third + 60 :].any()
    assert bar.sum() > 500, "the colour bar"


def test_a_network_without_maps() -> None:
    config = ModelConfig(backbone="mixer_s32_224", channels=1)
    model = models.build(config, 2)
    with pytest.raises(InputError, match="keeps no maps"):
        hires_cam(model, models.map_layers(config, model)[-1], torch.randn(1, 1, 224, 224), [0])
