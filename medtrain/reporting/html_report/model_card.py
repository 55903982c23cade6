"""The same in short, as a model card in Markdown, to be completed by who publishes the model."""

from __future__ import annotations

import re
from typing import Any

from medtrain import __version__
from medtrain.core.console import in_line
from medtrain.metrics.intervals import ALIKE, exact_of, known_ends
from medtrain.reporting.html_report.label_results import WORDS
from medtrain.reporting.html_report.markup import NOTHING
from medtrain.reporting.html_report.overview import KINDS, MAIN
from medtrain.reporting.html_report.page_frame import signed
from medtrain.reporting.html_report.run_facts import RunFacts, without_paths
from medtrain.reporting.html_report.run_record import began_from, licences
from medtrain.reporting.small_cells import counted
from medtrain.shards.packed_dataset import CHECKSUM

SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&-])")
OF_INTERVALS = "Intervals hold 95 % and are by patient."
OPEN = "*To be written by the authors.*"


def words(value: object) -> str:
    """A stranger's words as they are: nothing in them is Markdown or HTML."""
    return SPECIAL.sub(r"\\\1", in_line(value))


def model_card(facts_of: RunFacts) -> str:
    """The whole card."""
    config, report = facts_of.config, facts_of.report
    lines = ["", f"# {words(facts_of.run.name)}", ""]
    model, recipe = words(config.model.backbone), words(without_paths(config.recipe))
    lines += [f"{model}, {KINDS[facts_of.task]}; trained with medtrain {__version__}, recipe {recipe}.", ""]
    lines += ["## Intended use", "", OPEN, "", "## Limitations", "", OPEN, "", "## Data", ""]
    lines += _data(facts_of)
    what = f"The {facts_of.split} split, {report['samples']:,} {facts_of.unit}"
    epoch = facts_of.best_epoch or NOTHING
    lines += ["", "## Results", "", f"{what}, weights of epoch {epoch}. {OF_INTERVALS}", ""]
    lines += _table(("number", "value", "95 % interval"), [
        (name, _number(report[key]), _interval(report, key))
        for key, name in MAIN[facts_of.task].items() if key in report
    ])  # fmt: skip
    rows = counted(report, facts_of.small_cells)["per_class"]
    names = [key for key in WORDS if any(key in row for row in rows.values())]
    heads = (facts_of.label, *(WORDS[key] for key in names))
    lines += [
        "",
        *_table(heads, [(words(label), *(_number(row.get(key)) for key in names)) for label, row in rows.items()]),
    ]
    lines += ["", "## Provenance", "", *_provenance(facts_of), ""]
    return signed("\n".join(lines))


def _data(facts_of: RunFacts) -> list[str]:
    lines = []
    for packed in facts_of.packed.values():
        counts = ", ".join(f"{entry['samples']:,} in {split}" for split, entry in packed.splits.items())
        rule = words(packed.manifest.get("split_rule", "unknown"))
        lines.append(f"* {words(packed.name)}: {facts_of.config.data.unit} {counts}; split {rule}; licence:"
                     f" {words(licences(packed.name))}")  # fmt: skip
    lines += [f"* {words(name)}: its manifest is not there any more" for name in facts_of.missing]
    return lines


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows)]


def _number(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, str):  # a count that is hidden
        return words(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _interval(report: dict[str, Any], key: str) -> str:
    if ends := known_ends(report.get(f"{key}_interval")):
        return f"{ends[0]:.4f} to {ends[1]:.4f}" + (" (exact)" if exact_of(report, key) else "")
    return f"none: {ALIKE}" if f"{key}_interval" in report and report[key] is not None else ""


def _provenance(facts_of: RunFacts) -> list[str]:
    files = facts_of.best.get("files", {})
    lines = [f"* weights: {words(facts_of.best_name or NOTHING)}, {words(name)}, xxh3 `{entry.get('xxh3')}`"
             for name, entry in files.items() if name.startswith("model")]  # fmt: skip
    lines += [f"* {name}: {words(value)}" for name, value in began_from(facts_of)]
    if facts_of.first_weights:
        lines.append(f"* file of these weights: SHA-256 `{words(facts_of.first_weights.get('sha256'))}`")
    if facts_of.code:
        lines.append(
            f"* code: medtrain {words(facts_of.code.get('version', '?'))}, SHA-256 `{facts_of.code.get('digest')}`"
        )
    for packed in facts_of.packed.values():
        lines.append(f"* data {words(packed.name)}: manifest `{packed.manifest.get(CHECKSUM)}`, plan"
                     f" `{packed.manifest.get('plan')}`, labels `{packed.manifest.get('labels_sha256')}`")  # fmt: skip
    facts = ", ".join(f"{words(name)} {words(value)}" for name, value in facts_of.environment.items())
    return [*lines, f"* environment: {facts}"] if facts else lines
