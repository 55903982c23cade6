"""Figures of a report on studies of several types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medtrain.metrics.intervals import known_ends
from medtrain.reporting.plots import percent
from medtrain.reporting.style import BLUE, INK, cell_lines, ensure_any, heading, new_figure, remark, save

ACROSS = 4  # matrices beside each other


def kappas(rows: Mapping[str, Mapping[str, Any]], path: Path, about: str = "") -> None:
    """Cohen's kappa with its interval, a row each: `{name: {"kappa", "kappa_interval", "samples"}}`; those whose kappa
    is None are named below. `about` says what it is of.

    The shades are the grades of Landis and Koch (1977). ValueError without a row.
    """
    ensure_any("kappas", "a row", list(rows))
    undefined = [name for name, row in rows.items() if row["kappa"] is None]
    rows = {name: row for name, row in rows.items() if row["kappa"] is not None}
    figure = new_figure(8, 1.2 + 0.36 * len(rows))
    axes = figure.add_subplot(xlabel="Cohen's kappa, 95 % interval by patient")
    for i, (low, name) in enumerate(((0.2, "fair"), (0.4, "moderate"), (0.6, "substantial"), (0.8, "almost perfect"))):
        axes.axvspan(low, low + 0.2, color=BLUE, alpha=0.04 * (i + 1), linewidth=0)
        axes.text(low + 0.1, -0.75, name, ha="center", va="center", fontsize=8, color=INK)
    for place, row in enumerate(rows.values()):
        axes.plot(row["kappa"], place, "o", color=BLUE)
        if ends := known_ends(row["kappa_interval"]):
            axes.plot(ends, [place, place], color=BLUE, linewidth=1.6)
    for place, row in enumerate(rows.values()):
        words = f"{row['kappa']:.3f}, {row['samples']:,} studies"
        axes.text(1.02, place, words, va="center", fontsize=8, color=INK)
    lowest = [row["kappa_interval"][0] for row in rows.values() if row["kappa_interval"][0] is not None]
    axes.set(xlim=(min([0.0, *lowest]) - 0.02, 1.0), ylim=(len(rows) - 0.5, -1.1))  # the first row on top
    axes.set_yticks(range(len(rows)), list(rows))
    axes.spines[["top", "right"]].set_visible(False)
    heading(figure, about)
    remark(figure, "Kappa is undefined, because all studies are alike", undefined)
    save(figure, path)


def confusions(
    matrices: Mapping[str, ArrayLike], states: Sequence[str], path: Path, about: str = "", without: Sequence[str] = ()
) -> None:
    """A confusion matrix [C, C] of studies (rows are the truth) for each name: in each cell its share of the true state
    in percent, and the count. `about` says what it is of, `without` names what has no study. ValueError without a
    matrix."""
    ensure_any("confusions", "a matrix", list(matrices))
    high, wide = -(-len(matrices) // ACROSS), min(ACROSS, len(matrices))
    figure = new_figure(2.3 * wide + 0.6, 2.5 * high + 0.3)
    panels = figure.subplots(high, wide, squeeze=False).ravel()
    for axes in panels[len(matrices) :]:
        axes.set_axis_off()
    for place, (axes, (name, matrix)) in enumerate(zip(panels, matrices.items(), strict=False)):
        counts = np.asarray(matrix)
        support = counts.sum(axis=1, keepdims=True)
        shares = np.divide(100 * counts, support, out=np.full(counts.shape, np.nan), where=support > 0)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for (row, column), share in np.ndenumerate(shares):
            ink = "white" if share > 65 else "black"
            words = f"{percent(float(share))}\n({counts[row, column]:,})"
            axes.text(column, row, words, ha="center", va="center", fontsize=9, color=ink)
        axes.set_title(name, fontsize=10)
        axes.set_xticks(range(len(states)), states)
        axes.set_yticks(
            range(len(states)), states if place % wide == 0 else [""] * len(states), rotation=90, va="center"
        )
        axes.tick_params(length=0, labelsize=8)
        cell_lines(axes, len(states))
    figure.suptitle("percent of the true state (studies)", fontsize=9)
    figure.supxlabel("predicted", fontsize=9)
    figure.supylabel("true", fontsize=9)
    heading(figure, about)
    remark(figure, "No study", without)
    save(figure, path)
