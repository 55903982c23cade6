"""The figures of the page, each as wide as a column of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medtrain.core.console import in_line
from medtrain.metrics.curves import Curves
from medtrain.metrics.numbers import Floats
from medtrain.reporting.html_report.inline_svg import Hovers, drawn, new_svg, places
from medtrain.reporting.html_report.markup import Html
from medtrain.reporting.style import AMBER, BLUE, GREEN, INK, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Ends = list[float] | None  # of an interval
FAINT = 0.18  # how dark a grid is
FOREST = 420  # pixels that a forest plot is wide: two stand beside each other
LONGEST = 26  # letters of a name beside a figure: the table has the whole
HOVERED = 100  # beyond this many epochs, a pointer would not find the one it looks for
ON_A_CURVE = 24  # points at which a pointer is told the numbers
MARKED = 25  # beyond this many epochs, a dot on each would hide the line


def shortened(name: str) -> str:
    """A name that fits beside a figure."""
    text = in_line(name)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _room(names: Iterable[str]) -> float:
    """Pixels for the longest of some names beside a figure."""
    return 16 + 6.9 * max(len(shortened(name)) for name in names)


def quiet(axes: Axes, grid: str = "both") -> None:
    """A faint grid, no frame above and to the right, all in the page's ink."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=10, length=3)
    axes.grid(True, axis=grid, color=INK, alpha=FAINT, linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(INK)
        label.set_fontsize(11)


def by_epoch(name: str, title: str, epochs: Sequence[int], lines: Mapping[str, Floats], best: int | None) -> Html:
    """Lines over the epochs, NaN where there is nothing; the best epoch is marked in words."""
    figure = new_svg(380, 265)
    axes = figure.add_axes((0.15, 0.16, 0.82, 0.63))
    colours = dict(zip(("training", "validation", "learning rate"), (BLUE, VERMILION, GREEN), strict=True))
    for label, values in lines.items():
        marker = "o" if len(epochs) <= MARKED else ""
        axes.plot(epochs, values, color=colours[label], marker=marker, markersize=3.5, linewidth=1.7, label=label)
    quiet(axes)
    room = max(0.5, 0.02 * (epochs[-1] - epochs[0]))
    axes.set_xlim(epochs[0] - room, epochs[-1] + room)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    if best is not None:
        axes.axvline(best, color=INK, linestyle=":", linewidth=1.2)
        axes.annotate(
            f"best epoch {best}",
            (best, 1.0),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=INK,
            fontsize=10,
        )
    if len(lines) > 1:
        legend = figure.legend(loc="upper right", ncols=2, frameon=False, fontsize=10, labelcolor=INK, borderpad=0)
        legend.set_in_layout(False)
    figure.text(0.02, 0.93, title, color=INK, fontsize=12, weight="bold")
    hovers: Hovers = []
    for label, values in lines.items() if len(epochs) <= HOVERED else ():
        told = [(epoch, value) for epoch, value in zip(epochs, values, strict=True) if not np.isnan(value)]
        words = [f"epoch {epoch}, {label}: {value:.6g}" for epoch, value in told]
        hovers += places(axes, [epoch for epoch, _ in told], [value for _, value in told], words)
    ends = ", ".join(f"{label} from {_ends(values)}" for label, values in lines.items())
    marked = "" if best is None else f"; best epoch {best}"
    return drawn(figure, name, f"{title} by epoch, {epochs[0]} to {epochs[-1]}: {ends}{marked}", hovers=hovers)


def _ends(values: Floats) -> str:
    known = values[~np.isnan(values)]
    return f"{known[0]:.4g} to {known[-1]:.4g}" if len(known) else "nothing"


def bars(name: str, words: str, rows: Mapping[str, tuple[float, Ends]], label: str = "AUROC") -> Html:
    """A bar for each name from 0 to 1 with its interval; 0.5 is marked."""
    height = 22 * len(rows) + 48
    figure = new_svg(500, height)
    left = _room(rows) / 500
    axes = figure.add_axes((left, 34 / height, 0.91 - left, (height - 40) / height))
    places_ = np.arange(len(rows))
    axes.barh(places_, [value for value, _ in rows.values()], 0.62, color=BLUE)
    for place, (value, ends) in enumerate(rows.values()):
        if ends:
            axes.plot(ends, [place, place], color=AMBER, linewidth=2.2, solid_capstyle="butt")
            axes.plot(ends, [place, place], "|", color=AMBER, markersize=9, markeredgewidth=1.8)
        axes.text(1.015, place, f"{value:.3f}", va="center", fontsize=10, color=INK)
    axes.axvline(0.5, color=INK, linewidth=1, linestyle="--")
    quiet(axes, "x")
    axes.set_yticks(places_, [shortened(one) for one in rows])
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.45, -0.55), xlabel=f"{label}; line: 95 % interval; dashed: chance")
    values = [value for value, _ in rows.values()]
    return drawn(figure, name, words, hovers=places(axes, values, places_, _told(rows.items())))


