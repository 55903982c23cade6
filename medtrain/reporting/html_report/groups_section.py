"""The same numbers by dataset, on the dataset that was held out, and by group of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medtrain.metrics.intervals import exact_of, known_ends
from medtrain.reporting.html_report import charts
from medtrain.reporting.html_report.markup import (
    Html,
    joined,
    note,
    number,
    paragraph,
    table,
    tag,
    with_interval,
)
from medtrain.reporting.html_report.overview import MAIN
from medtrain.reporting.html_report.page_frame import Section, section
from medtrain.reporting.html_report.run_facts import RunFacts
from medtrain.reporting.small_cells import FEW, masked

OLDEST = 90  # an age from which on people are known by it
GAP = (
    "A gap is a group's number minus that of the rest, the other groups together, of the labels for which both are"
    " defined; its interval is by patient. Where it holds 0, or every"
    " resample gives the same and there is none, no difference is shown. Of several groups some intervals"
    " miss 0 by chance alone."
)
ATTRIBUTES = {"sex": "Sex", "age": "Age in years", "view": "View", "labelled_by": "Labelled by"}


@dataclass(frozen=True)
class Row:
    """A group of samples: what is said of how many there are, and its main metric where that may be told."""

    name: str
    count: object
    value: float | None
    ends: Sequence[float | None] | None
    hidden: bool = False
    patients: object = None
    gap: float | None = None  # to the rest of the split
    gap_ends: Sequence[float | None] | None = None
    exact: bool = False  # the interval of its metric


def groups(facts_of: RunFacts) -> Section:
    """The section."""
    metric, words = next(iter(MAIN[facts_of.task].items()))
    whole = _row("all of the split", facts_of.report, metric)
    parts: list[object] = []
    if each := facts_of.report.get("per_dataset"):
        rows = [_row(name, own, metric) for name, own in each.items()]
        parts += _forest("dataset", "By dataset", whole, rows, words, facts_of.unit)
    if facts_of.external:
        rows = [_row(facts_of.config.data.holdout or "external", facts_of.external, metric)]
        parts += _forest("external", "On the dataset that was held out", whole, rows, words, facts_of.unit)
        parts.append(note(f"{facts_of.config.data.holdout or 'It'} had no part in training or validation."))
    for attribute, own in facts_of.report.get("subgroups", {}).items():
        unit = facts_of.config.data.unit
        rows = private(
            [_row(_group(attribute, name), report, metric) for name, report in own.items()], facts_of.small_cells
        )
        base = whole
        if "per_image" in facts_of.report:  # of studies the groups are of images
            base = _row("all images of the split", facts_of.report["per_image"], metric)
        parts += _forest(attribute, ATTRIBUTES.get(attribute, attribute), base, rows, words, unit)
        if any(row.hidden for row in rows):
            parts.append(
                note(
                    f"Groups of fewer than {FEW} {unit} or patients are not shown, because few people may be known"
                    " by their numbers; nor is the exact size of the group from which theirs could be"
                    " computed."
                )
            )
    if any("gap" in one for own in facts_of.report.get("subgroups", {}).values() for one in own.values()):
        parts.append(note(GAP))
    if not parts:
        parts.append(
            paragraph(
                "The report is of one dataset, and the shards tell nothing of the patients (sex, age) or"
                " of the view, so that there are no groups to compare."
            )
        )
    return section("groups", "Datasets and subgroups", *parts)


def _row(name: str, report: Mapping[str, Any], metric: str) -> Row:
    gap = report.get("gap", {})
    gap = {} if gap.get("metric") != metric else gap
    return Row(
        name, report["samples"], report.get(metric), report.get(f"{metric}_interval"), False, report.get("patients"),
        gap.get("difference"), gap.get("difference_interval"), bool(exact_of(report, metric)),
    )  # fmt: skip


def private(rows: list[Row], small_cells: bool) -> list[Row]:
    """The rows with what may be told: of a group of fewer than FEW samples or patients nothing but that.

    Where its size would follow from the sum, that of another one is left open too; and of two groups the gap, which
    would tell the other's number.
    """
    small = {i for i, row in enumerate(rows) if any(isinstance(many, int) and many < FEW
             for many in (row.count, row.patients))}  # fmt: skip
    if small_cells or not small:
        return rows
    counts = masked([int(str(row.count)) for row in rows], False, small)
    more = {i for i, count in enumerate(counts) if isinstance(count, str)}
    patients: list[object] = [row.patients for row in rows]
    if None not in patients:
        patients = masked([int(str(many)) for many in patients], False, more)
    found = [replace(row, count=count, patients=many) for row, count, many in zip(rows, counts, patients, strict=True)]
    found = [_hidden(row) if i in small else row for i, row in enumerate(found)]
    return [replace(row, gap=None, gap_ends=None) for row in found] if len(rows) - len(small) < 2 else found


def _hidden(row: Row) -> Row:
    """A row of which only is told that it is small, and of what."""
    return Row(row.name, row.count, None, None, True, row.patients)


def _group(attribute: str, name: str) -> str:
    """A group's name; a single age above 89 is 90+."""
    if attribute != "age":
        return name
    if name.isdigit() and int(name) >= OLDEST:
        return f"{OLDEST}+"
    first, _, rest = name.partition(" ")
    return f"{int(first)} {rest}".strip() if first.isdigit() else name


