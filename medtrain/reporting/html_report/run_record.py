"""The life of the run, its settings, and where everything came from."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from medtrain import datasets
from medtrain.config import configfile, fingerprint
from medtrain.config.backbones import OWN_WEIGHTS
from medtrain.config.schema import PUBLISHED, Config
from medtrain.core.errors import InputError
from medtrain.reporting.html_report.markup import Html, facts, joined, listed, note, paragraph, table, tag
from medtrain.reporting.html_report.page_frame import Section, section
from medtrain.reporting.html_report.run_facts import RunFacts, setting_in_public, without_paths
from medtrain.shards import mixture
from medtrain.shards.packed_dataset import CHECKSUM, PackedDataset

# Settings that are a place or a name and not how the run was done.
UNTOLD = {"run", "runs", "recipe", "data.shards", "weights_dir", "slurm.account", "slurm.sbatch", "slurm.cluster",
          "tracking.entity", "notify", "notify_on"}  # fmt: skip
DIGITS = 12  # of a hash that are enough to tell two apart
OWN = ("threads", "device", "processor")


def life(facts_of: RunFacts) -> Section:
    """The attempts: when, why each ended, steps, goodput."""
    rows = [
        (
            one["attempt"], _when(one["start"]), _when(one["end"]), _duration(_seconds(one)), one["ranks"],
            without_paths(one["cause"] or "–"), one["steps"], one["lost"],
            "–" if one["goodput_percent"] is None or one["end"] is None else f"{one['goodput_percent']:.0f} %",
        )
        for one in facts_of.attempts
    ]  # fmt: skip
    if not rows:
        return section("life", "The life of the run", paragraph("No attempt is written down (attempts.jsonl)."))
    spent = [seconds for one in facts_of.attempts if (seconds := _seconds(one)) is not None]
    heads = ("attempt", "start (UTC)", "end (UTC)", "time", "ranks", "cause", "steps", "lost", "goodput")
    parts: list[object] = [
        facts([
            ("attempts", len(rows)), ("time of all ended attempts", _duration(sum(spent)) if spent else "–"),
            ("optimizer steps", int(facts_of.run.status().get("step") or 0)),
            ("epochs", f"{len(facts_of.epochs)} of at most {facts_of.config.epochs}"),
        ]),
        table("Attempts", heads, rows, words=(1, 2, 5)),
        note("Goodput is the share of an attempt's time that went into steps that counted."),
    ]  # fmt: skip
    parts += [
        note(f"Attempt {one['attempt']} was {one['suspended']}; its goodput is of the rest of its time.")
        for one in facts_of.attempts
        if one["suspended"]
    ]
    if facts_of.attempts[-1]["end"] is None:
        parts.append(note("The last attempt was under way when this page was written: medtrain report writes it anew."))
    return section("life", "The life of the run", *parts)


def _seconds(one: dict[str, Any]) -> float | None:
    return None if one["end"] is None else max(0.0, one["end"] - one["start"])


def _when(when: float | None) -> str:
    if when is None:
        return "–"
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(when))
    except (OverflowError, ValueError, OSError):  # a damaged number
        return "?"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"


def settings(facts_of: RunFacts) -> Section:
    """What differs from the recipe."""
    own, recipe = facts_of.config, facts_of.config.recipe
    try:
        base, of = configfile.resolve(recipe), f"the recipe {without_paths(recipe)}"
    except (InputError, OSError):
        base, of = Config(), "medtrain's defaults (the recipe is not one of this version)"
    before, after = fingerprint.flat(base), fingerprint.flat(dataclasses.replace(own, recipe=base.recipe))
    differing = [name for name in after if after[name] != before.get(name) and name not in UNTOLD]
    rows = [
        (tag("code", name), *(setting_in_public(name, each[name]) for each in (before, after))) for name in differing
    ]
    told = paragraph(f"The run has the settings of {of}, but for:") if rows else paragraph(f"All are those of {of}.")
    inner = table(
        "Settings that differ from the recipe", ("setting", "recipe", "run"), rows, words=(1, 2), class_="wrap"
    )
    where = note("All settings are in config.yaml of the run. Of paths only the last part is shown.")
    return section("settings", "Settings", told, inner if rows else None, where)


def provenance(facts_of: RunFacts) -> Section:
    """Hashes of data, code and weights, licences, versions."""
    parts: list[object] = []
    for name, packed in facts_of.packed.items():
        parts += [tag("h3", f"Data: {name}"), facts(data_facts(packed))]
    if facts_of.missing:
        parts += [
            tag("h3", "Data that is gone"),
            paragraph(f"Its manifest is not there any more: {listed(facts_of.missing)}."),
        ]
    parts += [tag("h3", "Weights"), facts(_of_weights(facts_of)), tag("h3", "Code"), facts(_of_code(facts_of))]
    versions = [(name, value) for name, value in facts_of.environment.items()]
    if facts_of.config.slurm.allow_device_change:
        versions.append(("other devices (allow_device_change)", ", ".join(facts_of.other_devices) or "none"))
    packages = facts_of.code.get("packages", {})
    versions += [(name, value) for name, value in packages.items() if name not in facts_of.environment]
    if versions:
        parts += [tag("h3", "Environment"), facts(versions)]
    return section("provenance", "Provenance", *parts)


def data_facts(packed: PackedDataset) -> list[tuple[object, object]]:
    """Where a packed dataset came from: licence, hashes, how it was packed."""
    manifest = packed.manifest
    return [
        ("dataset", packed.name),
        ("licence", licences(packed.name)),
        ("packed by", f"medtrain {manifest.get('medtrain', '?')}"),
        ("pixels", manifest.get("pixels", manifest.get("encoding", "unknown"))),
        ("manifest (xxh3)", _hash(manifest.get(CHECKSUM))),
        ("plan (SHA-256)", _hash(manifest.get("plan"))),
        ("labels (SHA-256)", _hash(manifest.get("labels_sha256"))),
        *((f"index of {split} (xxh3)", _hash(entry["digest"])) for split, entry in packed.splits.items()),
    ]


def licences(names: str) -> str:
    """Of a dataset, or of several with + between, as medtrain knows them."""
    found = []
    for name in names.split("+"):
        try:
            found.append(datasets.source(name).licence)
        except InputError:
            found.append(f"{name}: unknown to medtrain")
    return " ".join(found)


def began_from(facts_of: RunFacts) -> list[tuple[str, str]]:
    """What training began from, under which licence; of older runs, which wrote nothing down, what the settings say."""
    began, told = facts_of.config.model.weights, facts_of.first_weights
    if not began:
        return [("training began from", "random weights")]
    published = f"published weights of {facts_of.config.model.backbone} ({began})"
    words = published if began in PUBLISHED else OWN_WEIGHTS
    stated = f"{told['licence']} ({told['source']})" if told.get("licence") else "unknown to medtrain"
    return [("training began from", words), ("licence of these weights", stated)]


def _of_weights(facts_of: RunFacts) -> list[tuple[object, object]]:
    files = facts_of.best.get("files", {})
    prints = facts_of.best.get("fingerprints", {})
    rows: list[tuple[object, object]] = [("checkpoint", facts_of.best_name or "not there any more")]
    rows += [(f"{name} (xxh3)", _hash(entry.get("xxh3"))) for name, entry in files.items() if name.startswith("model")]
    rows += began_from(facts_of)
    if facts_of.first_weights:
        rows += [("file of these weights (SHA-256)", _hash(facts_of.first_weights.get("sha256")))]
    if prints:
        rows += [("settings that decide the weights", _hash(prints.get("config")))]
        rows += [("data that training and validation saw", _hash(prints.get("data")))]
        rows += [("the shards there now are those", _same(facts_of, str(prints.get("data", ""))))]
    return rows


def _same(facts_of: RunFacts, printed: str) -> str:
    if facts_of.missing or not facts_of.packed:
        return "cannot be said: not all are there"
    try:
        return "yes" if mixture.is_of(printed, facts_of.config.data) else "no: they were packed anew or changed"
    except (InputError, KeyError):
        return "cannot be said"


def _of_code(facts_of: RunFacts) -> list[tuple[object, object]]:
    if not facts_of.code:
        return [("medtrain", facts_of.environment.get("medtrain", "unknown")), ("copy of the code", "the run has none")]
    history = facts_of.code.get("history", [])
    rows: list[tuple[object, object]] = [
        ("medtrain", facts_of.code.get("version", "?")),
        ("the run's copy of the code (SHA-256)", _hash(facts_of.code.get("digest"))),
    ]
    if len(history) > 1:
        rows.append(("the copy was updated", f"{len(history) - 1} times"))
    return rows


def _hash(value: object) -> Html:
    text = str(value or "")
    return tag("code", text) if text else joined("none")
