"""What is predicted and what is true: confusion matrices, counts at thresholds, predicted against given scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medtrain.reporting.html_report import charts
from medtrain.reporting.html_report.markup import (
    Html,
    cell,
    facts,
    joined,
    listed,
    number,
    paragraph,
    scrolled,
    table,
    tag,
)
from medtrain.reporting.html_report.overview import LARGEST
from medtrain.reporting.html_report.page_frame import Section, section
from medtrain.reporting.html_report.run_facts import RunFacts
from medtrain.reporting.plots import percent
from medtrain.reporting.small_cells import HIDDEN, label_counts, masked, masked_states

STATES = ("normal", "abnormal")
OFTEN = 40  # confusions that are listed of a larger one


def confusion(facts_of: RunFacts) -> Section:
    """The section, by the kind of problem."""
    title = "Predicted and given scores" if facts_of.task == "score" else "Confusion"
    parts = {"multiclass": _of_classes, "multilabel": _of_labels, "abnormality": _of_studies, "score": _of_scores}
    return section("confusion", title, *parts[facts_of.task](facts_of))


def _of_classes(facts_of: RunFacts) -> list[Html | None]:
    names, counts = facts_of.classes, np.array(facts_of.report["confusion"])
    if len(names) > LARGEST:
        wrong = np.where(np.eye(len(names), dtype=bool), 0, counts)
        often = [divmod(int(place), len(names)) for place in np.argsort(-wrong, axis=None, kind="stable")[:OFTEN]]
        told = label_counts(facts_of.report, facts_of.small_cells)
        rows = [(names[i], names[j], told[names[i]]["support"] if _few(told[names[i]]) else int(wrong[i, j]),
                 told[names[i]]["support"]) for i, j in often if wrong[i, j]]  # fmt: skip
        heads = ("true", "predicted", "images", "of")
        return [
            paragraph(f"The matrix of {len(names):,} classes is in {facts_of.split}.json; its largest errors:"),
            table("The most frequent confusions", heads, rows, words=(1,)),
        ]
    return [
        matrix(
            "Confusion matrix: rows are the truth, columns the prediction",
            facts_of.classes,
            facts_of.report["confusion"],
            [own["support"] for own in label_counts(facts_of.report, facts_of.small_cells).values()],
        )
    ]


def matrix(caption: str, names: Sequence[str], counts: Sequence[Sequence[int]], sums: Sequence[object] = ()) -> Html:
    """A matrix as a table: in each cell the count and its percent of the row, shaded by that; `sums` are what may be
    told of the rows, of which those that are words have no counts."""
    lines = []
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        whole = sums[i] if sums else sum(row)
        cells = [_shaded(count, sum(row), i == j, not isinstance(whole, str)) for j, count in enumerate(row)]
        lines.append(tag("tr", tag("th", name, scope="row"), *cells, tag("td", cell(whole))))
    heads = [tag("th", text, scope="col", class_="word" if i == 0 else None)
             for i, text in enumerate(("true", *names, "all"))]  # fmt: skip
    above = tag("tr", tag("td"), tag("th", "predicted", scope="colgroup", colspan=len(names)), tag("td"))
    inner = (tag("caption", caption), tag("thead", above, tag("tr", *heads)), tag("tbody", *lines))
    return scrolled(tag("table", *inner, class_="matrix"), caption)


def _few(told: dict[str, object]) -> bool:
    return any(isinstance(one, str) for one in told.values())


def _shaded(count: int, support: int, right: bool, counted: bool) -> Html:
    share = 100 * count / support if support else float("nan")
    style = f"background:rgba(var(--shade),{0.5 * share / 100:.3f})" if support and count else None
    words = tag("span", f"{percent(share)} %" if support else "–", class_="share")
    return tag("td", number(count) if counted else None, words, style=style, class_="right" if right else None)


def _of_labels(facts_of: RunFacts) -> list[Html | None]:
    """Counts of each label at the threshold that validation chose."""
    if facts_of.judged is None:
        return [paragraph(f"No counts at the thresholds. {facts_of.why_not}")]
    judged, rows = facts_of.judged, []
    told = label_counts(facts_of.report, facts_of.small_cells)
    for i, (label, row) in enumerate(facts_of.report["per_class"].items()):
        if row.get("learned") is False:
            continue
        known, positive = judged.known[:, i], judged.positive[:, i]
        called = judged.raw[:, i] >= row["threshold"]
        counts = [int(np.sum(known & (called == said) & (positive == true))) for said, true in
                  ((True, True), (True, False), (False, True), (False, False))]  # fmt: skip
        hits, false, missed, rest = counts
        with_it, without = told[label]["positives"], told[label]["negatives"]
        shown: list[object] = [hits, false, missed, rest]
        if isinstance(with_it, str):
            shown[0] = shown[2] = HIDDEN
        if isinstance(without, str):
            shown[1] = shown[3] = HIDDEN
        rows.append((label, number(row["threshold"], 4), *shown, row["precision"], row["recall"],
                     _share(rest, false)))  # fmt: skip
    heads = (facts_of.label, "threshold", "TP", "FP", "FN", "TN", "precision", "recall (sensitivity)", "specificity")
    how = "Each threshold is the one of the highest F1 in validation."
    if "temperature" not in facts_of.report:
        how = "No threshold was chosen: 0.5 counts."
    return [paragraph(how), table(f"Counts at the threshold of each {facts_of.label}", heads, rows)]


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None


def _of_studies(facts_of: RunFacts) -> list[Html | None]:
    report = facts_of.report
    names = ("kappa", "accuracy", "sensitivity", "specificity", "macro_kappa", "macro_auroc")
    words = {"macro_kappa": "mean kappa of the study types", "macro_auroc": "mean AUROC of the study types"}
    every, each = study_matrices(report, facts_of.small_cells)
    return [
        paragraph("A study is predicted abnormal where the mean probability of its images is above 0.5."),
        facts([(words.get(name, name), report[name]) for name in names if name in report]),
        every,
        joined(tag("h3", "By study type"), tag("div", *each, class_="figures")) if len(each) > 1 else None,
    ]


def study_matrices(report: dict[str, Any], small_cells: bool) -> tuple[Html, list[Html]]:
    """The matrix of all studies, and one for each study type that has any."""
    told = label_counts(report, small_cells)
    each = []
    for label, row in report["per_class"].items():
        if row["samples"]:
            own, many = told[label], told[label]["samples"]
            title = f"{label}: {many:,} studies" if isinstance(many, int) else f"{label}: {many} studies"
            each.append(matrix(title, STATES, row["confusion"], [own["normal"], own["abnormal"]]))
    sums = masked_states(report, small_cells)[::-1]
    return matrix(f"All study types: {report['samples']:,} studies", STATES, report["confusion"], sums), each


def _of_scores(facts_of: RunFacts) -> list[Html | None]:
    rows = facts_of.report.get("by_given") or []
    if not rows:
        return [paragraph("Nothing has a given score.")]
    name = listed(facts_of.classes)
    many = masked([row["samples"] for row in rows], facts_of.small_cells)
    lines = [
        (str(i), row["given"], row["predicted"], row["deviation"], own)
        for i, (row, own) in enumerate(zip(rows, many, strict=True), 1)
    ]
    return [
        paragraph("The range of the given scores in ten equal parts; those that hold any are shown."),
        tag("div", charts.given_and_predicted("given", rows, name), class_="figures"),
        table(
            f"Predicted against given scores: {name}",
            ("part", "given (mean)", "predicted (mean)", "deviation", "samples"),
            lines,
        ),
    ]
