"""Figures of a run and of a dataset, written as PNG files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtrain.config.schema import lower_is_better
from medtrain.reporting.style import BLUE, GREEN, INK, PALETTE, VERMILION, ensure_any, new_figure, save, style_axes

if TYPE_CHECKING:  # matplotlib takes 0.3 s to import: only a function that draws pays for it
    from matplotlib.axes import Axes

MARKED_EPOCHS = 25  # beyond this many epochs, a dot on each would hide the line


def history(rows_by_epoch: Sequence[Mapping[str, Any]], path: Path, watch: str = "accuracy") -> None:
    """Loss and the monitored metric by epoch, training and validation, and the learning rate beside them.

    A row has `epoch` and any of `train_loss val_loss train_WATCH val_WATCH` and `lr`; a missing key or None leaves a
    gap. The epoch of the best is marked, the first of equals. Where the loss is watched, accuracy stands beside it.
    ValueError without rows.
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
        _curve(axes, epochs, validation, VERMILION, "validation")
        if best is not None:
            _mark_best(axes, int(epochs[best]), float(validation[best]))
        _epoch_axis(axes, epochs, name.replace("_", " "))
        axes.legend(frameon=False)
    _curve(rate, epochs, _column(rows, "lr"), INK, "learning rate")
    _epoch_axis(rate, epochs, "learning rate")
    rate.ticklabel_format(axis="y", scilimits=(0, 0))
    rate.set_ylim(bottom=0)
    save(figure, path)


