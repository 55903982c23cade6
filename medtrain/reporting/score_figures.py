"""Figures of the scores of a split, a row for each label: ROC, precision-recall, scores by true state, reliability."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medtrain.metrics.curves import Curves
from medtrain.metrics.numbers import Floats
from medtrain.reporting.html_report.calibration_section import reliability_bins
from medtrain.reporting.html_report.run_facts import Judged
from medtrain.reporting.style import (
    BLUE,
    GREEN,
    INK,
    VERMILION,
    ensure_any,
    heading,
    new_figure,
    remark,
    save,
    style_axes,
)

if TYPE_CHECKING:  # matplotlib takes 0.3 s to import: only a function that draws pays for it
    from matplotlib.axes import Axes

DRAWN = 20  # labels: more would make a figure that nobody can print
BINS = 20
HIGH, WIDE = 2.3, 2.6  # of a panel, in inches
TITLES = ("ROC", "Precision-recall", "Scores by true state", "Reliability")
BELOW = "Shaded: pointwise 95 % band, by patient. Dashed: chance, or perfect calibration. Dots: area by samples."


def score_panels(
    judged: Judged,
    curves: Mapping[str, Curves | None],
    path: Path,
    about: str,
    states: tuple[str, str] = ("absent", "present"),
) -> None:
    """Four panels for each label that has both states, of what `judged` holds; the others are named below.

    ValueError where no label has both.
    """
    there = [(place, name) for place, name in enumerate(judged.names) if curves.get(name) is not None]
    ensure_any("score_panels", "a label with positives and negatives", there)
    from sklearn.metrics import roc_auc_score

    drawn = there[:DRAWN]
    high, wide = HIGH * len(drawn) + 0.75, WIDE * len(TITLES) + 0.5
    figure = new_figure(wide, high, laid_out=False)
    for row, (place, name) in enumerate(drawn):
        known = judged.known[:, place]
        scores, positive = judged.raw[known, place], judged.positive[known, place]
        bottom = (high - 0.3 - (row + 1) * HIGH + 0.45) / high
        panels = [
            figure.add_axes(((0.65 + i * WIDE) / wide, bottom, (WIDE - 0.75) / wide, (HIGH - 0.75) / high))
            for i in range(len(TITLES))
        ]
        own = curves[name]
        assert own is not None
        _roc(panels[0], own, float(roc_auc_score(positive, judged.scores[known, place])))
        _precision_recall(panels[1], own)
        _histogram(panels[2], scores, positive, states)
        _reliability(panels[3], scores, positive, states[1])
        for axes, title in zip(panels, TITLES, strict=True):
            style_axes(axes)
            axes.tick_params(labelsize=8)
            if row == 0:
                axes.set_title(title, fontsize=10, pad=20)
        panels[0].annotate(name, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", weight="bold")
    heading(figure, about)
    figure.text(0.65 / wide, 0.12 / high, BELOW, fontsize=8, color=INK, va="bottom")
    undefined = [name for name in judged.names if curves.get(name) is None]
    remark(figure, "Undefined, because all samples are alike or none is known", undefined)
    if len(there) > DRAWN:
        figure.text(0.65 / wide, 0, f"The first {DRAWN} of {len(there)} labels.", fontsize=8, color=INK, va="bottom")
    save(figure, path)


def _unit_square(axes: Axes, x: str, y: str) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.set_xlabel(x, fontsize=8, labelpad=1)
    axes.set_ylabel(y, fontsize=8, labelpad=1)


def _roc(axes: Axes, own: Curves, area: float) -> None:
    low, high = own.auroc_interval
    x, y = own.roc  # thinned for drawing: the area is of all scores
    exact = f"\n({low:.3f} to {high:.3f}, exact)"  # on one line it would run over the axis
    ends = "" if np.isnan(low) else exact if own.exact else f" ({low:.3f} to {high:.3f})"
    axes.fill_between(own.roc_band.x, own.roc_band.low, own.roc_band.high, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(x, y, color=BLUE, linewidth=1.6)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--")
    axes.text(0.98, 0.03, f"AUROC {area:.3f}{ends}", ha="right", fontsize=7, color=INK)
    _unit_square(axes, "1 − specificity", "sensitivity")


def _precision_recall(axes: Axes, own: Curves) -> None:
    x, y = own.precision_recall
    band, share = own.precision_band, own.positives / (own.positives + own.negatives)
    axes.fill_between(band.x, band.low, band.high, color=GREEN, alpha=0.2, linewidth=0)
    axes.plot(np.repeat(np.append(0, x), 2)[1:-1], np.repeat(y, 2), color=GREEN, linewidth=1.6)
    axes.plot([0, 1], [share, share], color=INK, linewidth=0.8, linestyle="--")
    _unit_square(axes, "recall", "precision")


def _histogram(axes: Axes, scores: Floats, positive: NDArray[np.bool_], states: tuple[str, str]) -> None:
    """Shares of each state, so that a rare one is seen."""
    ends = (0.0, 1.0) if scores.min() >= 0 and scores.max() <= 1 else (float(scores.min()), float(scores.max()))
    edges = np.linspace(*ends, BINS + 1)
    for state, own, colour, line, hatch in (
        (states[0], scores[~positive], BLUE, "-", ""),
        (states[1], scores[positive], VERMILION, "--", "////"),
    ):
        shares = np.histogram(own, edges)[0] / len(own)
        label = f"{state} ({len(own):,})"
        axes.stairs(shares, edges, fill=True, facecolor=colour, alpha=0.22, hatch=hatch, edgecolor=colour, linewidth=0)
        axes.stairs(shares, edges, color=colour, linestyle=line, linewidth=1.5, label=label)
    axes.legend(frameon=False, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=2, borderpad=0.1,
                columnspacing=1.0, handlelength=1.8)  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlabel("score", fontsize=8, labelpad=1)
    axes.set_ylabel("share of the state", fontsize=8, labelpad=1)


def _reliability(axes: Axes, scores: Floats, positive: NDArray[np.bool_], state: str) -> None:
    if scores.min() < 0 or scores.max() > 1:
        axes.text(0.5, 0.5, "no probabilities", ha="center", va="center", fontsize=8, color=INK)
        _unit_square(axes, "", "")
        return
    predicted, share, count = np.array(reliability_bins(scores, positive)).T
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--")
    axes.plot(predicted, share, color=BLUE, linewidth=1)
    axes.scatter(predicted, share, np.clip(200 * count / count.sum(), 6, 110), color=BLUE, alpha=0.75, linewidths=0)
    _unit_square(axes, "predicted probability (mean)", f"share that is {state}")
