"""The report of a split in words and tables."""

from __future__ import annotations

from typing import Any

from medtrain.core.console import table
from medtrain.metrics.intervals import exact_of, known_ends
from medtrain.reporting.shown_labels import in_words, left_out, shown
from medtrain.tasks import Task


def report_text(report: dict[str, Any], task: Task) -> str:
    """The headline and a table with a row for each label."""
    copies = f"; {report['copies_left_out']} byte-identical copies left out" if report["copies_left_out"] else ""
    rows = [
        (name, *(_cell(row, column) for column in task.columns.values()))
        for name, row in {**shown(report["per_class"]), **_averages(report, task)}.items()
        if row.get("samples") != 0  # as those of other study types
    ]
    head = f"{task.headline(report)} on {report['samples']:,} {task.unit}{copies}"
    others = [
        f"per {word}: {task.headline(own)} on {own['samples']:,} {units}"
        for word, units in (("study", "studies"), ("image", "images"))
        if (own := report.get(f"per_{word}"))
    ]
    unit = "images" if task.unit == "studies" else task.unit
    groups = [
        f"{attribute} {name}: {task.headline(own)} on {own['samples']:,} {unit}"
        for attribute, groups in report.get("subgroups", {}).items()
        for name, own in groups.items()
    ]
    hidden = in_words(left_out(report["per_class"]))
    others = [*([hidden] if hidden else []), *others]
    return "\n".join([head, table((task.label, *task.columns), rows), *others, *_by_dataset(report, task), *groups])


def _averages(report: dict[str, Any], task: Task) -> dict[str, dict[str, Any]]:
    """The means over the labels (macro) and the numbers of all cells together (micro), as rows of the same table."""
    found = {
        kind: {column: report.get(f"{kind}_{column}") for column in task.columns.values()}
        for kind in ("macro", "micro")
    }
    return {kind: row for kind, row in found.items() if any(value is not None for value in row.values())}


def _by_dataset(report: dict[str, Any], task: Task) -> list[str]:
    """A line for each of several datasets, and a table of the labels' AUROCs in each."""
    each = report.get("per_dataset", {})
    lines = [f"{name}: {task.headline(own)} on {own['samples']:,} {task.unit}" for name, own in each.items()]
    rows = [
        (name, *(own["per_class"][name].get("auroc") for own in each.values())) for name in shown(report["per_class"])
    ]
    if any(cell is not None for row in rows for cell in row[1:]):
        lines.append(table((f"AUROC by {task.label}", *each), rows))
    return lines


def _cell(row: dict[str, Any], column: str) -> Any:
    """An interval in words; a number as it is."""
    value = row.get(column)
    if not isinstance(value, list):
        return value
    if (ends := known_ends(value)) is None:
        return "-"
    return f"{ends[0]:.3f} to {ends[1]:.3f}{', exact' if exact_of(row, column.removesuffix('_interval')) else ''}"
