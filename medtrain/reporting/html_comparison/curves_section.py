"""Curves of the runs over each other: training by epoch, ROC, precision-recall, reliability."""

from __future__ import annotations

from typing import Any

import numpy as np

from medtrain.config import configfile
from medtrain.datasets.labels import PRESENT
from medtrain.evaluation.compared_entries import members
from medtrain.metrics.curves import Curves, curves_of
from medtrain.metrics.metric_words import metric_title
from medtrain.metrics.multilabel_report import known_cells
from medtrain.metrics.numbers import Floats
from medtrain.reporting.html_comparison.overlay_charts import Line, epochs_overlaid, shares_overlaid
from medtrain.reporting.html_report.calibration_section import reliability_bins
from medtrain.reporting.html_report.markup import Html, listed, note, number, paragraph, table, tag
from medtrain.reporting.html_report.page_frame import Section, section
from medtrain.reporting.run_comparison import Compared
from medtrain.reporting.small_cells import masked
from medtrain.runs import journal
from medtrain.runs.run import Run

WIDE = "grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr))"  # on paper too
DRAWN = 48  # labels whose curves are drawn: more would make a file too large to send
DIAGONAL = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))


def training(compared: Compared) -> Section:
    """Loss and the monitored numbers by epoch."""
    rows = {entry.name: [_epochs(run) for run in members(entry)] for entry in compared.runs}
    monitors = [configfile.load(run.config_file).monitor for entry in compared.runs for run in members(entry)]
    figures = []
    for place, name in enumerate(dict.fromkeys(("loss", *monitors))):
        lines = {run: _lines(own, name) for run, own in rows.items()}
        if any(lines.values()):
            figures.append(epochs_overlaid(f"epochs-{place}", metric_title(name), lines))
    if not figures:
        return section("training", "Training", paragraph("No run has an epoch in its journal (metrics.jsonl)."))
    return section(
        "training",
        "Training",
        tag("div", *figures, class_="figures", style=WIDE),
        note("Validation; training thin. A loss with other weights or smoothing is on another scale."),
    )


def _epochs(run: Run) -> list[dict[str, Any]]:
    return sorted(journal.rows(run.journal, "epoch"), key=lambda row: int(row["epoch"]))


def _lines(each: list[list[dict[str, Any]]], name: str) -> dict[str, Line]:
    """Of each run of a group, or of one alone."""
    found = {}
    for place, rows in enumerate(each, 1):
        epochs = np.array([row["epoch"] for row in rows], np.float64)
        for kind, key in (("training", f"train_{name}"), ("validation", f"val_{name}")):
            values = np.array([np.nan if (own := row.get(key)) is None else own for row in rows], np.float64)
            if not np.isnan(values).all():
                found[kind if len(each) == 1 else f"{kind} {place}"] = (epochs, values)
    return found


def curves(compared: Compared) -> Section:
    """ROC, precision-recall and reliability, of the common images."""
    if compared.found["task"] == "score":
        why = "The task predicts a number, for which ROC, precision-recall and reliability are not defined."
        return section("curves", "Curves", paragraph(why))
    of = {label: _curves(compared, label) for label in compared.tested.rankings}
    there = {label: own for label, own in of.items() if own}
    left = [label for label in of if label not in there]
    shown = dict(list(there.items())[:DRAWN])
    parts: list[object] = []
    for kind, title in (("roc", "ROC curves"), ("pr", "Precision-recall curves")):
        figures = [_curve(f"{kind}-{i}", kind, label, own) for i, (label, own) in enumerate(shown.items())]
        parts += [tag("h3", title), tag("div", *figures, class_="figures small")] if figures else []
    gone = f"Without a curve, because all samples are alike or none is known: {listed(left)}. " if left else ""
    more = f"The first {DRAWN} of {len(there)} are drawn. " if len(there) > DRAWN else ""
    parts.append(note(f"{gone}{more}Dashed: chance. Intervals of the areas are in the tables of differences."))
    return section("curves", "Curves", *parts, *_reliability(compared))


def _curves(compared: Compared, label: str) -> dict[str, Curves]:
    """run -> its curves of a label; nothing where all samples are alike."""
    own, positive, scores = compared.tested.rankings[label]
    if not own.any() or positive[own].all() or not positive[own].any():
        return {}
    found = {}
    for run, values in zip(compared.runs, scores, strict=True):
        groups = compared.tested.patients_of
        (curve,) = curves_of(values[:, None], positive[:, None], own[:, None], groups, rounds=0)
        if curve is not None:
            found[run.name] = curve
    return found


def _curve(name: str, kind: str, label: str, own: dict[str, Curves]) -> Html:
    one = next(iter(own.values()))
    told = masked([one.positives, one.negatives], False)
    counts = ", ".join(f"{many:,} {word}" if isinstance(many, int) else f"{many} {word}"
                       for many, word in zip(told, ("positives", "negatives"), strict=True))  # fmt: skip
    if kind == "roc":
        lines = {run: curve.roc for run, curve in own.items()}
        said = f"ROC curves of {label}, {listed(own)}: {counts}"
        return shares_overlaid(name, label, lines, ("1 − specificity", "sensitivity"), DIAGONAL, said)
    share = one.positives / (one.positives + one.negatives)
    chance = (np.array([0.0, 1.0]), np.array([share, share]))
    lines = {run: curve.precision_recall for run, curve in own.items()}
    said = f"Precision-recall curves of {label}, {listed(own)}: {counts}"
    return shares_overlaid(name, label, lines, ("recall", "precision"), chance, said, steps=True)


def _reliability(compared: Compared) -> list[Html | None]:
    axis, judged, upper = _judged(compared)
    bins = {
        run.name: reliability_bins(values, true, upper=upper)
        for run, (values, true) in zip(compared.runs, judged, strict=True)
    }
    if not all(bins.values()):
        return []
    lines = {run: (np.array([row[0] for row in own]), np.array([row[1] for row in own])) for run, own in bins.items()}
    said = f"Reliability diagram of {listed(lines)}; the table below has its numbers"
    rows = [(run, str(place), number(mean), number(share), count)
            for run, own in bins.items() for place, (mean, share, count) in enumerate(own, 1)]  # fmt: skip
    return [
        tag("h3", "Reliability"),
        tag("div", shares_overlaid("reliability", "Reliability", lines, axis, DIAGONAL, said), class_="figures small"),
        table("Reliability, 15 equal bins", ("run", "bin", *axis, "samples"), rows),
    ]


def _judged(compared: Compared) -> tuple[tuple[str, str], list[tuple[Floats, Any]], bool]:
    """What the diagrams are of, by the kind of problem: probabilities of each run, and whether they came true."""
    common, task = compared.common, compared.found["task"]
    if task == "multiclass":
        told = known_cells(common.labels).all(1)
        truth = common.labels[told].argmax(1)
        return (
            ("confidence", "share that is correct"),
            [(own[told].max(1, initial=0), own[told].argmax(1) == truth) for own in common.scores],
            True,
        )
    if task == "multilabel":
        known, positive = known_cells(common.labels), common.labels == PRESENT
        return (
            ("predicted probability", "share that is present"),
            [(own[known], positive[known]) for own in common.scores],
            False,
        )
    every = list(compared.tested.rankings.values())
    positive = every[0][1] if every else np.empty(0, bool)
    scores = every[0][2] if every else [np.empty(0) for _ in compared.runs]
    return ("predicted probability", "share that is abnormal"), [(own, positive) for own in scores], False
