"""Figures of a dataset of clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medtrain.canvas import BLUE, INK, PALETTE, blank, need, ruled, save

if TYPE_CHECKING:  # matplotlib takes 0.3 s to import: only a function that draws pays for it
    from matplotlib.axes import Axes

BINS = 20
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
    need("distributions", "a clip", frames)
    figure = blank(10, 7)
    (top_left, top_right), (left, right) = figure.subplots(2, 2)
    known = {split: own for split, own in scores.items() if len(own)}
    if {score for own in known.values() for score in own} <= {0, 1}:
        _states(top_left, known, states)
    else:
        _scores(top_left, known)
    _histogram(top_right, frames, "Frames of a clip", "frames")
    untold = len(frames) - len(rates)
    _histogram(left, rates, "Frame rate" + (f" (not told: {untold:,})" if untold else ""), "frames per second")
    _sizes(right, sizes)
    save(figure, path)


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
    ruled(axes)


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
    ruled(axes)


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
