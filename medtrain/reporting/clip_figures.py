"""Figures of a dataset of clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medtrain.core.files import whole
from medtrain.reporting.heat_figures import NO_HEAT, colour_bar, heated, in_colour
from medtrain.reporting.style import BLUE, INK, PALETTE, ensure_any, heading, new_figure, save, style_axes

if TYPE_CHECKING:  # matplotlib takes 0.3 s to import: only a function that draws pays for it
    from matplotlib.axes import Axes

Pixels = NDArray[np.uint8]
BINS = 20
MOMENTS = 8
ANIMATED = 336  # pixels of each side of an animation
SHOWN = 8  # sizes, of which the others are one bar


def distributions(
    scores: Mapping[str, Sequence[float]],
    states: tuple[str, str],
    frames: Sequence[int],
    rates: Sequence[float],
    sizes: Sequence[tuple[int, int]],
    path: Path,
) -> None:
    """Four panels: scores by split `{split: [score, ...]}` (where all are 0 or 1, how many are of the two `states`),
    frames of a clip, frames per second (of the clips that tell it), and sizes `[(width, height), ...]` in pixels.

    ValueError without a clip.
    """
    ensure_any("distributions", "a clip", frames)
    figure = new_figure(10, 7)
    (top_left, top_right), (left, right) = figure.subplots(2, 2)
    known = {split: own for split, own in scores.items() if len(own)}
    if {score for own in known.values() for score in own} <= {0, 1}:
        _states(top_left, known, states)
    else:
        _scores(top_left, known)
    _histogram(top_right, frames, "Frames of a clip", "frames")
    untold = len(frames) - len(rates)
    _histogram(left, rates, "Frame rate" + (f" (unknown: {untold:,})" if untold else ""), "frames per second")
    _sizes(right, sizes)
    save(figure, path)


def scores(scores: Mapping[str, Sequence[float]], unit: str, path: Path) -> None:
    """How many images or clips (the `unit`) have which score, by split: `{split: [score, ...]}`. ValueError without a
    score."""
    ensure_any("scores", "a score", [score for own in scores.values() for score in own])
    figure = new_figure(6.2, 3.8)
    axes = figure.add_subplot()
    _scores(axes, {f"{split} ({len(own):,} {unit})": own for split, own in scores.items()})
    axes.set(title="Scores", ylabel=unit)
    save(figure, path)


def explained(
    frames: Pixels, maps: Mapping[str, NDArray[np.float32]], path: Path, about: str = "", method: str = ""
) -> None:
    """Moments of a clip [T, H, W, C], and below each the same under every heat map `{title: [T, H, W] in 0..1}`;
    `about` says what it is of, and `method` how the maps were made."""
    ensure_any("explained", "a heat map", list(maps))
    moments = np.unique(np.linspace(0, len(frames) - 1, MOMENTS).round().astype(int))
    figure = new_figure(1.5 * len(moments) + 0.7, 1.6 * (1 + len(maps)) + 0.2)
    rows = figure.subplots(1 + len(maps), len(moments), squeeze=False)
    for axes, moment in zip(rows[0], moments, strict=True):
        axes.imshow(in_colour(frames[moment]))
        axes.set_title(f"frame {moment + 1}", fontsize=8)
    for row, (title, heat) in zip(rows[1:], maps.items(), strict=True):
        for axes, moment in zip(row, moments, strict=True):
            axes.imshow(heated(frames[moment], heat[moment]))
        row[0].set_title(title + ("" if heat.any() else NO_HEAT.replace("\n", " ")), fontsize=9, loc="left")
    for axes in rows.flat:
        axes.set_axis_off()
    colour_bar(figure, rows.ravel())
    heading(figure, about)
    if method:
        figure.supxlabel(method, fontsize=8, color=INK)
    save(figure, path)


def animation(frames: Pixels, heat: NDArray[np.float32], frame_ms: float, path: Path) -> None:
    """A clip [T, H, W, C] under its heat map [T, H, W] in 0..1, as a GIF that goes round at the clip's own speed."""
    from PIL import Image

    first, *others = [
        Image.fromarray(heated(frame, own)).resize((ANIMATED, ANIMATED), Image.Resampling.BILINEAR)
        for frame, own in zip(frames, heat, strict=True)
    ]
    with whole(path) as file:
        first.save(file, "GIF", save_all=True, append_images=others, duration=max(20, round(frame_ms)), loop=0)


def _states(axes: Axes, scores: Mapping[str, Sequence[float]], states: tuple[str, str]) -> None:
    wide = 0.8 / max(len(scores), 1)
    for place, (split, own) in enumerate(scores.items()):
        offset = (place - (len(scores) - 1) / 2) * wide
        counts = [sum(score == state for score in own) for state in (0, 1)]
        bars = axes.bar(np.arange(2) + offset, counts, wide, color=PALETTE[place % len(PALETTE)], label=split)
        axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8, color=INK)
    axes.set_xticks((0, 1), states)
    axes.margins(y=0.1)
    _named(axes, "Clips by quality", "", scores)


def _scores(axes: Axes, scores: Mapping[str, Sequence[float]]) -> None:
    every = [score for own in scores.values() for score in own]
    ends = (0.0, 1.0) if min(every) >= 0 and max(every) <= 1 else (min(every), max(every))
    colours = [PALETTE[place % len(PALETTE)] for place in range(len(scores))]
    axes.hist(list(scores.values()), bins=BINS, range=ends, stacked=True, color=colours, label=list(scores))
    if ends == (0.0, 1.0):
        axes.axvline(0.5, color=INK, linewidth=0.8, linestyle="--")
    _named(axes, "Quality scores", "score", scores)


def _named(axes: Axes, title: str, unit: str, scores: Mapping[str, Sequence[float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set(title=title, xlabel=unit, ylabel="clips")
    if len(scores) > 1:
        axes.legend(frameon=False)
    style_axes(axes)


def _histogram(axes: Axes, values: Sequence[float], title: str, unit: str) -> None:
    from matplotlib.ticker import MaxNLocator

    if len(set(values)) == 1:  # matplotlib would draw its one bar a whole unit wide, between ticks of no meaning
        bars = axes.bar([f"{values[0]:g}"], [len(values)], 0.3, color=BLUE)
        axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8, color=INK)
        axes.margins(x=1, y=0.1)
    elif len(values):
        axes.hist(values, bins=_bins(values), color=BLUE)
    axes.set(title=title, xlabel=unit, ylabel="clips")
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    style_axes(axes)


def _bins(values: Sequence[float]) -> int | list[float]:
    """Of whole numbers as many in each."""
    low, high = min(values), max(values)
    if any(value != int(value) for value in values):
        return BINS
    step = -(-int(high - low + 1) // BINS)
    return (np.arange(low, high + step + 1, step) - 0.5).tolist()  # type: ignore[no-any-return]


def _sizes(axes: Axes, sizes: Sequence[tuple[int, int]]) -> None:
    tally = Counter(f"{width} × {height}" for width, height in sizes).most_common()
    rest = sum(count for _, count in tally[SHOWN:])
    rows = [*tally[:SHOWN], *([(f"{len(tally) - SHOWN:,} others", rest)] if rest else [])]
    bars = axes.barh([name for name, _ in rows], [count for _, count in rows], 0.7, color=BLUE)
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8, color=INK)
    axes.invert_yaxis()  # the most frequent on top
    axes.margins(x=0.12)
    axes.set(title="Width × height", xlabel="clips")
    axes.spines[["top", "right"]].set_visible(False)
