"""Write the comparison of runs: sentences, settings, data, differences and curves over each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medtrain.core.files import write_whole
from medtrain.metrics.few_patients import FEW, FEW_OF_A_STATE
from medtrain.reporting.comparison_text import (
    ALPHA,
    caveat,
    equivalence,
    few_words,
    is_few,
    main_numbers,
    over_seeds,
    samples_of,
    sentence,
    words_of,
)
from medtrain.reporting.html_comparison.curves_section import curves, training
from medtrain.reporting.html_comparison.differences_section import differences
from medtrain.reporting.html_report.markup import NOTHING, Html, facts, listed, note, paragraph, table, tag
from medtrain.reporting.html_report.page_frame import COMPARISON, Section, ensure_writable, page, section
from medtrain.reporting.html_report.run_facts import setting_in_public, without_paths
from medtrain.reporting.run_comparison import Compared

SAME_DATA = {
    True: "All runs were trained on the same data.",
    False: "The runs were trained on DIFFERENT DATA.",
    None: "Whether the runs were trained on the same data is unknown: a run has no checkpoint that says so.",
}


def write_comparison_page(compared: Compared, path: Path) -> None:
    """Write the page; InputError where `path` is a file that none of medtrain's reports is."""
    ensure_writable(path, COMPARISON)
    write_whole(path, render(compared).encode())


def render(compared: Compared) -> str:
    """The page as text."""
    found = compared.found
    title = " against ".join(reversed(found["runs"])) if len(found["runs"]) == 2 else ", ".join(found["runs"])
    under = f"medtrain compare: {found['task']}, {found['split']} split"
    parts = [
        _summary(found),
        _settings(found),
        _data(found),
        differences(found),
        training(compared),
        curves(compared),
        _methods(found),
    ]
    return page(title, under, parts, COMPARISON)


def _summary(found: dict[str, Any]) -> Section:
    together = len(found["comparisons"]) > 1
    parts: list[object] = []
    for own in found["comparisons"]:
        first, second, main = own["first"], own["second"], main_numbers(found, own)
        few = is_few(found)
        lines = [_marked(sentence(first, second, words_of(name), row, together, few), row, few)
                 for name, row in main.items()]  # fmt: skip
        if found["margin"]:
            lines += [tag("li", equivalence(words_of(name), row, found["margin"], together))
                      for name, row in main.items()]  # fmt: skip
        parts += [tag("h3", f"{second} against {first}") if together else None, tag("ul", *lines)]
        if own.get("over_seeds"):
            about, *told = over_seeds(found, own)
            parts += [paragraph(about[0].upper() + about[1:]), tag("ul", *(tag("li", line) for line in told))]
    people = samples_of(found)
    return section(
        "summary",
        "Result",
        *(tag("p", line, class_="warn") for line in few_words(found)),
        paragraph(f"Compared on {people}, which all of the runs have scored ({found['split']} split)."),
        *parts,
        note(f"{caveat(found)} No difference shown does not mean that there is none."),
    )


def _marked(text: str, row: dict[str, Any], few: bool) -> Html:
    """What is more than chance stands out, unless it is of few patients."""
    said, bracket, rest = text.partition(" (")
    shown = not few and row["adjusted_p"] is not None and row["adjusted_p"] < ALPHA
    return tag("li", tag("strong", said) if shown else said, bracket, rest)


def _settings(found: dict[str, Any]) -> Section:
    runs, told = found["runs"], found["training"]
    rows: list[tuple[object, ...]] = [
        (tag("code", name), *(setting_in_public(name, values[run]) for run in runs))
        for name, values in found["settings"].items()
    ]
    rows += [
        (words, *(NOTHING if told[run][key] is None else str(told[run][key]) for run in runs))
        for words, key in (("epochs trained", "epochs"), ("best epoch", "best_epoch"), ("state", "state"))
        if any(told[run][key] is not None for run in runs)
    ]
    others = [
        (tag("code", name), *(setting_in_public(name, values[run]) for run in runs))
        for name, values in found["other_settings"].items()
    ]
    columns = range(1, len(runs) + 1)
    return section(
        "settings",
        "Settings that differ",
        None if found["settings"] else paragraph("No setting that decides the weights differs."),
        table("Settings that decide the weights, and how far each run came", ("setting", *runs), rows, words=columns),
        table("Settings that differ and decide no weights", ("setting", *runs), others, words=columns)
        if others
        else None,
    )


