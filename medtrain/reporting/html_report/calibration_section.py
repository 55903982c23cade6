"""Whether probabilities come true: reliability diagrams before and after the run's temperature, calibration errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medtrain.metrics.calibration import BINS, at_temperature, calibration_error
from medtrain.metrics.numbers import Floats
from medtrain.reporting import shown_labels
from medtrain.reporting.html_report import charts
from medtrain.reporting.html_report.markup import Html, facts, more, note, paragraph, table, tag
from medtrain.reporting.html_report.page_frame import Section, section
from medtrain.reporting.html_report.run_facts import Judged, RunFacts

Bins = list[tuple[float, float, int]]  # mean prediction, share that came true, samples


def reliability_bins(values: Floats, true: NDArray[np.bool_], upper: bool = False) -> Bins:
    """Of each of 15 equal bins that has any: the mean of `values` [N], the share of `true` [N], and how many.

    `upper`: a bin holds its upper end, as the calibration error of several classes has it, and not its lower.
    """
    inner = np.linspace(0, 1, BINS + 1)[1:-1]
    of = np.searchsorted(inner, values, "left") if upper else np.minimum((values * BINS).astype(np.int64), BINS - 1)
    return [
        (float(values[own].mean()), float(true[own].mean()), int(own.sum()))
        for own in (of == place for place in np.unique(of))
    ]


def calibration(facts_of: RunFacts) -> Section:
    """The section, by the kind of problem."""
    if facts_of.task == "score":
        why = "Calibration is of probabilities; this task predicts a number (see predicted against given scores)."
        return section("calibration", "Calibration", paragraph(why))
    if facts_of.judged is None:
        return section("calibration", "Calibration", paragraph(f"No reliability diagram. {facts_of.why_not}"))
    parts = {"multiclass": _of_classes, "multilabel": _of_labels, "abnormality": _of_studies}[facts_of.task]
    return section("calibration", "Calibration", *parts(facts_of, facts_of.judged))


def _of_classes(facts_of: RunFacts, judged: Judged) -> list[Html | None]:
    confidence = judged.raw.max(1, initial=0)
    right = judged.positive[np.arange(len(judged.raw)), judged.raw.argmax(1)]
    return [
        facts([("calibration error (15 bins of the confidence)", facts_of.report["ece"])]),
        *_diagrams(
            {"confidence": reliability_bins(confidence, right, upper=True)}, ("confidence", "share that is right")
        ),
        note("The confidence is the highest probability. No temperature is fitted for this task."),
    ]


def _of_labels(facts_of: RunFacts, judged: Judged) -> list[Html | None]:
    report, known = facts_of.report, judged.known
    values, true = judged.raw[known], judged.positive[known]
    diagrams = {"as predicted": reliability_bins(values, true)} if len(values) else {}
    temperature = report.get("temperature")
    rows: list[tuple[object, object]] = [
        ("mean calibration error of the labels", report.get("macro_ece")),
        ("of all cells together", report.get("micro_ece")),
    ]
    if temperature is not None:
        rows += [
            ("temperature, fitted on validation", temperature),
            ("mean calibration error at it", report.get("macro_ece_at_temperature")),
        ]
        if len(values):
            diagrams["at the temperature"] = reliability_bins(at_temperature(values, temperature), true)
    each = [
        (label, row.get("ece"), *((row.get("ece_at_temperature"),) if temperature is not None else ()))
        for label, row in shown_labels.shown(report["per_class"]).items()
    ]
    heads = (facts_of.label, "calibration error", *(("at the temperature",) if temperature is not None else ()))
    return [
        facts(rows),
        *_diagrams(diagrams, ("predicted probability", "share that is present")),
        table(f"Expected calibration error by {facts_of.label}, 15 bins", heads, each),
        note("The diagrams are of the known cells of all labels together."),
    ]


def _of_studies(facts_of: RunFacts, judged: Judged) -> list[Html | None]:
    values, true = judged.raw[:, -1], judged.positive[:, -1]
    return [
        facts([("calibration error (15 bins), computed for this page", calibration_error(values, true))]),
        *_diagrams({"studies": reliability_bins(values, true)}, ("predicted probability", "share that is abnormal")),
        note("A study's probability is the mean of its images'. No temperature is fitted for this task."),
    ]


def _diagrams(diagrams: dict[str, Bins], axis: tuple[str, str]) -> list[Html | None]:
    if not diagrams or not all(diagrams.values()):
        return [paragraph("Nothing is known of any sample, so that there is no reliability diagram.")]
    figures = [
        charts.reliability(f"reliability-{i}", title, bins, axis) for i, (title, bins) in enumerate(diagrams.items())
    ]
    tables = [
        table(f"Reliability: {title}", ("bin", axis[0], axis[1], "samples"),
              [(str(place), *row) for place, row in enumerate(bins, 1)])
        for title, bins in diagrams.items()
    ]  # fmt: skip
    return [tag("div", *figures, class_="figures small"), more("The numbers of the diagrams", *tables)]
