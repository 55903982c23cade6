"""The figures of a comparison: differences with their intervals, and curves of several runs over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from medtrain.metrics.numbers import Floats
from medtrain.reporting.html_report.charts import MARKED, quiet, shortened
from medtrain.reporting.html_report.inline_svg import drawn, new_svg
from medtrain.reporting.html_report.markup import Html
from medtrain.reporting.style import AMBER, BLUE, GREEN, INK, PURPLE, SKY, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

Style = Literal["-", "--", "-.", ":"]
ORDER = (BLUE, VERMILION, GREEN, AMBER, PURPLE, SKY)
STYLES: tuple[Style, ...] = ("-", "--", "-.", ":")  # of runs beyond the colours, and for who cannot tell colours apart
Line = tuple[Floats, Floats]


class Row(NamedTuple):
    """A difference with its 95 % and 90 % intervals; `shown`: it is more than chance."""

    name: str
    difference: float
    interval: list[float] | None
    inner: list[float] | None
    shown: bool


def look(place: int) -> tuple[str, Style]:
    """Colour and line style of a run."""
    return ORDER[place % len(ORDER)], STYLES[place % len(STYLES)]


def difference_forest(name: str, title: str, against: str, rows: Sequence[Row], margin: float | None) -> Html:
    """A dot and its interval for each number; the line is no difference, the band the margin."""
    width, height = 560, 26 * len(rows) + 86
    figure = new_svg(width, height)
    left = (18 + 6.9 * max(len(shortened(row.name)) for row in rows)) / width
    axes = figure.add_axes((left, 44 / height, 0.86 - left, (height - 78) / height))
    if margin:
        axes.axvspan(-margin, margin, color=GREEN, alpha=0.13, linewidth=0)
    axes.axvline(0, color=INK, linewidth=1.1)
    for place, row in enumerate(rows):
        colour = VERMILION if row.shown else BLUE
        if row.interval:
            axes.plot(row.interval, [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
        if row.inner and margin:
            axes.plot(row.inner, [place, place], color=colour, linewidth=4.2, solid_capstyle="butt", alpha=0.6)
        axes.plot(row.difference, place, "D" if row.shown else "o", color=colour, markersize=6.5)
        axes.text(1.02, place, f"{row.difference:+.3f}", va="center", fontsize=10, color=INK,
                  transform=axes.get_yaxis_transform())  # fmt: skip
    quiet(axes, "x")
    every = [0.0, *(row.difference for row in rows), *(end for row in rows for end in row.interval or ())]
    room = max(0.004, 0.08 * (max(every) - min(every)))
    axes.set(xlim=(min(every) - room, max(every) + room), ylim=(len(rows) - 0.4, -0.6))
    axes.xaxis.set_major_locator(_ticks(7))
    axes.set_yticks(range(len(rows)), [shortened(row.name) for row in rows])
    axes.set_xlabel(f"{against}, 95 % interval" + ("; thick 90 %, green: margin" if margin else ""))
    figure.text(0.012, 1 - 20 / height, title, color=INK, fontsize=12, weight="bold")
    said = "; ".join(f"{row.name} {row.difference:+.3f}{' (more than chance)' if row.shown else ''}" for row in rows)
    return drawn(figure, name, f"{title}, {against}: {said}")


def _ticks(many: int) -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(many, steps=[1, 2, 5, 10])


def epochs_overlaid(name: str, title: str, runs: Mapping[str, Mapping[str, Line]]) -> Html:
    """Lines of each run over the epochs: validation, and training thin; `runs` are run -> kind -> (epochs, values)."""
    figure, axes = _panel(title, list(runs))
    most = max((len(x) for own in runs.values() for x, _ in own.values()), default=0)
    for place, own in enumerate(runs.values()):
        colour, style = look(place)
        for kind, (x, y) in own.items():
            thin = kind.startswith("training")
            axes.plot(x, y, color=colour, linestyle=style, linewidth=1.0 if thin else 1.9, alpha=0.6 if thin else 1,
                      marker="o" if most <= MARKED else "", markersize=2.5 if thin else 4)  # fmt: skip
    quiet(axes)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    said = "; ".join(f"{run} {kind} ends at {_last(y)}" for run, own in runs.items() for kind, (_, y) in own.items())
    return drawn(figure, name, f"{title} by epoch: {said}")


def _last(values: Floats) -> str:
    known = values[~np.isnan(values)]
    return f"{known[-1]:.4g}" if len(known) else "nothing"


def shares_overlaid(
    name: str, title: str, runs: Mapping[str, Line], axis: tuple[str, str], chance: Line, said: str, steps: bool = False
) -> Html:
    """Curves of each run in a square from 0 to 1, and a dashed line of chance or of what is perfect."""
    figure, axes = _panel(title, list(runs), (300, 318), (0.17, 0.15, 0.8, 0.68))
    axes.plot(*chance, color=INK, linewidth=0.9, linestyle="--")
    for place, (x, y) in enumerate(runs.values()):
        colour, style = look(place)
        if steps:  # a precision holds up to its recall
            x, y = np.repeat(np.append(0, x), 2)[1:-1], np.repeat(y, 2)
        axes.plot(x, y, color=colour, linestyle=style, linewidth=1.8)
    quiet(axes)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axes.set_xlabel(axis[0], labelpad=1)
    axes.set_ylabel(axis[1], labelpad=1)
    return drawn(figure, name, said)


def _panel(
    title: str, runs: Sequence[str], size: tuple[float, float] = (400, 285),
    place: tuple[float, float, float, float] = (0.14, 0.155, 0.83, 0.645),
) -> tuple[Figure, Axes]:  # fmt: skip
    """An empty figure with a title and, below it, which line is which run."""
    from matplotlib.lines import Line2D

    figure = new_svg(*size)
    axes = figure.add_axes(place)
    figure.text(0.02, 0.945, shortened(title), color=INK, fontsize=11.5, weight="bold")
    lines = [Line2D([], [], color=look(i)[0], linestyle=look(i)[1], linewidth=1.9) for i in range(len(runs))]
    names = [shortened(run) for run in runs]
    abreast = int(size[0] // (52 + 6.5 * max(map(len, names))))
    figure.legend(
        lines, names, loc="upper left", bbox_to_anchor=(0.005, 0.94), frameon=False, borderpad=0, handlelength=1.9,
        ncols=max(1, min(len(runs), abreast)), fontsize=9.5, labelcolor=INK, columnspacing=1.1,
    )  # fmt: skip
    return figure, axes