def _data(found: dict[str, Any]) -> Section:
    common = found["common_images"]
    rows = [
        (run, count, common, count - common, without_paths(found["data"]["shards"][run]))
        for run, count in found["images"].items()
    ]
    digests = [(run, tag("code", digest or "unknown")) for run, digest in found["data"]["digests"].items()]
    unknown = common - found["samples"] if found["unit"] != "studies" else 0
    return section(
        "data",
        "Data",
        tag("p", SAME_DATA[found["data"]["same"]], class_=None if found["data"]["same"] else "warn"),
        table(
            f"Images of the {found['split']} split that each run has scored; compared are those of all runs",
            ("run", "scored", "common", "left out, as another run has not scored them", "packed dataset"),
            rows,
            words=(4,),
        ),
        facts([(f"group {name}", ", ".join(own)) for name, own in found["members"].items()])
        if found["members"]
        else None,
        note(f"Left out, as a run has not learned it: {listed(found['left_out_labels'])}.")
        if found["left_out_labels"]
        else None,
        note(f"Of {unknown:,} common images nothing is known that could be judged.") if unknown else None,
        tag("h3", "Digest of the training data"),
        facts(digests),
    )


def _methods(found: dict[str, Any]) -> Section:
    """How the numbers were computed, and what they do not say."""
    several = found["several_per_patient"]
    exact = [row["exact"] for own in found["comparisons"] for row in own["decisions"].values()]
    auroc = any(own["auroc"] for own in found["comparisons"])
    rounds = (
        f"{found['bootstrap_rounds']:,} rounds in which whole patients are drawn with replacement, the same ones for"
        " all runs; percentile intervals (Efron, 1981), p by Davison and Hinkley (1997)"
    )
    plain = "one image a patient (DeLong, DeLong and Clarke-Pearson, 1988)"
    of_areas = f"DeLong's test, {'clustered by patient (Obuchowski, 1997)' if several else plain}, with Student's t"
    rows = [("all numbers", rounds)]
    if any("ece" in name for own in found["comparisons"] for name in own["metrics"]):
        swaps = "p by swapping the runs in any of the patients (Noreen, 1989); intervals as of the others"
        rows.append(("calibration errors", swaps))
    rows += [("AUROC by label", of_areas)] if auroc else []
    if exact:
        rows.append(
            ("decisions", "McNemar's exact test" if all(exact) else "McNemar's test by patient (Obuchowski, 1998)")
        )
    if found["seeds"]:
        by = "variance over patients by the bootstrap, over seeds s² / k of each, Student's t (Satterthwaite, 1946)"
        rows.append(("means over seeds", by))
    rows.append(("several labels or runs", "p-values adjusted together by Holm's method (1979)"))
    if found["margin"]:
        rows.append(("equivalence", f"two one-sided tests (Schuirmann, 1987) with a margin of {found['margin']:g}"))
    return section(
        "methods",
        "Methods",
        table("How differences are tested", ("what", "how"), rows, words=(1,), class_="wrap"),
        note(
            f"The least p of this bootstrap is {2 / (found['bootstrap_rounds'] + 1):.4f}. Bold: below {ALPHA:.0%},"
            f" unless it is of few patients: fewer than {FEW}, or of a label fewer than {FEW_OF_A_STATE} who have it,"
            " or have it not. Numbers are rounded: the exact ones are in their titles, and in the JSON of medtrain"
            " compare --json."
        ),
    )
