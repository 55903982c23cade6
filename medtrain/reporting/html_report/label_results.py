"""Results by label: the table of all numbers, AUROC bars, ROC and precision-recall curves, every number exactly."""

from __future__ import annotations

import math
from typing import Any

from medtrain.metrics.curves import Curves
from medtrain.metrics.intervals import exact_of, known_ends
from medtrain.reporting import shown_labels
from medtrain.reporting.html_report import charts
from medtrain.reporting.html_report.markup import (
    Html,
    joined,
    listed,
    more,
    note,
    number,
    paragraph,
    table,
    tag,
    with_interval,
)
from medtrain.reporting.html_report.overview import OF_FEW_NOTE, all_numbers
from medtrain.reporting.html_report.page_frame import Section, section
from medtrain.reporting.html_report.run_facts import ALL, RunFacts
from medtrain.reporting.small_cells import FEW, counted, label_counts, masked, masked_states

WORDS = {
    "support": "images",
    "known": "known",
    "positives": "positives",
    "samples": "samples",
    "abnormal": "abnormal",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "threshold": "threshold",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "ece": "calibration error",
    "ece_at_temperature": "at the temperature",
    "kappa": "kappa",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "spearman": "Spearman's ρ",
}
DRAWN = 48  # labels whose curves are drawn: more would make a file too large to send
AVERAGES = {"macro": "mean (macro)", "micro": "all cells (micro)"}


def label_results(facts_of: RunFacts) -> Section:
    """The section."""
    rows = shown_labels.shown(facts_of.report["per_class"])
    names = [key for key in WORDS if any(key in row for row in rows.values())]
    told = label_counts(facts_of.report, facts_of.small_cells)
    lines = [(label, *(told_or_value(told.get(label, {}), row, key) for key in names)) for label, row in rows.items()]
    means = [] if facts_of.task == "score" else _averages(facts_of.report, names)
    heads = (facts_of.label, *(WORDS[key] for key in names))
    parts: list[object] = [table(f"All numbers by {facts_of.label}", heads, lines, foot=means)]
    hides = any(isinstance(own, str) for each in told.values() for own in each.values())
    parts += [note(OF_FEW_NOTE) if hides else None, _of_nothing(facts_of), _bars(facts_of), *_curves(facts_of, told)]
    exact = table(
        f"Every number of {facts_of.split}.json to its last digit, without subgroups",
        ("number", "value"),
        [(name, exactly(value)) for name, value in all_numbers(counted(facts_of.report, facts_of.small_cells))],
        words=(1,),
    )
    parts.append(
        tag("div", more("Every number, to its last digit (not printed)", exact, on_paper=False), id="all-numbers")
    )
    title = "Results" if facts_of.task == "score" else f"Results by {facts_of.label}"
    return section("labels", title, *parts)


def told_or_value(told: dict[str, object], row: dict[str, Any], key: str) -> object:
    """What may be told of a row's count, or another number with its interval."""
    return told[key] if isinstance(told.get(key), str) and key in row else value_of(row, key)


def exactly(value: object) -> Html:
    """A number to its last digit; words as they are."""
    return tag("code", "null" if value is None else value if isinstance(value, str) else repr(value))


def value_of(row: dict[str, Any], key: str) -> Html:
    """A number of a row of a report with its interval; nothing where the row has no such number."""
    if key not in row and f"{key}_interval" not in row:
        return tag("span", class_="none")
    return with_interval(row.get(key), row.get(f"{key}_interval"), exact=bool(exact_of(row, key)))