def _forest(name: str, title: str, whole: Row, rows: list[Row], words: str, unit: str) -> list[Html]:
    """A figure of the groups that have a value, and the table of them all."""
    told = [row for row in (whole, *rows) if row.value is not None]
    figures, against_rest = [], any(row.gap is not None for row in rows)
    if whole.value is not None and len(told) > 1:
        lines = [charts.Line(row.name, float(str(row.value)), known_ends(row.ends)) for row in told]
        said = "; ".join(f"{row.name} {row.value:.3f}" for row in told)
        figures.append(charts.forest(f"forest-{name}", f"{title}, {words}: {said}", lines, f"{words}, 95 % interval"))
    gaps = [charts.Line(row.name, row.gap, known_ends(row.gap_ends)) for row in rows if row.gap is not None]
    if gaps:
        said = "; ".join(f"{row.name} {row.value:+.3f}" for row in gaps)
        about = f"{title}, gap to the rest in {words}: {said}"
        figures.append(charts.forest(f"gaps-{name}", about, gaps, "gap to the rest, 95 % interval", zero=True))
    patients = any(row.patients is not None for row in rows)
    cells = []
    for row in (whole, *rows):
        gap = None if row.value is None or whole.value is None or row is whole else row.value - whole.value
        differing = _signed(row.gap, row.gap_ends) if against_rest else _signed(gap)
        cells.append((
            row.name, row.count, *([row.patients if row is not whole else ""] if patients else ()),
            with_interval(row.value, row.ends, exact=row.exact), "" if row is whole else differing,
        ))  # fmt: skip
    last = "gap to the rest" if against_rest else "difference to all"
    heads = ("group", unit, *(["patients"] if patients else ()), words, last)
    drawn = tag("div", *figures, class_="figures wide") if figures else None
    return [joined(tag("h3", title), drawn, table(f"{title}: {words}", heads, cells))]


def _signed(gap: float | None, ends: Sequence[float | None] | None = None) -> Html:
    """A difference with its sign, and its interval where it has one."""
    if gap is None:
        return number(None)
    known = known_ends(ends)
    interval = tag("span", " (", _sign(known[0]), " to ", _sign(known[1]), ")", class_="interval") if known else None
    return joined(_sign(gap), interval)


def _sign(gap: float) -> Html:
    rounded = f"{gap:+.3f}" if abs(gap) >= 0.0005 else "0.000"
    return tag("data", rounded.replace("-", "−"), value=repr(gap), title=repr(gap))
