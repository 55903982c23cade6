"""The report of a split, scored with a run's best weights: numbers, tables and figures in the run folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from medtrain.config.schema import Config
from medtrain.core.console import busy
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.datasets.labels import are_scores
from medtrain.distributed.process_group import World, broadcast_object
from medtrain.evaluation.evaluate import Scores, by_study, by_subgroup, distinct, load_best, measure, score_split
from medtrain.evaluation.inference import TrainedModel
from medtrain.evaluation.score_table import TIES, ScoreTable, write_scores
from medtrain.loading.loader import Loader
from medtrain.reporting.html_report.run_page import write_report_page
from medtrain.reporting.misclassified import draw_misclassified
from medtrain.reporting.report_text import report_text
from medtrain.reporting.run_figures import draw_attempts, draw_history, draw_report, split_words
from medtrain.runs.checkpoint_manifest import newest_manifest
from medtrain.runs.run import Run, command_for
from medtrain.shards import mixture
from medtrain.tasks import Task


def report_finished(
    run: Run,
    config: Config,
    task: Task,
    model: nn.Module,
    world: World,
    say: Callable[[str], None],
    each_round: Callable[[], bool],
) -> None:
    """What a finished run leaves to read: the reports of the test split and of a held-out dataset, and its curve."""
    own = mixture.tested(config.data)
    if own != "test":
        say("warning: there is no test split; what follows is of the split that chose the weights")
    for split in (own, mixture.EXTERNAL) if config.data.holdout else (own,):
        evaluate_best(run, config, task, model, world, split, say, each_round)
    if world.main:
        busy("drawing the report")
        run.figures.mkdir(exist_ok=True, mode=0o750)
        draw_history(run, config)
        draw_attempts(run, finishes_at=time.time())
        write_page(run, say)


def write_page(run: Run, say: Callable[[str], None]) -> None:
    """The report as a page. Whatever goes wrong with it, the run is finished."""
    try:
        write_report_page(run, finishes_at=time.time())
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        say(f"warning: no {run.page.name}: {reason} (write it later: {command_for(run, 'report')})")


def evaluate_opened(opened: TrainedModel, split: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Score a split of the packed dataset, or of the one that stands in for it; writes and returns the report."""
    if opened.elsewhere:
        opened.warn_of_seen(split)
    else:
        mixture.ensure_same_shards(opened.own, newest_manifest(opened.run.checkpoints), opened.run.name)
    return evaluate_best(
        opened.run, opened.config, opened.task, opened.model, opened.world, split, say, elsewhere=opened.elsewhere
    )


def evaluate_best(
    run: Run,
    config: Config,
    task: Task,
    model: nn.Module,
    world: World,
    split: str,
    say: Callable[[str], None],
    each_round: Callable[[], bool] = lambda: False,
    elsewhere: str = "",
) -> dict[str, Any]:
    """Score a split with the run's best weights (loaded into `model`); writes and returns the report.

    What is to be decided before a test (thresholds) the validation split decides. `elsewhere` is the name of a dataset
    that stands in for the run's own: it decides nothing, and has a report of its own.
    """
    load_best(run, model, world)
    loader, scores = score_split(config, task, model, world, split, each_round)
    if elsewhere:
        task = task.with_tuning_of(read_json(run.report))
    elif task.needs_tuning:
        validation, seen = (
            (loader, scores) if split == "val" else score_split(config, task, model, world, "val", each_round)
        )
        task = task.tune_on(seen.values, validation.labels[seen.samples])
    about = (measure, by_study, by_subgroup) if world.main else ()
    found = [numbers(scores, task, loader) for numbers in about]
    report: dict[str, Any] = broadcast_object(world, {name: value for part in found for name, value in part.items()})
    if world.main:
        table, name = _table(scores, task, loader), report_name(split, elsewhere)
        write_report(run, name, report, task, split_words(run, name, report, task.unit, table))
        write_scores(table, run.evaluation / f"{name}.csv")
        if loader.index.clips and task.needs_tuning and task.outputs == 1:
            sheet = run.evaluation / f"mistakes_{report_name(split, elsewhere)}.png"
            if problem := _show_mistakes(scores, task, loader, sheet):
                say(f"warning: no contact sheet of mistakes: {problem}")
        say(f"{split} split, best weights:\n{report_text(report, task)}")
    return report


def _show_mistakes(scores: Scores, task: Task, loader: Loader, sheet: Path) -> str:
    """Draw the contact sheet of mistakes, which shows patients: it lies where no tracker takes it from. Returns why it
    cannot be drawn, should a frame be damaged that the test did not read."""
    own, rows = distinct(scores, loader)
    try:
        draw_misclassified(own.values, loader.labels[own.samples], rows, loader.index, task, sheet)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _table(scores: Scores, task: Task, loader: Loader) -> ScoreTable:
    """The scores of distinct images with what they are scores of."""
    scores, rows = distinct(scores, loader)
    ties = np.empty(len(rows), TIES)
    ties["study"], ties["group"] = rows["study"], rows["group"]
    labels, images = loader.labels[scores.samples], rows["key"].astype("U")
    classes = task.output_names if are_scores(labels) else loader.index.classes
    return ScoreTable(images, ties, labels, scores.values, classes, task.output_names)


def report_name(split: str, elsewhere: str) -> str:
    """What the files of a report are called."""
    return f"{split}-{elsewhere}" if elsewhere else split


def write_report(run: Run, name: str, report: dict[str, Any], task: Task, about: str = "") -> None:
    """`evaluation/NAME.json` and its figure, which says what it is `about`."""
    for folder in (run.evaluation, run.figures):
        folder.mkdir(exist_ok=True, mode=0o750)
    write_json(run.evaluation / f"{name}.json", report)
    draw_report(run, name, report, task, about)