def _averages(report: dict[str, Any], names: list[str]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for kind, words in AVERAGES.items():
        own = {key.removeprefix(f"{kind}_"): value for key, value in report.items() if key.startswith(f"{kind}_")}
        if own.keys() & {*names}:
            found.append((words, *(value_of(own, key) for key in names)))
    return found


def _of_nothing(facts_of: RunFacts) -> Html | None:
    """Labels that no training image shows."""
    unlearned = [label for label, row in facts_of.report["per_class"].items() if row.get("learned") is False]
    if not unlearned:
        return None
    return note(
        f"No training image shows {listed(unlearned)}: the run has learned nothing of that. Only counts are given, and"
        " no row where this split has none either."
    )


def _bars(facts_of: RunFacts) -> Html | None:
    rows = shown_labels.shown(facts_of.report["per_class"])
    if not any("auroc" in row for row in rows.values()):
        return None
    own = facts_of.curves
    computed = not any("auroc_interval" in row for row in rows.values())
    shown = {}
    for label, row in rows.items():
        if row.get("auroc") is not None:
            curves = own.get(label)
            ends = curves.auroc_interval if computed and curves else row.get("auroc_interval")
            shown[label] = (row["auroc"], known_ends(ends))
    left = [label for label in rows if label not in shown]
    gone = (
        note(f"Not in the figure, because AUROC is undefined (all samples alike, or none): {listed(left)}.")
        if left
        else None
    )
    if not shown:
        return joined(tag("h3", "AUROC"), gone)
    said = "; ".join(f"{label} {value:.3f}" for label, (value, _) in shown.items())
    about = note("The intervals of one class against the rest are computed for this page, from the scores of the images"
                 ", by patient.") if computed and own else None  # fmt: skip
    return joined(tag("h3", "AUROC"), charts.bars("auroc", f"AUROC by {facts_of.label}: {said}", shown), gone, about)


def _curves(facts_of: RunFacts, told: dict[str, dict[str, object]]) -> list[object]:
    """A panel for each label that has both states, beside what may be `told` of how many there are."""
    if not facts_of.curves:
        return [paragraph(f"No ROC and precision-recall curves. {facts_of.why_not}")]
    there = {label: curves for label, curves in facts_of.curves.items() if curves is not None}
    if len(there) == 2 and ALL in there and facts_of.task == "abnormality":
        del there[ALL]  # of one study type all is the same
    left = [label for label in facts_of.curves if label not in there and label != ALL]
    parts: list[object] = []
    drawn = dict(list(there.items())[:DRAWN])
    counts = _states(facts_of, there, told)
    for kind, title in (("roc", "ROC curves"), ("pr", "Precision-recall curves")):
        panel = charts.CurvePanel(kind)
        figures = [panel.draw(f"{kind}-{i}", label, own, counts[label][0])
                   for i, (label, own) in enumerate(drawn.items())]  # fmt: skip
        parts += [tag("h3", title), tag("div", *figures, class_="figures small")] if figures else []
    parts.append(
        note(
            "Shaded: pointwise 95 % band, by patient, where resamples differ. Dashed: chance. "
            + (f"Without a curve, because all samples are alike or none is known: {listed(left)}. " if left else "")
            + (f"The first {DRAWN} of {len(there)} are drawn." if len(there) > DRAWN else "")
        )
    )
    parts.append(
        more(
            "What the curves are of",
            table(
                "Positives and negatives",
                (facts_of.label, "positives", "negatives"),
                [(label, *own) for label, own in counts.items()],
            ),
        )
    )
    return parts


def _states(
    facts_of: RunFacts, curves: dict[str, Curves], told: dict[str, dict[str, object]]
) -> dict[str, tuple[object, object]]:
    """label -> how many positives and negatives its curves are of, as far as that may be told."""
    first, second = {"multiclass": ("support", ""), "abnormality": ("abnormal", "normal")}.get(
        facts_of.task, ("positives", "negatives")
    )
    found: dict[str, tuple[object, object]] = {}
    for label, own in curves.items():
        both = masked([own.positives, own.negatives], facts_of.small_cells)
        if label == ALL:
            both = masked_states(facts_of.report, facts_of.small_cells)
        hidden = [told.get(label, {}).get(key) for key in (first, second)]
        shown = [word if isinstance(word, str) else one for word, one in zip(hidden, both, strict=True)]
        if facts_of.task == "multiclass" and isinstance(shown[0], str):  # they add up to all samples
            shown[1] = masked([own.positives, own.negatives], False)[1] if own.positives < FEW else shown[0]
        found[label] = (shown[0], shown[1])
    return found


def operating_points(facts_of: RunFacts) -> Section:
    """Sensitivity at a specificity, and the other way round."""
    there = {label: own for label, own in facts_of.curves.items() if own is not None}
    if not there:
        why = facts_of.why_not or "No label has both positives and negatives."
        return section("operating", "Operating points", paragraph(f"No operating points. {why}"))
    first = next(iter(there.values()))
    heads = [f"{one.number} at {100 * one.at:.0f} % {_other(one.number)}" for one in first.points]
    rows = [
        (label, *(with_interval(one.value, (one.low, one.high), exact=one.exact) for one in own.points))
        for label, own in there.items()
    ]
    log_odds = facts_of.task == "multiclass"
    limits = [
        (label, *(number(_probability(one.threshold, log_odds), 4) for one in own.points))
        for label, own in there.items()
    ]
    return section(
        "operating",
        "Operating points",
        paragraph(
            f"The thresholds below are chosen on this split ({facts_of.split}), and the numbers are therefore too"
            " good: to use a threshold, choose it on other data."
        ),
        table(f"Operating points by {facts_of.label}, with 95 % intervals by patient", (facts_of.label, *heads), rows),
        more("The thresholds", table("Thresholds of the probability", (facts_of.label, *heads), limits)),
    )


def _probability(threshold: float, log_odds: bool) -> float:
    """A threshold as a probability; infinite where only predicting nothing is sure enough."""
    return 1 / (1 + math.exp(-threshold)) if log_odds and math.isfinite(threshold) else threshold


def _other(number_: str) -> str:
    return "specificity" if number_ == "sensitivity" else "sensitivity"
