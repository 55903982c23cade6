"""A comparison of runs in sentences and tables."""

from __future__ import annotations

from typing import Any

from medtrain.core.console import table
from medtrain.core.counts import counted
from medtrain.evaluation.paired_tests import ALL
from medtrain.metrics.intervals import ALIKE, known_ends
from medtrain.metrics.paired_bootstrap import FEWEST

ALPHA = 0.05
WORDS = {
    "accuracy": "accuracy", "auroc": "AUROC", "average_precision": "average precision", "brier": "Brier score",
    "ece": "calibration error", "f1": "F1", "kappa": "kappa", "mae": "mean absolute error", "precision": "precision",
    "r2": "R2", "recall": "recall", "rmse": "RMSE", "sensitivity": "sensitivity", "spearman": "Spearman's rho",
    "specificity": "specificity",
}  # fmt: skip
# What there is a sentence on; the others of the table are looked at beside them.
MAIN = ("kappa", "macro_auroc", "macro_average_precision", "micro_auroc", "micro_average_precision", "accuracy",
        "macro_f1", "auroc", "mae", "rmse", "r2", "spearman")  # fmt: skip
BESIDES = {"multilabel": ("accuracy", "macro_f1"), "abnormality": ("macro_auroc",)}  # main ones of other tasks


def words_of(number: str) -> str:
    """What a number is called: `macro AUROC` of `macro_auroc`."""
    mean, _, own = number.partition("_")
    return f"{mean} {WORDS[own]}" if mean in ("macro", "micro") else WORDS[number]