def confusion(matrix: ArrayLike, classes: Sequence[str], path: Path) -> None:
    """A confusion matrix [C, C] (rows are the truth) twice: counts, and percent of each true class.

    A class without samples has a row of dashes. ValueError unless the matrix is as large as `classes`.
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
    save(figure, path)


def label_scores(rows: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """AUROC of each label, `{label: {"auroc", "known", "positives"}}`, with its counts; 0.5 is chance.

    A label whose AUROC is None has no bar. ValueError without a label.
    """
    ensure_any("label_scores", "a label", list(rows))
    figure = new_figure(8, 1.2 + 0.34 * len(rows))
    axes = figure.add_subplot(title="AUROC", xlim=(0, 1))
    places = np.arange(len(rows))
    areas = [row["auroc"] or 0.0 for row in rows.values()]
    said = ["undefined" if row["auroc"] is None else f"{row['auroc']:.3f}" for row in rows.values()]
    words = [
        f"{area} ({row['positives']:,} of {row['known']:,})" for area, row in zip(said, rows.values(), strict=True)
    ]
    bars = axes.barh(places, areas, 0.7, color=BLUE)
    axes.bar_label(bars, words, padding=4, fontsize=8, color=INK)
    axes.axvline(0.5, color=INK, linewidth=0.8, linestyle="--")
    axes.set_yticks(places, list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)  # the first label on top
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def predicted_scores(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """What is predicted against what was given: mean and deviation in each tenth, `[{"given", "predicted", "deviation",
    "samples"}, ...]`. ValueError without a row."""
    ensure_any("predicted_scores", "a score", rows)
    given, predicted, deviation = (_column(rows, key) for key in ("given", "predicted", "deviation"))
    ends = (min(given.min(), (predicted - deviation).min()), max(given.max(), (predicted + deviation).max()))
    figure = new_figure(5, 5)
    axes = figure.add_subplot(title="Scores", xlabel="given", ylabel="predicted (mean and deviation)")
    axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle="--")
    axes.errorbar(given, predicted, deviation, fmt="o", color=BLUE, capsize=3)
    for row in rows:
        axes.annotate(f"{row['samples']:,}", (row["given"], row["predicted"]), (6, -9), textcoords="offset points",
                      fontsize=8, color=INK)  # fmt: skip
    style_axes(axes)
    save(figure, path)


def class_counts(
    counts: Mapping[str, Mapping[str, int]], path: Path, title: str = "Samples of each class", unit: str = "samples"
) -> None:
    """How many samples each class has in each split: `{split: {class: samples}}`, or `{"all": {...}}`; without a `unit`
    they are of several kinds, and not summed up.

    Classes come in the order in which they first appear; a class that a split lacks counts 0. ValueError
    without a class.
    """
    classes = list(dict.fromkeys(name for split in counts.values() for name in split))
    ensure_any("class_counts", "a class", classes)
    thickness = 0.8 / len(counts)
    figure = new_figure(8, 1.2 + max(0.34, 0.2 * len(counts)) * len(classes))
    axes = figure.add_subplot(title=title, xlabel=unit)
    places = np.arange(len(classes))
    for i, (split, by_class) in enumerate(counts.items()):
        offset = (i - (len(counts) - 1) / 2) * thickness
        samples = [by_class.get(name, 0) for name in classes]
        label = f"{split} ({sum(samples):,})" if unit else split
        bars = axes.barh(places + offset, samples, thickness, color=PALETTE[i % len(PALETTE)], label=label)
        axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8, color=INK)
    axes.set_yticks(places, classes)
    axes.set_ylim(len(classes) - 0.5, -0.5)  # the first class on top
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def group_sizes(tallies: Mapping[str, Mapping[int, int]], path: Path) -> None:
    """How large groups are, a panel for each kind: `{"images in a study": {size: groups}}`; bars from size 1 on.

    ValueError without groups.
    """
    ensure_any("group_sizes", "a group", [size for sizes in tallies.values() for size in sizes])
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(4.4 * len(tallies), 3.4)
    panels = figure.subplots(1, len(tallies), squeeze=False)[0]
    for axes, (title, sizes) in zip(panels, tallies.items(), strict=True):
        bars = axes.bar(list(sizes), list(sizes.values()), 0.8, color=BLUE)
        if len(sizes) <= MARKED_EPOCHS:
            axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8, color=INK)
        axes.set(title=title[0].upper() + title[1:], xlabel=title.partition(" ")[0])
        axes.set_xlim(0.4, max(sizes, default=1) + 0.6)
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.margins(y=0.1)
        style_axes(axes)
    save(figure, path)


def image_sizes(sizes: Sequence[tuple[int, int]], path: Path) -> None:
    """Width against height of the images `[(width, height), ...]` in pixels: a dot for each size that occurs.

    The area of a dot grows with the share of the images that have the size. ValueError without images.
    """
    ensure_any("image_sizes", "an image", sizes)
    tally = Counter((int(width), int(height)) for width, height in sizes).most_common()
    points, counts = np.array([size for size, _ in tally]), np.array([count for _, count in tally])
    (width, height), most = tally[0]
    figure = new_figure(6.2, 6.4)
    axes = figure.add_subplot(xlabel="width (pixels)", ylabel="height (pixels)", aspect="equal")
    often = f"{width} × {height} ({100 * most / len(sizes):.0f} %)"
    axes.set_title(f"{len(sizes):,} images, different sizes: {len(tally):,}\nmost often {often}")
    end = 1.1 * points.max()
    axes.plot([0, end], [0, end], "--", color=INK, linewidth=0.8, label="square", zorder=1)
    areas = np.clip(3000 * counts / len(sizes), 8, 300)
    axes.scatter(
        points[:, 0],
        points[:, 1],
        areas,
        color=BLUE,
        alpha=0.5,
        linewidths=0,
        label="a size (area: its images)",
    )
    axes.set(xlim=(0, end), ylim=(0, end))
    style_axes(axes)
    figure.legend(frameon=False, loc="outside lower center", ncols=2)  # inside, it would hide dots
    save(figure, path)


def sample_grid(images: Mapping[str, Sequence[NDArray[np.uint8]]], path: Path) -> None:
    """A row of images for each class: `{class: [uint8 HxW (grey) or HxWx3 (RGB), ...]}`.

    ValueError without images, or naming the first image of another type or shape.
    """
    columns = max(map(len, images.values()), default=0)
    ensure_any("sample_grid", "an image", range(columns))
    figure = new_figure(1.4 + 1.25 * columns, 0.2 + 1.25 * len(images))
    grid = figure.subplots(len(images), columns, squeeze=False)
    for row, (name, of_class) in zip(grid, images.items(), strict=True):
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
    save(figure, path)


def explanation(image: NDArray[np.uint8], maps: Mapping[str, NDArray[np.float32]], path: Path) -> None:
    """An image [H, W], and beside it the same under each heat map `{title: [h, w] in 0..1}`, spread over it."""
    ensure_any("explanation", "a heat map", list(maps))
    figure = new_figure(3.2 * (1 + len(maps)), 3.6)
    panels = figure.subplots(1, 1 + len(maps))
    extent = (0.0, float(image.shape[1]), float(image.shape[0]), 0.0)
    for axes in panels:
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent)
        axes.set_axis_off()
    for axes, (title, heat) in zip(panels[1:], maps.items(), strict=True):
        # The colours of a dark map hide the X-ray: what is cold is left clear.
        axes.imshow(heat, cmap="inferno", alpha=np.clip(0.6 * heat, 0, 0.6), vmin=0, vmax=1, extent=extent)
        axes.set_title(title)
    save(figure, path)


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    values = (row.get(key) for row in rows)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _curve(axes: Axes, epochs: NDArray[Any], values: NDArray[np.float64], colour: str, label: str) -> None:
    marker = "o" if len(epochs) <= MARKED_EPOCHS else ""
    axes.plot(epochs, values, colour, marker=marker, markersize=4, linewidth=1.6, label=label, clip_on=False)


def _mark_best(axes: Axes, epoch: int, value: float) -> None:
    axes.axvline(epoch, color=INK, linestyle=":", linewidth=1, zorder=1)
    label = f"best epoch {epoch}: {value:.4g}"
    axes.plot(epoch, value, "o", markersize=10, markerfacecolor="none", color=GREEN, label=label)


def _epoch_axis(axes: Axes, epochs: NDArray[Any], title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    room = max(0.5, 0.02 * float(epochs[-1] - epochs[0]))
    axes.set_xlim(epochs[0] - room, epochs[-1] + room)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.set(title=(title[0].upper() + title[1:]).replace("auroc", "AUROC"), xlabel="epoch")
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
    axes.spines[:].set_visible(False)
    axes.set(title=title, xlabel="predicted", ylabel="true")
