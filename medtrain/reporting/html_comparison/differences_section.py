"""Differences as a forest plot and as tables: of every number of the task, and of every label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from medtrain.evaluation.paired_tests import ALL
from medtrain.metrics.intervals import known_ends
from medtrain.reporting.comparison_text import ALPHA, WORDS, by_label, is_few, only, swaps, words_of
from medtrain.reporting.html_comparison.overlay_charts import Row, difference_forest
from medtrain.reporting.html_report.charts import shortened
from medtrain.reporting.html_report.markup import Html, number, table, tag
from medtrain.reporting.html_report.page_frame import Section, section

Found = dict[str, Any]
WIDE = "grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr))"  # words and numbers beside the axes
OWN_SCALE = ("mae", "rmse")  # in units of the score: no axis with shares


def differences(found: Found) -> Section:
    """The section."""
    parts: list[object] = []
    for place, own in enumerate(found["comparisons"]):
        parts += _pair(found, own, f"pair-{place}")
    return section("differences", "Differences", *parts)


def _pair(found: Found, own: Found, name: str) -> Iterable[object]:
    against = f"{own['second']} less {own['first']}"
    several = len(found["comparisons"]) > 1
    yield tag("h3", against)
    figures = list(_figures(found, own, name, f"{shortened(own['second'])} less {shortened(own['first'])}"))
    yield tag("div", *figures, class_="figures", style=WIDE) if figures else None
    title = f"All numbers of the task, {against}: bootstrap of patients{swaps(own)}{only(found)}"
    rows = {words_of(key): row for key, row in own["metrics"].items()}
    yield _table(title, "number", own, rows, found, adjusted=several)
    if seeds := own.get("over_seeds"):
        rows = {words_of(key): row for key, row in seeds.items()}
        yield _table(f"Means over seeds, {against}: by patients and seeds", "number", own, rows, found, several)
    label = "study type" if found["task"] == "abnormality" else "class" if found["task"] == "multiclass" else "label"
    if own["auroc"]:
        clustered = " clustered by patient" if found["several_per_patient"] else ""
        yield _table(
            f"AUROC by {label}, {against}: DeLong's test{clustered}{only(found)}", label, own, own["auroc"], found
        )
    for key in by_label(own):
        yield _table(
            f"{_title(key)} by {label}, {against}: bootstrap of patients{only(found)}", label, own, own[key], found
        )
    if own["decisions"]:
        yield _decisions(found, own, against, several)


def _title(number_: str) -> str:
    return WORDS[number_][0].upper() + WORDS[number_][1:]


def _figures(found: Found, own: Found, name: str, against: str) -> Iterable[Html]:
    shares = {key: row for key, row in own["metrics"].items() if key not in OWN_SCALE}
    of_scale = {key: row for key, row in own["metrics"].items() if key in OWN_SCALE}
    groups = {
        "numbers": ("Numbers of the task", {words_of(key): row for key, row in shares.items()}),
        "scale": ("In units of the score", {words_of(key): row for key, row in of_scale.items()}),
        "auroc": ("AUROC", own["auroc"]),
        **{key: (_title(key), own[key]) for key in by_label(own)},
    }
    for key, (title, rows) in groups.items():
        shown = [_row(words, row, is_few(found, words)) for words, row in rows.items() if row["difference"] is not None]
        if shown:
            yield difference_forest(f"{name}-{key}", title, against, shown, found["margin"])


def _row(words: str, row: Found, few: bool) -> Row:
    shown = not few and row["adjusted_p"] is not None and row["adjusted_p"] < ALPHA
    return Row(words, row["difference"], known_ends(row["interval"]), known_ends(row["equivalence_interval"]), shown)


def _table(caption: str, what: str, own: Found, rows: Found, found: Found, adjusted: bool = True) -> Html:
    margin = found["margin"]
    heads = [what, own["first"], own["second"], "difference", "95 % interval", "p"]
    heads += ["p by Holm"] if adjusted else []
    heads += ["90 % interval", f"p of equivalence within {margin:g}"] if margin else []
    heads += ["by Holm"] if margin and adjusted else []
    lines = []
    for words, row in rows.items():
        few = is_few(found, words)
        line: list[object] = [words, _n(row["first"]), _n(row["second"]), _n(row["difference"])]
        line += [_interval(row["interval"]), _p(row["p"], few)]
        line += [_p(row["adjusted_p"], few)] if adjusted else []
        line += [_interval(row["equivalence_interval"]), _p(row["equivalence_p"], few)] if margin else []
        line += [_p(row["adjusted_equivalence_p"], few)] if margin and adjusted else []
        lines.append(line)
    return table(caption, heads, lines)


def _decisions(found: Found, own: Found, against: str, several: bool) -> Html:
    adjusted = several or set(own["decisions"]) != {ALL}
    heads = ["label", f"only {own['first']} correct", f"only {own['second']} correct", "p"]
    rows = [
        (
            label,
            row["first_only"],
            row["second_only"],
            _p(row["p"], is_few(found, label)),
            *([_p(row["adjusted_p"], is_few(found, label))] * adjusted),
        )
        for label, row in own["decisions"].items()
    ]
    test = "McNemar's exact test" if all(row["exact"] for row in own["decisions"].values()) else "McNemar's test by"
    test += "" if test.endswith("exact test") else " patient"
    return table(f"Decisions, {against}: {test}{only(found)}", [*heads, *(["p by Holm"] * adjusted)], rows)


def _n(value: float | None) -> Html:
    return number(value, 4)


def _interval(ends: list[float | None]) -> Html:
    known = known_ends(ends)
    if known is None:
        return number(None)
    return tag("span", number(known[0], 4), " to ", number(known[1], 4), class_="interval")


def _p(value: float | None, few: bool) -> Html:
    """A p-value, in bold where it is below 5 % and not of few patients."""
    if value is None:
        return number(None)
    text = "< 0.001" if value < 0.001 else f"{value:.3f}"
    shown = tag("data", text, value=repr(value), title=repr(value))
    return tag("strong", shown) if value < ALPHA and not few else shown
