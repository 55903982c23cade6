"""Figures of what a dataset holds: counts of classes and states, sizes of groups and of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from medtrain.reporting.style import (
    BLUE,
    HATCHES,
    INK,
    PALETTE,
    ensure_any,
    new_figure,
    save,
    style_axes,
    whole_numbers,
)

NUMBERED = 25  # beyond this many bars, their numbers would overlap


def class_counts(
    counts: Mapping[str, Mapping[str, int]],
    path: Path,
    title: str = "Images of each class",
    heads: Mapping[str, str] | None = None,
    unit: str = "images",
) -> None:
    """A bar of counts for each class in each split (or state, or kind): `{split: {class: count}}`, or `{"all": {...}}`.

    `heads` are what the legend says of each split. Classes come in the order in which they first appear; a class that a
    split lacks counts 0. ValueError without a class.
    """
    classes = list(dict.fromkeys(name for split in counts.values() for name in split))
    ensure_any("class_counts", "a class", classes)
    thickness = 0.8 / len(counts)
    figure = new_figure(8, 1.2 + max(0.34, 0.2 * len(counts)) * len(classes))
    axes = figure.add_subplot(title=title, xlabel=unit)
    places = np.arange(len(classes))
    for i, (split, by_class) in enumerate(counts.items()):
        offset = (i - (len(counts) - 1) / 2) * thickness
        bars = axes.barh(
            places + offset, [by_class.get(name, 0) for name in classes], thickness, color=PALETTE[i % len(PALETTE)],
            hatch=HATCHES[i % len(HATCHES)], edgecolor="white", linewidth=0, label=(heads or {}).get(split, split),
        )  # fmt: skip
        axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8, color=INK)
    axes.set_yticks(places, classes)
    axes.set_ylim(len(classes) - 0.5, -0.5)  # the first class on top
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(whole_numbers())
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def group_sizes(tallies: Mapping[str, tuple[Mapping[int, int], str]], path: Path) -> None:
    """How large groups are, a panel for each kind: `{"images in a study": ({size: groups}, "studies")}`; bars from size
    1 on.

    ValueError without groups.
    """
    ensure_any("group_sizes", "a group", [size for sizes, _ in tallies.values() for size in sizes])
    figure = new_figure(4.4 * len(tallies), 3.4)
    panels = figure.subplots(1, len(tallies), squeeze=False)[0]
    for axes, (title, (sizes, groups)) in zip(panels, tallies.items(), strict=True):
        bars = axes.bar(list(sizes), list(sizes.values()), 0.8, color=BLUE)
        if len(sizes) <= NUMBERED:
            axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8, color=INK)
        axes.set(title=title[0].upper() + title[1:], xlabel=title.partition("\n")[0], ylabel=groups)
        largest = max(sizes, default=1)
        axes.set_xlim(0.4, largest + 0.6)
        axes.set_xticks(range(1, largest + 1) if largest <= 12 else whole_numbers().tick_values(1, largest))
        axes.set_xlim(0.4, largest + 0.6)
        axes.yaxis.set_major_locator(whole_numbers())
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
