"""The first sections: what the run is worth in a few numbers, what it was trained on, and its curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medtrain.config.rules import lower_is_better
from medtrain.config.schema import DataConfig
from medtrain.metrics.intervals import ALIKE, exact_of, known_ends
from medtrain.metrics.metric_words import metric_title, metric_words
from medtrain.metrics.numbers import Floats
from medtrain.reporting import small_cells as small
from medtrain.reporting.html_report import charts
from medtrain.reporting.html_report.markup import (
    Html,
    facts,
    flat_numbers,
    joined,
    link,
    listed,
    more,
    note,
    number,
    paragraph,
    table,
    tag,
)
from medtrain.reporting.html_report.page_frame import Section, section
from medtrain.reporting.html_report.run_facts import Judged, RunFacts, without_paths
from medtrain.shards import mixture
from medtrain.shards.packed_dataset import SPLITS, STATES, PackedDataset

# What a report's headline numbers are called, the most important first.
MAIN = {
    "multiclass": {"accuracy": "accuracy", "macro_auroc": "mean AUROC", "macro_f1": "mean F1", "brier": "Brier score",
                   "ece": "calibration error", "loss": "loss"},
    "multilabel": {"macro_auroc": "mean AUROC", "micro_auroc": "AUROC of all cells", "macro_average_precision":
                   "mean average precision", "macro_f1": "mean F1", "macro_ece": "mean calibration error",
                   "macro_ece_at_temperature": "calibration error, at the temperature",
                   "accuracy": "accuracy", "loss": "loss"},
    "abnormality": {"kappa": "Cohen's kappa", "auroc": "AUROC", "sensitivity": "sensitivity",
                    "specificity": "specificity", "accuracy": "accuracy", "loss": "loss"},
    "score": {"mae": "mean absolute error", "rmse": "root mean squared error", "r2": "R²", "spearman": "Spearman's ρ",
              "loss": "loss (mean squared error)"},
}  # fmt: skip
INTERVALS = (
    "Intervals hold 95 % and are percentile bootstrap intervals over patients, 1,000 rounds with a fixed seed. Where"
    " every resample gives the same, a bootstrap says nothing: of a share of 0 or 1 the interval is then the exact one"
    " of Clopper and Pearson (1934) of as many patients, of an AUROC of as many pairs of a patient with and one"
    " without; of other numbers there is none."
)
FEW_NOTE = joined(f"{small.SMALL} ", tag("code", "--small_cells", class_="flag"), " shows them.")
OF_FEW_NOTE = joined(FEW_NOTE, " Results and curves of so few can still tell how many they are.")
LARGEST = 60  # classes of a confusion matrix that is shown
KINDS = {
    "multiclass": "one of several classes",
    "multilabel": "several labels, each present, absent or unknown",
    "abnormality": "normal or abnormal, of studies of several types",
    "score": "a number",
}
SPLIT_WORDS = {"test": "the test split", "val": "the validation split, because there is no test split: it chose the"
               " weights too, so that its numbers are too good"}  # fmt: skip


def headline(facts_of: RunFacts) -> Section:
    """The main numbers with their intervals, and of what they are."""
    report, task = facts_of.report, facts_of.task
    tiles = [tile(words, report, key) for key, words in MAIN[task].items() if key in report]
    copies = report.get("copies_left_out", 0)
    rows: list[tuple[object, object]] = [
        ("run", facts_of.run.name),
        ("recipe", without_paths(facts_of.config.recipe)),
        ("task", f"{facts_of.config.task}: {KINDS[task]}"),
        *([("score", listed(report["per_class"]))] if task == "score" else ()),
        ("network", f"{facts_of.config.model.backbone}, {_input(facts_of.config.data)}"),
        ("monitored metric", f"{metric_words(facts_of.config.monitor)} ({_way(facts_of.config.monitor)} is better)"),
        ("best epoch", _best_epoch(facts_of)),
        ("split", facts_of.split),
        ("judged", joined(number(report["samples"]), f" {facts_of.unit}", _also(facts_of))),
        ("byte-identical copies left out", copies),
        *([("patients, or images where none is known", _people(facts_of.judged))] if facts_of.judged else ()),
    ]
    return section(
        "headline",
        "Headline",
        paragraph(f"What follows is of {SPLIT_WORDS[facts_of.split]}, scored with the weights of the best epoch."),
        tag("ul", *tiles, class_="tiles"),
        facts(rows),
        note(
            f"{INTERVALS} Numbers are rounded: the exact ones are in their titles, and all of them ",
            link("#all-numbers", "in one table"),
            ", which is not printed.",
        ),
    )


def tile(words: str, report: Mapping[str, Any], key: str) -> Html:
    """One number of a report in large print, with its interval below it."""
    value, interval = report[key], None
    if ends := known_ends(report.get(f"{key}_interval")):
        exact = ", exact" if exact_of(report, key) else None
        interval = tag("span", "95 %: ", number(ends[0]), " to ", number(ends[1]), exact, class_="under")
    elif value is not None and f"{key}_interval" in report:
        interval = tag("span", f"no interval: {ALIKE}", class_="under")
    return tag("li", tag("span", words, class_="name"), tag("span", number(value), class_="value"), interval)


def _way(metric: str) -> str:
    return "lower" if lower_is_better(metric) else "higher"


def _best_epoch(facts_of: RunFacts) -> Html:
    row = next((row for row in facts_of.epochs if row["epoch"] == facts_of.best_epoch), {})
    value = row.get(f"val_{facts_of.config.monitor}")
    of = f" of {len(facts_of.epochs)}"
    return joined(
        facts_of.best_epoch or "none", of, [": ", number(value), " in validation"] if value is not None else None
    )


def _also(facts_of: RunFacts) -> Html | None:
    """How many studies the images are of, or images the studies are."""
    for word, units in (("study", "studies"), ("image", facts_of.config.data.unit)):
        if own := facts_of.report.get(f"per_{word}"):
            return joined(" (", number(own["samples"]), f" {units})")
    return None


def _people(judged: Judged) -> int:
    """How many patients the judged samples are of; where the dataset tells none, images of the same bytes are one."""
    return len(np.unique(judged.groups))


def _input(data: DataConfig) -> str:
    """What the network sees."""
    of = f"{data.frames} frames" if data.frames else "images"
    return f"{of} of {data.image_size} pixels{', in color' if data.color_mode == 'rgb' else ''}"


def data(facts_of: RunFacts) -> Section:
    """Counts by split and label of each packed dataset, and what was left out."""
    settings = facts_of.config.data
    parts: list[object] = [_counts(facts_of, name, packed) for name, packed in facts_of.packed.items()]
    if facts_of.missing:
        parts.append(note(f"Not there any more, so that nothing is said of them: {listed(facts_of.missing)}."))
    if settings.max_samples:
        parts.append(note(f"The run used at most {settings.max_samples:,} of each split (max_samples)."))
    if settings.holdout:
        parts.append(note(f"{settings.holdout} was kept out of training and validation, and tested on whole."))
    if settings.sampling:
        parts.append(note(f"An epoch has samples of some datasets more or less often: {listed(settings.sampling)}."))
    if settings.study_type not in mixture.TOGETHER:
        parts.append(note(f"The run used only the study type {settings.study_type}."))
    unknown = {"multilabel": "An unknown label counts nowhere: not in the loss and not in any number of this report."}
    parts.append(note(unknown[facts_of.task]) if facts_of.task in unknown else None)
    return section("data", "Data", *parts)


def _counts(facts_of: RunFacts, name: str, packed: PackedDataset) -> Html:
    manifest, splits = packed.manifest, [split for split in SPLITS if split in packed.splits]
    rows: list[tuple[object, object]] = [
        ("dataset", packed.name),
        *((f"{facts_of.config.data.unit} in {split}", packed.splits[split]["samples"]) for split in splits),
        ("rejected or left out as copies", manifest.get("rejects", 0)),
        ("split", manifest.get("split_rule", "unknown")),
    ]
    if torn := manifest.get("patients_in_several_splits"):
        rows.append(("patients in several splits", torn if isinstance(torn, int) else len(torn)))
    return joined(tag("h3", f"{name}"), facts(rows), _label_counts(facts_of, name, packed, splits))


def _label_counts(facts_of: RunFacts, name: str, packed: PackedDataset, splits: list[str]) -> Html | None:
    if facts_of.task == "score":
        return None
    one_of_many = facts_of.task == "multiclass"
    words = {"abnormality": ("abnormal", "normal", "of other types")}.get(
        facts_of.task, ("present", "absent", "unknown")
    )
    of_split = [_told_counts(facts_of, packed, split) for split in splits]
    rows = [
        (label, *(cell for own in of_split for cell in own[label][: 1 if one_of_many else None]))
        for label in packed.classes
        if facts_of.task != "multilabel" or any(packed.splits[split]["counts"][label]["positive"] for split in splits)
    ]
    hides = note(FEW_NOTE) if any(isinstance(cell, str) for _, *own in rows for cell in own) else None
    if one_of_many:
        caption = f"{name}: {facts_of.config.data.unit} of each class by split"
        return joined(table(caption, (facts_of.label, *splits), rows), hides)
    heads = (facts_of.label, *(word for _ in splits for word in words))
    above = [("", 1), *((split, len(words)) for split in splits)]
    caption = f"{name}: {facts_of.config.data.unit} by split and {facts_of.label}"
    return joined(table(caption, heads, rows, above=above), hides)


def _told_counts(facts_of: RunFacts, packed: PackedDataset, split: str) -> dict[str, list[object]]:
    """Present, absent and unknown of each label in a split, as they may be told."""
    own, small_cells = packed.splits[split], facts_of.small_cells
    counts = {label: [own["counts"][label][state] for state in STATES] for label in packed.classes}
    if facts_of.task == "multiclass":
        return small.masked_classes(counts, own["samples"], small_cells)
    if facts_of.task == "abnormality":
        told = small.masked_types([(cells[0], cells[1]) for cells in counts.values()], small_cells)
        others = [
            small.HIDDEN if isinstance(own[0], str) else cells[2]
            for own, cells in zip(told, counts.values(), strict=True)
        ]
        return {label: [*own[1:], other] for label, own, other in zip(counts, told, others, strict=True)}
    return {label: small.masked(cells, small_cells) for label, cells in counts.items()}


def training_curves(facts_of: RunFacts) -> Section:
    """Loss, monitored metric and learning rate by epoch."""
    if not facts_of.epochs:
        return section("curves", "Training", paragraph("The journal (metrics.jsonl) has no epoch."))
    epochs, best = [int(row["epoch"]) for row in facts_of.epochs], facts_of.best_epoch
    best = best if best in epochs else None
    figures: list[Html] = []
    for name in dict.fromkeys(("loss", facts_of.config.monitor)):
        lines = {
            word: values
            for word, key in (("training", f"train_{name}"), ("validation", f"val_{name}"))
            if not np.isnan(values := _column(facts_of.epochs, key)).all()
        }
        if lines:
            figures.append(charts.by_epoch(f"epochs-{len(figures)}", metric_title(name), epochs, lines, best))
    rates = {"learning rate": _column(facts_of.epochs, "lr")}
    figures.append(charts.by_epoch("epochs-lr", "Learning rate", epochs, rates, best))
    keys = [
        key for name in dict.fromkeys(("loss", facts_of.config.monitor)) for key in (f"train_{name}", f"val_{name}")
    ]
    shown = [key for key in keys if any(row.get(key) is not None for row in facts_of.epochs)]
    rows = [(row["epoch"], *(row.get(key) for key in (*shown, "lr"))) for row in facts_of.epochs]
    numbers = table("Numbers by epoch", ("epoch", *map(metric_words, shown), "learning rate"), rows)
    return section("curves", "Training", tag("div", *figures, class_="figures"), more("The numbers by epoch", numbers))


def _column(rows: list[dict[str, Any]], key: str) -> Floats:
    return np.array([np.nan if (value := row.get(key)) is None else value for row in rows], np.float64)


def all_numbers(report: Mapping[str, Any]) -> list[tuple[str, object]]:
    """The rows of a table of every number of a report.

    Without those of subgroups, which may identify people, and a confusion matrix of very many classes.
    """
    left_out = {"subgroups"} if len(report["per_class"]) <= LARGEST else {"subgroups", "confusion"}
    return flat_numbers({key: value for key, value in report.items() if key not in left_out})