def _told(rows: Iterable[tuple[str, tuple[float, Ends]]]) -> list[str]:
    """A name, its value and its interval in words."""
    found = []
    for name, (value, ends) in rows:
        interval = f" ({ends[0]:.4f} to {ends[1]:.4f})" if ends else ""
        found.append(f"{name}: {value:.4f}{interval}")
    return found


def _spread(x: Floats, y: Floats) -> NDArray[np.intp]:
    """Which points of a curve are a word each: some of them, evenly along it."""
    way = np.append(0, np.cumsum(np.hypot(np.diff(x), np.diff(y))))
    return np.unique(np.searchsorted(way, np.linspace(0, way[-1], ON_A_CURVE)).clip(0, len(x) - 1))


def amounts(name: str, title: str, rows: Mapping[str, int], unit: str) -> Html:
    """A bar for each name, as long as how many there are."""
    height = 22 * len(rows) + 50
    figure = new_svg(FOREST, height)
    left = _room(rows) / FOREST
    axes = figure.add_axes((left, 36 / height, 0.86 - left, (height - 42) / height))
    most = max(1, *rows.values())
    axes.barh(range(len(rows)), list(rows.values()), 0.62, color=BLUE)
    for place, many in enumerate(rows.values()):
        axes.text(many + 0.015 * most, place, f"{many:,}", va="center", fontsize=10, color=INK)
    quiet(axes, "x")
    axes.set_yticks(range(len(rows)), [shortened(one) for one in rows])
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.set(xlim=(0, most), ylim=(len(rows) - 0.45, -0.55), xlabel=unit)
    said = "; ".join(f"{one} {many:,}" for one, many in rows.items())
    told = [f"{one}: {many:,} {unit}" for one, many in rows.items()]
    return drawn(
        figure, name, f"{title}, {unit}: {said}", hovers=places(axes, list(rows.values()), range(len(rows)), told)
    )


class CurvePanel:
    """The small figures of one `kind` of curve, roc or precision-recall; drawn one after the other on the same axes,
    which takes half of the time of new ones."""

    def __init__(self, kind: str) -> None:
        self.roc = kind == "roc"
        self.figure = new_svg(250, 262)
        self.axes = self.figure.add_axes((0.19, 0.17, 0.78, 0.735))
        self.colour = BLUE if self.roc else GREEN
        (self.line,) = self.axes.plot([], [], color=self.colour, linewidth=1.7)
        (self.chance,) = self.axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle="--")
        quiet(self.axes)
        self.axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        x, y = ("1 − specificity", "sensitivity") if self.roc else ("recall", "precision")
        self.axes.set_xlabel(x, labelpad=1)
        self.axes.set_ylabel(y, labelpad=1)
        self.title = self.figure.text(0.02, 0.945, "", color=INK, fontsize=11.5, weight="bold")

    def draw(self, name: str, label: str, curves: Curves, positives: object) -> Html:
        """The curve of one label with its band; `positives` is what may be told of how many there are."""
        band = None
        (x, y), ends = (curves.roc, curves.roc_band) if self.roc else (curves.precision_recall, curves.precision_band)
        if not self.roc:
            share = curves.positives / (curves.positives + curves.negatives)
            self.chance.set_ydata([share, share])
            x, y = np.repeat(np.append(0, x), 2)[1:-1], np.repeat(y, 2)  # a precision holds up to its recall
        own = _spread(x, y)
        first, second = ("1 − specificity", "sensitivity") if self.roc else ("recall", "precision")
        told = [f"{first} {one:.4f}, {second} {other:.4f}" for one, other in zip(x[own], y[own], strict=True)]
        self.line.set_data(x, y)
        if not np.isnan(ends.low).all():
            band = self.axes.fill_between(ends.x, ends.low, ends.high, color=self.colour, alpha=0.22, linewidth=0)
        self.title.set_text(shortened(label))
        many = f"{positives:,}" if isinstance(positives, int) else positives
        what = "ROC curve" if self.roc else "Precision-recall curve"
        found = drawn(self.figure, name, f"{what} of {label} with its 95 % band; {many} positives",
                      hovers=places(self.axes, x[own], y[own], told))  # fmt: skip
        if band is not None:
            band.remove()
        return found


