"""What all figures share: colours, an empty figure, how it is saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtrain.core.files import whole

if TYPE_CHECKING:  # matplotlib takes 0.3 s to import: only a function that draws pays for it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008): colour-blind readers can tell them apart.
BLUE, VERMILION, GREEN, PURPLE, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, SKY, AMBER)
INK, FAINT = "#444444", "#DDDDDD"
DPI = 150


def ensure_any(figure: str, what: str, items: Sequence[Any]) -> None:
    """ValueError where a figure has none of what it shows."""
    if not len(items):
        raise ValueError(f"{figure} needs at least {what}; got none")


def new_figure(width: float, height: float, laid_out: bool = True) -> Figure:
    """An empty figure of that size in inches, without pyplot, which keeps every figure in global state.

    `laid_out`: matplotlib finds room for all words, which takes half of the time that such a figure does; where their
    size is known they are given their places.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained" if laid_out else None)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write under another name and rename: a reader never sees half a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as file:
        figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.12)


def style_axes(axes: Axes) -> None:
    """A faint grid, and no frame above and to the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
