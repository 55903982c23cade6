"""What the allocated time of a run became, a bar for each of its attempts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medtrain.core.counts import counted
from medtrain.reporting.style import (
    AMBER,
    BLUE,
    HATCHES,
    INK,
    VERMILION,
    ensure_any,
    heading,
    new_figure,
    save,
    style_axes,
    whole_numbers,
)
from medtrain.runs.goodput import Spent, over_attempts

if TYPE_CHECKING:  # matplotlib takes 0.3 s to import: only a function that draws pays for it
    from matplotlib.axes import Axes

NAMED = 40  # attempts beyond that have no number and no goodput beside their bars
PARTS = (("counted", "steps that count", BLUE), ("lost", "steps done again", VERMILION),
         ("other", "start, validation, saving, stop", AMBER))  # fmt: skip
UNITS = ((7200.0, 3600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def goodput_words(rows: Sequence[Spent]) -> str:
    """`goodput 87 % over 3 attempts`."""
    return f"goodput {100 * (over_attempts(rows) or 0.0):.0f} % over {counted(len(rows), 'attempts')}"


def goodput_bars(axes: Axes, rows: Sequence[Spent]) -> None:
    """A bar for each attempt, the first on top, of the time that its job had."""
    longest = max(one.counted + one.lost + one.other for one in rows)
    scale, unit = next((scale, unit) for least, scale, unit in UNITS if longest >= least)
    places, left = [one.attempt for one in rows], [0.0] * len(rows)
    for (name, words, colour), hatch in zip(PARTS, HATCHES, strict=False):
        lengths = [getattr(one, name) / scale for one in rows]
        axes.barh(places, lengths, 0.7, left, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=words)
        left = [before + length for before, length in zip(left, lengths, strict=True)]
    if len(rows) <= NAMED:
        axes.set_yticks(places)
        for place, one, end in zip(places, rows, left, strict=True):
            share = over_attempts([one]) or 0.0
            words = f"{100 * share:.0f} %"
            axes.text(end + 0.01 * longest / scale, place, words, va="center", fontsize=9, color=INK)
    else:
        axes.yaxis.set_major_locator(whole_numbers())
    axes.set(ylim=(places[-1] + 0.6, places[0] - 0.6), xlim=(0, 1.08 * longest / scale), ylabel="attempt", xlabel=unit)


def draw_goodput(rows: Sequence[Spent], path: Path, about: str = "") -> None:
    """The figure; ValueError without an attempt. `about` says what it is of."""
    ensure_any("goodput", "an attempt", rows)
    figure = new_figure(8, 1.5 + 0.3 * min(len(rows), NAMED))
    axes = figure.add_subplot()
    goodput_bars(axes, rows)
    style_axes(axes)
    axes.grid(False, axis="y")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    heading(figure, ": ".join(words for words in (about, goodput_words(rows)) if words))
    save(figure, path)