def reliability(name: str, title: str, rows: Sequence[tuple[float, float, int]], axis: tuple[str, str]) -> Html:
    """How often what was predicted came true, a dot a bin: `(mean prediction, share, samples)`; the area of a dot grows
    with its samples."""
    figure = new_svg(300, 310)
    axes = figure.add_axes((0.17, 0.15, 0.8, 0.75))
    predicted, share, count = np.array(rows, np.float64).T
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle="--")
    axes.plot(predicted, share, color=BLUE, linewidth=1.2)
    axes.scatter(predicted, share, np.clip(260 * count / count.sum(), 9, 150), color=BLUE, alpha=0.75, linewidths=0)
    quiet(axes)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_xlabel(axis[0])
    axes.set_ylabel(axis[1])
    told = [f"{axis[0]} {mean:.4f}, {axis[1]} {part:.4f}, {many:,} samples" for mean, part, many in rows]
    figure.text(0.02, 0.945, title, color=INK, fontsize=12, weight="bold")
    return drawn(figure, name, f"Reliability diagram, {title}, {len(rows)} bins; the table below has its numbers",
                 hovers=places(axes, predicted, share, told))  # fmt: skip


class Line(NamedTuple):
    """A row of a forest plot: a number and its interval."""

    name: str
    value: float
    ends: Ends = None


def forest(name: str, words: str, rows: Sequence[Line], label: str, zero: bool = False) -> Html:
    """A dot and its interval for each group; the dashed line is that of the first row, all together, or at `zero`, for
    differences."""
    height = 25 * len(rows) + 52
    figure = new_svg(FOREST, height)
    left = _room(row.name for row in rows) / FOREST
    axes = figure.add_axes((left, 38 / height, 0.87 - left, (height - 44) / height))
    line = 0.0 if zero else rows[0].value
    every = [line, *(one for row in rows for one in (row.value, *(row.ends or ())))]
    room = max(0.02, 0.08 * (max(every) - min(every)))
    for place, row in enumerate(rows):
        first = place == 0 and not zero
        colour = VERMILION if first else BLUE
        if row.ends:
            axes.plot(row.ends, [place, place], color=colour, linewidth=2)
        axes.plot(row.value, place, "D" if first else "o", color=colour, markersize=7)
        said = (f"{row.value:+.3f}" if zero else f"{row.value:.3f}").replace("-", "−")
        axes.text(1.02, place, said, va="center", fontsize=10, color=INK, transform=axes.get_yaxis_transform())
    axes.axvline(line, color=INK, linewidth=1, linestyle="--")
    quiet(axes, "x")
    axes.set_yticks(range(len(rows)), [shortened(row.name) for row in rows])
    axes.locator_params(axis="x", nbins=6)
    axes.set(xlim=(min(every) - room, max(every) + room), ylim=(len(rows) - 0.4, -0.6), xlabel=label)
    told = _told((row.name, (row.value, row.ends)) for row in rows)
    return drawn(figure, name, words, hovers=places(axes, [row.value for row in rows], range(len(rows)), told))


def given_and_predicted(name: str, rows: Sequence[Mapping[str, Any]], label: str) -> Html:
    """Mean prediction and its deviation in each tenth of what was given of the score `label`."""
    figure = new_svg(360, 350)
    axes = figure.add_axes((0.15, 0.13, 0.82, 0.84))
    given, predicted, spread = (np.array([row[key] for row in rows]) for key in ("given", "predicted", "deviation"))
    ends = [min(given.min(), (predicted - spread).min()), max(given.max(), (predicted + spread).max())]
    axes.plot(ends, ends, color=INK, linewidth=0.9, linestyle="--")
    axes.errorbar(given, predicted, spread, fmt="o", color=BLUE, capsize=3)
    quiet(axes)
    axes.set(xlabel=f"{shortened(label)}, given", ylabel="predicted (mean and deviation)")
    told = [f"given {one:.4f}, predicted {other:.4f}" for one, other in zip(given, predicted, strict=True)]
    words = f"{label}, predicted against given in {len(rows)} tenths; the table has the numbers"
    return drawn(figure, name, words, hovers=places(axes, given, predicted, told))
