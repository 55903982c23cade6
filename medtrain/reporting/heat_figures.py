"""Figures of heat maps over images: cold places stay clear, and a colour bar says what hot means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medtrain.reporting.style import INK, ensure_any, heading, new_figure, save

if TYPE_CHECKING:  # matplotlib takes 0.3 s to import: only a function that draws pays for it
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

PAPER = "HiResCAM (Draelos and Carin, 2020)"
DENSEST = 0.6  # of a colour over the image, where the heat is highest
UNIT = "heat, share of the map's maximum"
NO_HEAT = "\n(no heat: nothing speaks for it)"


@cache
def heat_colours() -> ListedColormap:
    """Inferno, which a colour-blind reader can order, the clearer the colder."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    colours = colormaps["inferno"](np.linspace(0, 1, 256))
    colours[:, 3] = np.linspace(0, DENSEST, 256)
    return ListedColormap(colours, "heat")


def heated(frame: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture [H, W] or [H, W, C] under a heat map [H, W] in 0..1: uint8 [H, W, 3]."""
    colours = heat_colours()(np.asarray(heat, np.float64))
    share = colours[..., 3:]
    mixed = (1 - share) * in_colour(frame) + share * 255 * colours[..., :3]
    return np.asarray(np.rint(mixed), np.uint8)


def in_colour(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Three channels of a picture that has one or three."""
    frame = frame[..., None] if frame.ndim == 2 else frame
    return np.broadcast_to(frame, (*frame.shape[:2], 3))


def explanation(
    image: NDArray[np.uint8], maps: Mapping[str, NDArray[np.float32]], path: Path, about: str = "", method: str = ""
) -> None:
    """An image [H, W] or, in RGB, [H, W, 3], and beside it the same under each heat map `{title: [h, w] in 0..1}`,
    spread over it; `about` says what it is of, and `method` how the maps were made."""
    ensure_any("explanation", "a heat map", list(maps))
    figure = new_figure(3.1 * (1 + len(maps)) + 0.7, 3.65)
    panels = figure.subplots(1, 1 + len(maps))
    extent = (0.0, float(image.shape[1]), float(image.shape[0]), 0.0)
    for axes in panels:
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent)
        axes.set_axis_off()
    panels[0].set_title("image, as the network sees it", fontsize=10)
    for axes, (title, heat) in zip(panels[1:], maps.items(), strict=True):
        axes.imshow(heat, cmap=heat_colours(), vmin=0, vmax=1, extent=extent, interpolation="nearest")
        axes.set_title(title + ("" if heat.any() else NO_HEAT), fontsize=10)
    colour_bar(figure, panels)
    heading(figure, about)
    if method:
        figure.supxlabel(method, fontsize=8, color=INK)
    save(figure, path)


def colour_bar(figure: Figure, panels: Sequence[Axes] | NDArray[Any]) -> None:
    """What the colours mean, over the grey of an image."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), heat_colours()), ax=list(panels), shrink=0.85, pad=0.01)
    bar.set_label(UNIT, fontsize=9, color=INK)
    bar.set_ticks([0, 0.5, 1], labels=["0 (clear)", "0.5", "1"])
    bar.ax.tick_params(labelsize=8)
    bar.ax.set_facecolor("#808080")
