"""The figures of a run, drawn from what is in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtrain.config import configfile
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json
from medtrain.evaluation.score_table import ScoreTable, read_scores
from medtrain.metrics.curves import curves_of
from medtrain.reporting import plots
from medtrain.reporting.goodput_figure import draw_goodput
from medtrain.reporting.html_report.run_facts import judged_of, kind_of
from medtrain.reporting.score_figures import score_panels
from medtrain.reporting.style import formats_now
from medtrain.reporting.task_figures import draw
from medtrain.runs import journal
from medtrain.runs.attempt_history import attempt_history
from medtrain.runs.goodput import spent
from medtrain.runs.run import Run, command_for
from medtrain.shards import mixture
from medtrain.tasks import Task, make
from medtrain.tasks.abnormality import STATES

if TYPE_CHECKING:  # torch
    from medtrain.evaluation.inference import TrainedModel


def split_words(run: Run, name: str, report: dict[str, Any], unit: str, table: ScoreTable | None) -> str:
    """What a figure is of: run, split, how many samples, and of how many patients where several are of one."""
    split, _, elsewhere = name.partition("-")
    patients = len(np.unique(table.rows["group"])) if table is not None and len(table.rows) else 0
    of = f" of {patients:,} patients" if table is not None and patients < len(table.rows) else ""
    return f"run {run.name}, {split} split{f' of {elsewhere}' if elsewhere else ''}: {report['samples']:,} {unit}{of}"


def draw_history(run: Run, config: Config) -> Path:
    """The curves of the training; how many samples they are of, where the packed dataset is still there."""
    sizes = {"training": "train", "validation": "val"}
    try:
        counts = [f"{len(mixture.open_split(config.data, split).samples):,} {word}" for word, split in sizes.items()]
        what = f": {' and '.join(counts)} {config.data.unit}"
    except InputError:
        what = ""
    path = run.figures / "history.png"
    plots.history(list(journal.rows(run.journal, "epoch")), path, config.monitor, f"run {run.name}{what}")
    return path


def draw_attempts(run: Run, finishes_at: float | None = None) -> Path | None:
    """What the time of its attempts became; None of a run that had only one. `finishes_at` as of `attempt_history`."""
    rows = spent(attempt_history(run, None, finishes_at))
    if len(rows) < 2:
        return None
    path = run.figures / "goodput.png"
    draw_goodput(rows, path, f"run {run.name}")
    return path


def draw_curves(run: Run, config: Config, name: str, about: str) -> Path | None:
    """ROC, precision-recall, scores by state and reliability of a report; None where no label has them."""
    report = read_json(run.evaluation / f"{name}.json")
    judged, _ = judged_of(config, run.evaluation / f"{name}.csv", report)
    if judged is None:
        return None
    found = curves_of(judged.scores, judged.positive, judged.known, judged.groups)
    if all(each is None for each in found):
        return None
    path = run.figures / f"curves_{name}.png"
    states = STATES if kind_of(report) == "abnormality" else ("absent", "present")
    score_panels(judged, dict(zip(judged.names, found, strict=True)), path, about, states)
    return path


def files_of_split(opened: TrainedModel, name: str, report: dict[str, Any]) -> list[Path]:
    """The files of all figures of a split that was just scored: its report's, and its curves', which are drawn here."""
    run = opened.run
    about = split_words(run, name, report, opened.task.unit, read_scores(run.evaluation / f"{name}.csv"))
    curves = draw_curves(run, opened.config, name, about)
    drawn = [run.figures / f"{opened.task.figure}_{name}.png", *([curves] if curves else [])]
    return [path for figure in drawn for path in formats_now(figure) if path.exists()]


def drawn_again(run: Run) -> list[Path]:
    """All figures of a finished run, from its reports; InputError where it has none yet."""
    if not run.report.exists():
        raise InputError(
            f"run {run.name} has no report yet", f"score its weights first: {command_for(run, 'evaluate')}"
        )
    config, report, name = configfile.load(run.config_file), read_json(run.report), run.report.stem
    task = task_of(run, config, report)
    attempts = draw_attempts(run)
    paths = [draw_history(run, config), *([attempts] if attempts else [])]
    about = split_words(run, name, report, task.unit, _table(run.report.with_suffix(".csv")))
    paths += [draw_report(run, name, report, task, about)]
    scores = draw_curves(run, config, name, about)
    return [*paths, *([scores] if scores else [])]


def task_of(run: Run, config: Config, report: dict[str, Any]) -> Task:
    """The task of a run whose dataset need not be there."""
    return make(config, tuple(run.counts()) or tuple(report["per_class"]), run.counts())


def draw_report(run: Run, name: str, report: dict[str, Any], task: Task, about: str) -> Path:
    """The figure of a task's report."""
    path = run.figures / f"{task.figure}_{name}.png"
    draw(task, report, path, about)
    return path


def _table(path: Path) -> ScoreTable | None:
    try:
        return read_scores(path)
    except InputError:
        return None