def main_numbers(found: dict[str, Any], own: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Those of a pair's `metrics` on which there is a sentence."""
    besides = BESIDES.get(found["task"], ())
    return {name: row for name, row in own["metrics"].items() if name in MAIN and name not in besides}


def by_label(own: dict[str, Any]) -> list[str]:
    """The numbers of single labels that a pair has from the bootstrap."""
    return [number for number in ("average_precision", "f1", "kappa") if number in own]


def comparison_text(found: dict[str, Any]) -> str:
    """What `compare_runs` found, for people."""
    pairs = (_pair(found, own) for own in found["comparisons"])
    return "\n\n".join([*few_words(found), _heading(found), _training(found), *pairs, caveat(found)])


def few_words(found: dict[str, Any]) -> list[str]:
    """What comes first where a comparison is of few patients (metrics.few_patients); nothing where it is not."""
    few, lines = found["few"], list[str]()
    if few is None:
        return lines
    limit, least = few["fewer_than"], few["fewer_of_a_label_than"]
    rough = "intervals and p-values are rough, and a difference that is shown may be chance"
    if found["patients"] < limit:
        undefined = "" if found["patients"] >= FEWEST else f"; of fewer than {FEWEST} patients they are undefined"
        lines.append(f"Few patients: only {samples_of(found)} (fewer than {limit}). So {rough}{undefined}.")
    elif few["all"]:
        lines.append(
            f"Few patients of one state: of every label fewer than {least} have it, or have it not. So {rough}."
        )
    if few["labels"] and not few["all"]:
        names = ", ".join(few["labels"])
        lines.append(f"Few patients with, or without, a label (fewer than {least}): {names}. Of these {rough}.")
    return lines


def is_few(found: dict[str, Any], label: str = "") -> bool:
    """Whether all that is compared is of few patients, or what is of one label."""
    return found["few"] is not None and (found["few"]["all"] or label in found["few"]["labels"])


def p_text(p: float | None) -> str:
    """`p = 0.012`, or `p < 0.001`: a p-value is never 0."""
    return "p undefined" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def sentence(first: str, second: str, name: str, row: dict[str, Any], together: bool, few: bool = False) -> str:
    """What a row of `metrics` says of two runs; `together`: its p-value was adjusted for several runs; `few`: they
    were compared on few patients."""
    if row["p"] is None:
        if row["difference"] is None:
            return f"{name}: undefined on these images"
        apart = f"{second} - {first} is {row['difference']:+.4f}"
        return f"{name}: {apart}, and its interval and p-value are undefined on these images"
    p = p_text(row["adjusted_p"]) + (" by Holm" if together else "")
    ends = known_ends(row["interval"])
    shown = row["adjusted_p"] < ALPHA
    if ends and shown and row["difference"] < 0:
        ends = [-ends[1], -ends[0]]
    interval = f"95 % interval {ends[0]:.4f} to {ends[1]:.4f}" if ends else f"no 95 % interval: {ALIKE}"
    if not shown:
        what = f"no difference was shown: {second} - {first} is {row['difference']:+.4f}"
    else:
        better = "better" if (row["difference"] > 0) == row["higher_is_better"] else "worse"
        on = "on these few patients " if few else ""
        what = f"{on}{second} is {better} than {first} by {abs(row['difference']):.4f}"
    return f"{name}: {what} ({interval}, {p})"


def equivalence(name: str, row: dict[str, Any], margin: float, together: bool) -> str:
    """What two one-sided tests say of a row: whether the difference is within the margin."""
    if row["equivalence_p"] is None:
        alike = f": {ALIKE}" if row["p"] is not None else " on these images"
        return f"{name}: equivalence is undefined{alike}"
    low, high = row["equivalence_interval"]
    shown = "equivalent" if row["adjusted_equivalence_p"] < ALPHA else "equivalence was not shown"
    p = p_text(row["adjusted_equivalence_p"]) + (" by Holm" if together else "")
    return f"{name}: {shown} within {margin:g} (90 % interval of the difference {low:.4f} to {high:.4f}, {p})"


def over_seeds(found: dict[str, Any], own: dict[str, Any]) -> list[str]:
    """Sentences on the means over the seeds of two groups."""
    first, second, together = own["first"], own["second"], len(found["comparisons"]) > 1
    seeds = found["seeds"]
    rows = main_numbers(found, {"metrics": own["over_seeds"]})
    of = f"{first} has {seeds[first]}, {second} has {seeds[second]}"
    lines = [f"means over seeds ({of}), by patients and seeds: what holds for other trainings with these settings"]
    few = is_few(found)
    lines += [sentence(first, second, f"mean {words_of(name)}", row, together, few) for name, row in rows.items()]
    if found["margin"]:
        lines += [equivalence(f"mean {words_of(name)}", row, found["margin"], together) for name, row in rows.items()]
    return lines


def caveat(found: dict[str, Any]) -> str:
    """Of what the comparison is, and of what it is not."""
    if not found["members"]:
        return (
            "This compares these weights on these patients. The same settings with another --seed give other weights."
        )
    of = "This compares these weights on these patients, those of a group as one: the scores of its runs are averaged"
    settled = all("over_seeds" in own for own in found["comparisons"])
    return f"{of}." if settled else f"{of}. Whether the settings differ takes two seeds or more of each (--ensemble)."


def samples_of(found: dict[str, Any]) -> str:
    """How many samples are compared, and of how many patients where several are known to be of one."""
    own = f"{found['samples']:,} {found['unit']}"
    if found["patients"] == found["samples"]:
        return f"{own}, of which no two are known to be of one patient"
    return f"{own} of {counted(found['patients'], 'patients')}"


def _heading(found: dict[str, Any]) -> str:
    each = ", ".join(f"{name} has {count:,}" for name, count in found["images"].items())
    people = samples_of(found)
    what = (
        f"{', '.join(found['runs'])} on the {found['split']} split: {found['common_images']:,} common images ({each})"
    )
    lines = [what, f"compared on {people}"]
    lines += [f"{name} is a group of {len(own)}: {', '.join(own)}" for name, own in found["members"].items()]
    if found["left_out_labels"]:
        lines.append(f"left out, as a run has not learned it: {', '.join(found['left_out_labels'])}")
    return "\n".join(lines)


def _training(found: dict[str, Any]) -> str:
    runs = found["runs"]
    rows = [(name, *(str(values[run]) for run in runs)) for name, values in found["settings"].items()]
    told = found["training"]
    rows += [(f"({what})", *("-" if told[run][key] is None else str(told[run][key]) for run in runs))
             for what, key in (("epochs trained", "epochs"), ("best epoch", "best_epoch"))]  # fmt: skip
    lines = [table(("setting that differs", *runs), rows)]
    if found["other_settings"]:
        lines.append(f"differ too, and decide no weights: {', '.join(found['other_settings'])}")
    lines.append({
        True: "all were trained on the same data",
        False: f"they were trained on DIFFERENT DATA: {_shards(found)}",
        None: "whether they were trained on the same data is unknown: a run has no checkpoint that says so",
    }[found["data"]["same"]])  # fmt: skip
    unfinished = [run for run in runs if told[run]["state"] != "finished"]
    return "\n".join([*lines, *(f"{run} is not finished: {told[run]['state'] or 'new'}" for run in unfinished)])


def _pair(found: dict[str, Any], own: dict[str, Any]) -> str:
    first, second, together = own["first"], own["second"], len(found["comparisons"]) > 1
    main = main_numbers(found, own)
    lines = [sentence(first, second, words_of(name), row, together, is_few(found)) for name, row in main.items()]
    if margin := found["margin"]:
        lines += [equivalence(words_of(name), row, margin, together) for name, row in main.items()]
    clustered = found["several_per_patient"]
    if own.get("over_seeds"):
        lines += ["", *over_seeds(found, own)]
    if together:
        lines.insert(0, f"{second} against {first}")
    blocks = [
        "\n".join(lines),
        _differences(
            f"bootstrap of patients{swaps(own)}, {found['bootstrap_rounds']:,} rounds{only(found)}", "number", own,
            {words_of(name): row for name, row in own["metrics"].items()}, together,
        ),
        _differences(
            "mean over seeds, by patients and seeds", "number", own,
            {words_of(name): row for name, row in own.get("over_seeds", {}).items()}, together,
        ),
        _differences(
            f"AUROC, DeLong's test{' clustered by patient (Obuchowski, 1997)' if clustered else ''}{only(found)}",
            "label", own, own["auroc"], True,
        ),
        *(_differences(f"{WORDS[number]}, bootstrap of patients{only(found)}", "label", own, own[number], True)
          for number in by_label(own)),
        _decisions(found, own, together),
    ]  # fmt: skip
    return "\n\n".join(filter(None, blocks))


def _differences(title: str, what: str, own: dict[str, Any], rows: dict[str, Any], adjusted: bool) -> str:
    if not rows:
        return ""
    heads = (what, own["first"], own["second"], "difference", "95 % interval", "p", *(["p by Holm"] * adjusted))
    cells = [
        (
            name, row["first"], row["second"], _signed(row["difference"]), _interval(row["interval"]), _p(row["p"]),
            *([_p(row["adjusted_p"])] * adjusted),
        )
        for name, row in rows.items()
    ]  # fmt: skip
    return f"{title}\n{table(heads, cells)}"


def swaps(own: dict[str, Any]) -> str:
    """For a title: which of the numbers have another test."""
    return " (p of calibration errors: swaps of patients)" if any("ece" in name for name in own["metrics"]) else ""


def only(found: dict[str, Any]) -> str:
    """What the title of a table adds where it is of few patients."""
    return (
        f"; only {counted(found['patients'], 'patients')}"
        if found["few"] and found["patients"] < found["few"]["fewer_than"]
        else ""
    )


def _decisions(found: dict[str, Any], own: dict[str, Any], together: bool) -> str:
    rows = own["decisions"]
    if not rows:
        return ""
    exact = {row["exact"] for row in rows.values()}
    title = (
        "decisions, McNemar's exact test"
        if exact == {True}
        else "decisions, McNemar's test by patient (Obuchowski, 1998)"
    )
    if len(exact) > 1:
        title += ", exact where each patient has one image"
    adjusted = together or set(rows) != {ALL}
    heads = ("label", f"only {own['first']} right", f"only {own['second']} right", "p", *(["p by Holm"] * adjusted))
    cells = [
        (name, row["first_only"], row["second_only"], _p(row["p"]), *([_p(row["adjusted_p"])] * adjusted))
        for name, row in rows.items()
    ]
    return f"{title}{only(found)}\n{table(heads, cells)}"


def _interval(ends: list[float | None]) -> str:
    low, high = ends
    return "-" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def _shards(found: dict[str, Any]) -> str:
    return ", ".join(f"{run} on {folder}" for run, folder in found["data"]["shards"].items())


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def _p(p: float | None) -> str:
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
