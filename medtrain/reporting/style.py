"""What all figures share: colours, an empty figure, how it is saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medtrain.core.files import whole

if TYPE_CHECKING:  # matplotlib takes 0.3 s to import: only a function that draws pays for it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

# Okabe and Ito, "Color Universal Design" (2008): colour-blind readers can tell them apart.
BLUE, VERMILION, GREEN, PURPLE, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, SKY, AMBER)
# What is told apart without colours too.
HATCHES = ("", "///", "...", "xxx")
INK, FAINT, LINE = "#444444", "#DDDDDD", "#999999"
DPI = 150
Format = Literal["png", "svg", "pdf"]
_formats: ContextVar[tuple[Format, ...]] = ContextVar("formats", default=("png",))
# Words stay words, to be searched and edited; the same figure has the same bytes each time.
SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "medtrain", "pdf.fonttype": 42}
METADATA: dict[str, Any] = {"png": None, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@contextmanager
def written_as(formats: Sequence[Format]) -> Iterator[None]:
    """Every figure that is saved meanwhile is written in these formats (none: PNG)."""
    token = _formats.set(tuple(dict.fromkeys(formats)) or ("png",))
    try:
        yield
    finally:
        _formats.reset(token)


def formats_now(path: Path) -> list[Path]:
    """The files that a figure of the name PATH.png is written as; a file that is no PNG is itself."""
    return [path.with_suffix(f".{each}") for each in _formats.get()] if path.suffix == ".png" else [path]


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
    """Write PATH.png in every format asked for, under another name first: a reader never sees half a picture."""
    import matplotlib

    path.parent.mkdir(parents=True, exist_ok=True)
    for target in formats_now(path):
        kind = target.suffix[1:]
        with whole(target) as file, matplotlib.rc_context(SETTINGS):
            figure.savefig(file, format=kind, dpi=DPI, bbox_inches="tight", pad_inches=0.12, metadata=METADATA[kind])


def style_axes(axes: Axes) -> None:
    """A faint grid, and no frame above and to the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)


def cell_lines(axes: Axes, count: int) -> None:
    """Lines between the cells of a matrix, and around it: light cells would run into the paper."""
    edges = [place - 0.5 for place in range(count + 1)]
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.set_axisbelow(False)
    axes.grid(which="minor", color=LINE, linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_color(LINE)


def whole_numbers(most: int = 8) -> MaxNLocator:
    """Ticks at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(most, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def heading(figure: Figure, text: str) -> None:
    """A line above the whole figure, which says what it is of."""
    if text:
        figure.text(0.5, 1.01, text, ha="center", va="bottom", fontsize=11, color=INK)


def remark(figure: Figure, what: str, names: Sequence[str]) -> None:
    """A line below the whole figure that names what it leaves out; nothing where that is nothing."""
    if names:
        from textwrap import fill

        text = fill(f"{what}: {', '.join(names)}", round(13 * figure.get_figwidth()))
        figure.text(0.01, -0.02, text, ha="left", va="top", fontsize=9, color=INK)
