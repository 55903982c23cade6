"""What is compared, a run or a group of runs, as one table of scores: a group's as its report judges it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from medtrain.config import configfile
from medtrain.core.errors import InputError, nearest
from medtrain.core.jsonfiles import read_json
from medtrain.evaluation.score_table import ScoreTable, read_scores
from medtrain.runs.run import Run, command_for
from medtrain.runs.run_group import RunGroup

Entry = Run | RunGroup


@dataclass(frozen=True)
class Scored:
    """The scores of a split, and the report of what was scored: thresholds and learned labels are from there."""

    table: ScoreTable
    report: dict[str, Any]


def members(entry: Entry) -> list[Run]:
    """The runs of a group; a run alone. Of a group whose report averaged some of its runs, those."""
    if isinstance(entry, Run):
        return [entry]
    told = read_json(entry.report).get("runs", {})
    return [run for run in entry.runs if not told or told.get(run.name, {}).get("averaged", True)] or entry.runs


def scored(entry: Entry, split: str) -> Scored:
    """The scores of a run; of a group the means over the runs of one study type, all types in one table.

    InputError where a run has no scores of the split.
    """
    if isinstance(entry, Run):
        return _of_run(entry, split)
    return _together([_mean([_of_run(run, split) for run in runs], entry) for runs in _by_type(entry).values()], entry)


def replicates(entry: Entry, split: str) -> list[Scored]:
    """Of a group trained with several seeds one for each seed, over all study types; nothing for a run alone, for one
    seed, and for seeds that not every type has."""
    if isinstance(entry, Run):
        return []
    seeds: dict[int, list[Run]] = {}
    for run in members(entry):
        seeds.setdefault(configfile.load(run.config_file).seed, []).append(run)
    whole = [runs for _, runs in sorted(seeds.items()) if len(runs) == len(_by_type(entry))]
    if len(whole) < 2:
        return []
    return [_together([_of_run(run, split) for run in runs], entry) for runs in whole]


def has_scores(entry: Entry, split: str) -> bool:
    """Whether every run of it has scored the split."""
    return all((run.evaluation / f"{split}.csv").exists() for run in members(entry))


def _by_type(group: RunGroup) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in members(group):
        found.setdefault(configfile.load(run.config_file).data.study_type, []).append(run)
    return found


def _of_run(run: Run, split: str) -> Scored:
    known = sorted(path.stem for path in run.evaluation.glob("*.csv"))
    if split not in known:
        there = f"it has {', '.join(known)}" if known else "it has none"
        evaluate = command_for(run, "evaluate")
        raise InputError(
            f"run {run.name} has no scores of the split {split!r} ({there}){nearest(split, known)}",
            f"score it: {evaluate} --split {split}",
        )
    table, path = read_scores(run.evaluation / f"{split}.csv"), run.evaluation / f"{split}.json"
    if not (report := read_json(path)):
        raise InputError(
            f"run {run.name} has scores of the split {split!r} and no report of it: {path} is missing",
            f"write both anew: {command_for(run, 'evaluate')} --split {split}",
        )
    return Scored(table, report)


def _mean(several: list[Scored], group: RunGroup) -> Scored:
    """Of the same images by several models."""
    first = several[0].table
    if any(not np.array_equal(other.table.images, first.images) for other in several):
        again = command_for(Run(group.folder), "evaluate")
        raise InputError(f"the runs of {group.name} were tested on different images", f"evaluate them anew: {again}")
    mean = np.asarray(np.mean([one.table.scores for one in several], axis=0), np.float64)
    table = ScoreTable(first.images, first.rows, first.labels, mean, first.classes, first.answers)
    return Scored(table, report_of_members([one.report for one in several]))


def _together(parts: list[Scored], group: RunGroup) -> Scored:
    """Of several study types, each of which has images of its own."""
    first = parts[0].table
    images, rows, labels, scores = (
        np.concatenate([getattr(part.table, name) for part in parts]) for name in ("images", "rows", "labels", "scores")
    )
    if len(np.unique(images)) < len(images):
        raise InputError(
            f"runs of {group.name} that are of different study types were tested on the same images",
            "compare its runs one by one",
        )
    table = ScoreTable(images, rows, labels, scores, first.classes, first.answers)
    return Scored(table, report_of_members([part.report for part in parts]))


def report_of_members(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """What is read of the reports of runs whose scores are averaged: the first, with the mean of the thresholds that
    each run's own validation chose for a label, whether all have learned it, and the mean of the temperatures.

    It is the one rule of what a group decides: in its own report, and where it is compared.
    """
    rows: dict[str, dict[str, Any]] = {}
    for label in dict.fromkeys(label for report in reports for label in report.get("per_class", {})):
        own = [report.get("per_class", {}).get(label, {}) for report in reports]
        limits = [row["threshold"] for row in own if "threshold" in row]
        rows[label] = {
            **({"threshold": float(np.mean(limits))} if limits else {}),
            **({"learned": False} if any(row.get("learned") is False for row in own) else {}),
        }
    told = [report["temperature"] for report in reports if "temperature" in report]
    temperature = {"temperature": float(np.mean(told))} if len(told) == len(reports) else {}
    return {**reports[0], **temperature, "per_class": rows}
