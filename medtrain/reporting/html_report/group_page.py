"""The report of a group of runs as a page: its members, what they are worth together, each study type, their spread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medtrain.core.errors import InputError
from medtrain.core.files import write_whole
from medtrain.metrics.intervals import known_ends
from medtrain.reporting.html_report import charts
from medtrain.reporting.html_report.confusion_section import study_matrices
from medtrain.reporting.html_report.label_results import WORDS, exactly, told_or_value, value_of
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
from medtrain.reporting.html_report.overview import INTERVALS, MAIN, OF_FEW_NOTE, tile
from medtrain.reporting.html_report.page_frame import GROUP, Section, ensure_ours, page, section
from medtrain.reporting.html_report.run_facts import kind_of, without_paths
from medtrain.reporting.small_cells import counted, label_counts
from medtrain.runs.run_group import RunGroup

TOLD = ("kappa", "auroc")  # the numbers of a member's own report that the group's has
SEEDS = 2  # runs of the same study type from which on there is a spread to tell of


def write_group_page(
    group: RunGroup, report: dict[str, Any], out: Path | None = None, small_cells: bool = False
) -> Path:
    """Write `report.html` of a group, from its report, and return the path.

    InputError where `out` is a file that no report of medtrain is.
    """
    path = out or group.page
    ensure_ours(path, GROUP)
    beside = {run.name for run in group.runs if out is None and run.page.is_file()}
    sections = [
        _headline(group, report), _members(report, beside), _by_type(group, report, small_cells),
        _confusion(report, small_cells),
    ]  # fmt: skip
    under = f"medtrain report: a group of {len(group.runs)} runs, test split"
    try:
        write_whole(path, page(group.name, under, sections, GROUP).encode())
    except FileNotFoundError:
        raise InputError(f"{path.parent}: there is no such folder", "make it, or give another --out") from None
    return path


def _headline(group: RunGroup, report: dict[str, Any]) -> Section:
    members = report["runs"]
    main = MAIN[kind_of(report)]
    tiles = [tile(words, report, key) for key, words in main.items() if key in report]
    averaged = sum(one["averaged"] for one in members.values())
    types = listed(sorted({one["study_type"] or "all" for one in members.values()}))
    return section(
        "headline",
        "Headline",
        paragraph(
            "Each study of the test split is judged by the runs of its study type; of several the probabilities of an"
            " image are averaged, of at most 5 runs: those of the lowest validation loss."
        ),
        tag("ul", *tiles, class_="tiles"),
        facts([
            ("group", group.name), ("runs", len(members)),
            ("with a result", sum(one["finished"] for one in members.values())), ("averaged", averaged),
            ("study types", types), ("judged", joined(number(report["samples"]), " studies", _images(report))),
            ("byte-identical copies left out", report.get("copies_left_out", 0)),
        ]),
        note(
            f"{INTERVALS} Numbers are rounded: the exact ones are in their titles, and all of them ",
            link("#all-numbers", "in one table"), ", which is not printed.",
        ),
    )  # fmt: skip


def _images(report: Mapping[str, Any]) -> Html | None:
    own = report.get("per_image")
    return joined(" (", number(own["samples"]), " images)") if own else None


def _members(report: dict[str, Any], beside: set[str]) -> Section:
    """The runs, with links to the reports of those `beside`, and how much those of one study type differ."""
    members = report["runs"]
    rows = [
        (
            tag("a", name, href=f"../{name}/report.html") if name in beside else name,
            own["study_type"] or "all", str(own["seed"]), own["state"],
            "yes" if own["averaged"] else "no", own["best_epoch"], own["val_loss"], own["val_kappa"],
            own["kappa"], own["auroc"],
        )
        for name, own in members.items()
    ]  # fmt: skip
    heads = ("run", "study type", "seed", "state", "averaged", "best epoch", "validation loss", "validation kappa",
             "test kappa", "test AUROC")  # fmt: skip
    spread = _spread(members)
    missing = [f"{name}: {without_paths(own['error'] or own['state'])}" for name, own in members.items()
               if not own["finished"]]  # fmt: skip
    return section(
        "members",
        "Members",
        table("The runs of the group, each tested alone", heads, rows, words=(1, 2, 3, 4)),
        paragraph("Without a result: ", "; ".join(missing), ".") if missing else None,
        joined(
            tag("h3", "Spread over seeds"),
            table(
                "Runs of the same study type, each tested alone: mean, standard deviation, range",
                ("study type", "runs", *(f"{WORDS[key]}, {word}" for key in TOLD for word in
                                         ("mean", "deviation", "lowest", "highest"))),
                spread,
            ),
            note("The deviation is that of a sample (n - 1). It tells of training, and not of other patients."),
        ) if spread else None,
    )  # fmt: skip


def _spread(members: Mapping[str, Mapping[str, Any]]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for study_type in sorted({one["study_type"] for one in members.values()}):
        own = [one for one in members.values() if one["study_type"] == study_type and one["finished"]]
        if len(own) < SEEDS:
            continue
        cells: list[object] = []
        for key in TOLD:
            values = np.array([one[key] for one in own if one[key] is not None], np.float64)
            few = len(values) < SEEDS
            told = (values.mean(), values.std(ddof=1), values.min(), values.max()) if not few else (None,) * 4
            cells += [None if value is None else float(value) for value in told]
        rows.append((study_type or "all", len(own), *cells))
    return rows


def _by_type(group: RunGroup, report: dict[str, Any], small_cells: bool) -> Section:
    """Kappa and AUROC of each study type as forest plots, and all numbers."""
    rows = {name: row for name, row in report["per_class"].items() if row["samples"]}
    names = [key for key in WORDS if any(key in row for row in rows.values())]
    figures = []
    for key in TOLD:
        lines = [
            charts.Line(name, row[key], known_ends(row.get(f"{key}_interval")))
            for name, row in {"all studies": report, **rows}.items()
            if row.get(key) is not None
        ]
        if lines:
            said = "; ".join(f"{line.name} {line.value:.3f}" for line in lines)
            what = f"{WORDS[key]}, 95 % interval"
            figures.append(charts.forest(f"forest-{key}", f"{WORDS[key]} by study type: {said}", lines, what))
    told = label_counts(report, small_cells)
    lines_of = [(name, *(told_or_value(told.get(name, {}), row, key) for key in names)) for name, row in rows.items()]
    hides = any(isinstance(own, str) for each in told.values() for own in each.values())
    whole = counted(report, small_cells)
    macro = {key.removeprefix("macro_"): value for key, value in report.items() if key.startswith("macro_")}
    foot = [("all studies", *(told_or_value(whole, report, key) for key in names)),
            ("mean (macro)", *(value_of(macro, key) for key in names))]  # fmt: skip
    heads = ("study type", *(WORDS[key] for key in names))
    return section(
        "types",
        "Results by study type",
        tag("div", *figures, class_="figures wide"),
        table("All numbers by study type, of whole studies", heads, lines_of, foot=foot),
        note(OF_FEW_NOTE) if hides else None,
        note("Cohen's kappa is the agreement beyond chance of predicted and true studies."),
        _exact(group, whole),
    )


def _confusion(report: dict[str, Any], small_cells: bool) -> Section:
    every, each = study_matrices(report, small_cells)
    return section(
        "confusion",
        "Confusion",
        paragraph("A study is predicted abnormal where the mean probability of its images is above 0.5."),
        every,
        joined(tag("h3", "By study type"), tag("div", *each, class_="figures")) if len(each) > 1 else None,
    )


def _exact(group: RunGroup, report: dict[str, Any]) -> Html:
    """Every number of the report; of members those that are numbers."""
    told = flat_numbers({key: value for key, value in report.items() if key != "runs"})
    own = flat_numbers({"runs": report["runs"]})
    told += [(name, value) for name, value in own if not isinstance(value, (str, bool))]
    rows = [(name, exactly(value)) for name, value in told]
    exact = table(f"Every number of {group.report.name} to its last digit", ("number", "value"), rows, words=(1,))
    return tag("div", more("Every number, to its last digit (not printed)", exact, on_paper=False), id="all-numbers")
