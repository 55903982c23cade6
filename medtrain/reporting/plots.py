"""Figures of a run, and a grid of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtrain.config.rules import lower_is_better
from medtrain.metrics.intervals import exact_of, known_ends
from medtrain.metrics.metric_words import metric_title, metric_words
from medtrain.reporting.style import (
    BLUE,
    GREEN,
    INK,
    VERMILION,
    cell_lines,
    ensure_any,
    heading,
    new_figure,
    remark,
    save,
    style_axes,
    whole_numbers,
)

if TYPE_CHECKING:  # matplotlib takes 0.3 s to import: only a function that draws pays for it
    from matplotlib.axes import Axes

MARKED_EPOCHS = 25  # beyond this many epochs, a dot on each would hide the line


def history(rows_by_epoch: Sequence[Mapping[str, Any]], path: Path, watch: str = "accuracy", about: str = "") -> None:
    """Loss and the monitored metric by epoch, training and validation, and the learning rate beside them.

    A row has `epoch` and any of `train_loss val_loss train_WATCH val_WATCH` and `lr`; a missing key or None leaves a
    gap. The epoch of the best is marked, the first of equals. Where the loss is watched, accuracy stands beside it.
    `about` says what it is of. ValueError without rows.
    """
    ensure_any("history", "an epoch", rows_by_epoch)
    rows = sorted(rows_by_epoch, key=lambda row: row["epoch"])
    epochs = np.array([row["epoch"] for row in rows])
    watched = _column(rows, f"val_{watch}") * (-1 if lower_is_better(watch) else 1)
    best = None if np.isnan(watched).all() else int(np.nanargmax(watched))
    figure = new_figure(13, 4, laid_out=False)
    places = {"left": 0.05, "right": 0.99, "bottom": 0.14, "top": 0.9, "wspace": 0.2}
    loss, metric, rate = figure.subplots(1, 3, width_ratios=[3, 3, 2], gridspec_kw=places)
    for axes, name in ((loss, "loss"), (metric, "accuracy" if watch == "loss" else watch)):
        validation = _column(rows, f"val_{name}")
        if not np.isnan(training := _column(rows, f"train_{name}")).all():
            _curve(axes, epochs, training, BLUE, "training")
        _curve(axes, epochs, validation, VERMILION, "validation", "s--")
        if best is not None:
            words = f"{metric_words(name)} at the best epoch" if name != watch else f"best {metric_words(name)}, epoch"
            _mark_best(axes, int(epochs[best]), float(validation[best]), words)
        _epoch_axis(axes, epochs, name)
        axes.legend(frameon=False)
    _curve(rate, epochs, _column(rows, "lr"), INK, "learning rate")
    _epoch_axis(rate, epochs, "learning rate")
    rate.ticklabel_format(axis="y", scilimits=(0, 0))
    rate.set_ylim(bottom=0)
    heading(figure, about)
    save(figure, path)


def confusion(matrix: ArrayLike, classes: Sequence[str], path: Path, about: str = "") -> None:
    """A confusion matrix [C, C] (rows are the truth) twice: counts, and percent of each true class.

    `about` says what it is of. A class without samples has a row of dashes. ValueError unless the matrix is as large as
    `classes`.
    """
    counts = np.asarray(matrix)
    if counts.shape != (len(classes), len(classes)) or not len(classes):
        raise ValueError(f"confusion matrix has shape {counts.shape}; expected one row for each of {classes}")
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100 * counts, support, out=np.full(counts.shape, np.nan), where=support > 0)
    side = max(3.6, 0.56 * len(classes))
    margin = 0.5 + 0.075 * max(map(len, classes))  # room for the names, in inches
    width, height = 2 * side + 2 * margin, side + margin + 0.4
    figure = new_figure(width, height, laid_out=False)
    left, right = (
        figure.add_axes((x / width, margin / height, side / width, side / height)) for x in (margin, side + 2 * margin)
    )
    words = [[f"{count:,}" for count in row] for row in counts.tolist()]
    _cells(left, counts / max(counts.max(), 1), words, classes, "Samples")
    words = [[percent(share) for share in row] for row in shares.tolist()]
    _cells(right, shares / 100, words, classes, "Percent of the true class")
    heading(figure, about)
    save(figure, path)


def label_scores(rows: Mapping[str, Mapping[str, Any]], path: Path, about: str = "") -> None:
    """AUROC of each label, `{label: {"auroc", "known", "positives"}}`, with its counts, and its `auroc_interval` where
    it has one; 0.5 is chance. `about` says what it is of.

    Labels whose AUROC is None are named below. ValueError without a label.
    """
    ensure_any("label_scores", "a label", list(rows))
    defined = {name: row for name, row in rows.items() if row["auroc"] is not None}
    figure = new_figure(8, 1.2 + 0.34 * max(len(defined), 1))
    axes = figure.add_subplot(title="AUROC", xlim=(0, 1))
    places = np.arange(len(defined))
    axes.barh(places, [row["auroc"] for row in defined.values()], 0.7, color=BLUE)
    for place, row in enumerate(defined.values()):
        ends = ""
        if known := known_ends(row.get("auroc_interval")):
            low, high = known
            # Black on white: seen on the bar and beside it.
            for colour, width in (("white", 4.5), ("black", 1.8)):
                axes.plot([low, high], [place, place], "|-", color=colour, linewidth=width, markersize=8 + width,
                          markeredgewidth=width, solid_capstyle="butt", clip_on=False)  # fmt: skip
            ends = f" ({low:.3f} to {high:.3f}{', exact' if exact_of(row, 'auroc') else ''})"
        words = f"{row['auroc']:.3f}{ends}, {row['positives']:,} of {row['known']:,}"
        axes.text(1.03, place, words, va="center", fontsize=8, color=INK)
    axes.axvline(0.5, color=INK, linewidth=0.8, linestyle="--")
    axes.set_yticks(places, list(defined))
    axes.set_ylim(max(len(defined), 1) - 0.5, -0.5)  # the first label on top
    axes.set_xlabel("line: 95 % interval by patient; dashed: chance; right: positives of known", fontsize=8, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    heading(figure, about)
    remark(
        figure,
        "AUROC is undefined (all known samples are alike, or none is known)",
        [name for name in rows if name not in defined],
    )
    save(figure, path)


def predicted_scores(rows: Sequence[Mapping[str, Any]], path: Path, about: str = "", name: str = "scores") -> None:
    """What is predicted against what was given: mean and deviation in each tenth, `[{"given", "predicted", "deviation",
    "samples"}, ...]`; `about` says what it is of, `name` what the scores are. ValueError without a row."""
    ensure_any("predicted_scores", "a score", rows)
    given, predicted, deviation = (_column(rows, key) for key in ("given", "predicted", "deviation"))
    ends = (min(given.min(), (predicted - deviation).min()), max(given.max(), (predicted + deviation).max()))
    figure = new_figure(5, 5)
    axes = figure.add_subplot(
        title=name[:1].upper() + name[1:], xlabel="given", ylabel="predicted (mean and deviation)"
    )
    axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle="--")
    axes.errorbar(given, predicted, deviation, fmt="o", color=BLUE, capsize=3)
    for row in rows:
        axes.annotate(f"{row['samples']:,}", (row["given"], row["predicted"]), (6, -9), textcoords="offset points",
                      fontsize=8, color=INK)  # fmt: skip
    style_axes(axes)
    heading(figure, about)
    save(figure, path)


def sample_grid(images: Mapping[str, Sequence[NDArray[np.uint8]]], path: Path) -> None:
    """A row of images for each class: `{class: [uint8 HxW (grey) or HxWx3 (RGB), ...]}`; a class without any is named
    below.

    ValueError without images, or naming the first image of another type or shape.
    """
    columns = max(map(len, images.values()), default=0)
    ensure_any("sample_grid", "an image", range(columns))
    there = {name: own for name, own in images.items() if len(own)}
    figure = new_figure(1.4 + 1.25 * columns, 0.2 + 1.25 * len(there))
    grid = figure.subplots(len(there), columns, squeeze=False)
    for row, (name, of_class) in zip(grid, there.items(), strict=True):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.set_anchor("W")  # else a narrow first image takes its label out of line
        for i, (axes, image) in enumerate(zip(row, of_class, strict=False)):
            if image.dtype != np.uint8 or not (image.ndim == 2 or image.shape[2:] == (3,)):
                found = f"{image.dtype} {image.shape}"
                raise ValueError(f"image {i} of {name} is {found}; expected uint8 (H, W) or (H, W, 3)")
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    remark(figure, "No image of", [name for name in images if name not in there])
    save(figure, path)


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    values = (row.get(key) for row in rows)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _curve(
    axes: Axes, epochs: NDArray[Any], values: NDArray[np.float64], colour: str, label: str, style: str = "o-"
) -> None:
    marker = style[0] if len(epochs) <= MARKED_EPOCHS else ""
    axes.plot(
        epochs, values, color=colour, marker=marker, markersize=4, linestyle=style[1:], linewidth=1.6, label=label,
        clip_on=False,
    )  # fmt: skip


def _mark_best(axes: Axes, epoch: int, value: float, words: str) -> None:
    axes.axvline(epoch, color=INK, linestyle=":", linewidth=1, zorder=1)
    axes.plot(
        epoch, value, "o", markersize=10, markerfacecolor="none", color=GREEN, label=f"{words} {epoch}: {value:.4g}"
    )


def _epoch_axis(axes: Axes, epochs: NDArray[Any], title: str) -> None:
    room = max(0.5, 0.02 * float(epochs[-1] - epochs[0]))
    axes.set_xlim(epochs[0] - room, epochs[-1] + room)
    axes.xaxis.set_major_locator(whole_numbers())
    axes.set(title=metric_title(title), xlabel="epoch")
    style_axes(axes)


def percent(share: float) -> str:
    """A share of 100 for a cell: a true zero reads `0`, one that only rounds to it reads `0.0`."""
    if np.isnan(share):
        return "–"
    return "0" if share == 0 else "100" if share == 100 else f"{share:.1f}"


def _cells(axes: Axes, shades: NDArray[Any], text: list[list[str]], names: Sequence[str], title: str) -> None:
    """Draw shades 0..1 as cells with a word in each."""
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1)
    axes.set_facecolor("#F2F2F2")  # seen where a shade is NaN
    size = 10 if len(names) <= 8 else 8
    for row, words in enumerate(text):
        for column, word in enumerate(words):
            ink = "white" if shades[row, column] > 0.65 else "#777777" if word in ("0", "–") else "black"
            axes.text(column, row, word, ha="center", va="center", fontsize=size, color=ink)
    places = np.arange(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names)
    axes.tick_params(length=0)
    cell_lines(axes, len(names))
    axes.set(title=title, xlabel="predicted", ylabel="true")
