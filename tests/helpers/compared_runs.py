"""Finished runs of every kind of problem that scored the same images, for `medtrain compare`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from written_run import written

from medtrain.config import configfile
from medtrain.core.jsonfiles import write_json
from medtrain.evaluation.evaluate import compute_task_metrics
from medtrain.evaluation.score_table import read_scores, write_scores
from medtrain.runs.run import Run
from medtrain.runs.run_group import RunGroup
from medtrain.tasks import make


def compared(
    runs: Path, task: str, names: tuple[str, ...] = ("one", "two"), count: int = 90, **others: Any
) -> list[Run]:
    """Runs of a task; each after the first has the scores of the first with noise of its own, and another rate."""
    found = []
    for place, name in enumerate(names):
        run = written(runs, task, name, count, optim={"lr": 0.001 * (place + 1)}, **others)
        if place:
            _disturbed(run, task, place)
        found.append(run)
    return found


def _disturbed(run: Run, task: str, seed: int) -> None:
    """Other scores of the same images, and their report."""
    table = read_scores(run.evaluation / "test.csv")
    noise = np.random.default_rng(seed).normal(0, 0.9, table.scores.shape)
    if task == "score":
        scores = table.scores + 0.2 * noise
    elif task == "multiclass":
        scores = table.scores * np.exp(noise)
        scores /= scores.sum(1, keepdims=True)
    else:
        scores = 1 / (1 + np.exp(-(np.log(table.scores / (1 - table.scores)) + noise)))
    config = configfile.load(run.config_file)
    kind = make(config, table.classes, {})
    if kind.needs_tuning:
        kind = kind.tune_on(scores, table.labels)
    write_scores(replace(table, scores=scores), run.evaluation / "test.csv")
    report = compute_task_metrics(kind, scores, table.labels, table.rows)
    write_json(run.evaluation / "test.json", {**report, "copies_left_out": 2})


def grouped(runs: Path, name: str, seeds: int, first: int = 0, task: str = "multilabel", **others: Any) -> RunGroup:
    """A finished group of runs of one task with so many seeds, whose noise is numbered from `first`."""
    names = tuple(f"{name}-{place + 1}" for place in range(seeds))
    for place, member in enumerate(names):
        run = written(runs, task, member, seed=42 + place, **others)
        if first + place:
            _disturbed(run, task, first + place)
    return RunGroup.create(runs, name, [*names], {}, by_slurm=False)
