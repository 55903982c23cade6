"""The results of a group's runs as one: each study judged by the models of its type, all studies in one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medtrain import tasks
from medtrain.config import configfile
from medtrain.core import permissions
from medtrain.core.console import table
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.evaluation.compared_entries import report_of_members
from medtrain.evaluation.evaluate import compute_task_metrics
from medtrain.evaluation.inference import rebuild_model
from medtrain.evaluation.score_table import ScoreTable, read_scores
from medtrain.reporting import study_figures
from medtrain.reporting.html_report.group_page import write_group_page
from medtrain.reporting.html_report.page_frame import GROUP, ensure_writable
from medtrain.reporting.report_text import report_text
from medtrain.reporting.split_report import evaluate_opened, report_name
from medtrain.reporting.task_figures import draw
from medtrain.runs import journal
from medtrain.runs.run import Run, command_for
from medtrain.runs.run_group import RunGroup, digest
from medtrain.shards import mixture

ENSEMBLE = 5  # models of the lowest validation loss are averaged (Rajpurkar et al., 2018)


def build_report(
    group: RunGroup, say: Callable[[str], None], out: Path | None = None, small_cells: bool = False
) -> dict[str, Any]:
    """Write and return the report of a group: that of its task over all studies, and of each run what it contributed.
    It is also written as a page, `report.html` of the group or `out`.

    Of several runs on the same study type the probabilities of an image are averaged, of at most ENSEMBLE runs.
    InputError where no run has a result yet, or the page cannot be written to `out`.
    """
    if out is not None:
        ensure_writable(out, GROUP)
    permissions.apply(configfile.load(group.runs[0].config_file).share)
    told = {run.name: _about(run) for run in group.runs}
    chosen = _chosen(group.runs, told)
    if not chosen:
        see = command_for(Run(group.folder), "status")
        raise InputError(f"no run of {group.name} has a result yet", f"see why: {see}")
    task, judged = judged_together(group, {name: [run.report for run in runs] for name, runs in chosen.items()})
    copies = [told[runs[0].name]["copies_left_out"] for runs in chosen.values()]
    report = {**judged, "copies_left_out": sum(copies), "runs": told}
    for folder in (group.evaluation, group.figures):
        folder.mkdir(exist_ok=True, mode=0o750)
    write_json(group.report, report)
    _draw(group, report)
    draw(task, report, group.figures / f"{task.figure}_test.png", _about_group(group, report))
    write_group_page(group, report, out, small_cells)
    say(f"{group.name}, {len(told)} runs:\n{report_text(report, task)}\n\n{_runs_table(told)}{_missing(group, told)}")
    return report


def evaluate_together(
    group: RunGroup, members: list[Run], split: str, shards: Path | None, study_type: str, say: Callable[[str], None]
) -> tuple[dict[str, Any], Path]:
    """Score a split with each of these runs of a group, and write the report of them all: those of a study type are
    averaged. Returns it and its file. `shards` stands in for what they were trained on."""
    reports: dict[str, list[Path]] = {}
    for run in members:
        opened = rebuild_model(run, shards)
        name = report_name(split or mixture.tested(opened.config.data), opened.elsewhere)
        evaluate_opened(opened, split or mixture.tested(opened.config.data), lambda text: None)
        reports.setdefault(opened.own.study_type, []).append(run.evaluation / f"{name}.json")
    if not study_type and name == group.report.stem:
        return build_report(group, say), group.report
    task, judged = judged_together(group, reports)
    judged["copies_left_out"] = sum(read_json(paths[0]).get("copies_left_out", 0) for paths in reports.values())
    path = group.evaluation / f"{'-'.join(filter(None, (name, study_type)))}.json"
    group.evaluation.mkdir(exist_ok=True, mode=0o750)
    write_json(path, {**judged, "runs": [run.name for run in members]})
    say(f"{group.name}, {len(members)} runs:\n{report_text(judged, task)}")
    return judged, path


def judged_together(group: RunGroup, reports: dict[str, list[Path]]) -> tuple[Any, dict[str, Any]]:
    """The task as the validations of the runs have tuned it, and its report over what the runs of each study type
    scored, whose tables lie beside their reports."""
    parts = [_average([read_scores(path.with_suffix(".csv")) for path in paths]) for paths in reports.values()]
    task = tasks.make(configfile.load(group.runs[0].config_file), parts[0].classes, _counts(group))
    task = task.with_tuning_of(report_of_members([read_json(path) for paths in reports.values() for path in paths]))
    labels, scores = (np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "scores"))
    return task, compute_task_metrics(task, scores, labels, np.concatenate([part.rows for part in parts]))


def _about(run: Run) -> dict[str, Any]:
    """What a run contributes, as plain values."""
    config, status = configfile.load(run.config_file), run.status()
    finished = status.get("state") == "finished" and run.report.with_suffix(".csv").exists()
    rows = list(journal.rows(run.journal, "epoch"))
    best = next((row for row in rows if row["epoch"] == status.get("best_epoch")), {})
    own = read_json(run.report) if finished else {}
    return {
        "study_type": config.data.study_type,
        "seed": config.seed,
        "state": status.get("state", "new"),
        "error": status.get("error", ""),
        "best_epoch": status.get("best_epoch"),
        "val_loss": best.get("val_loss"),
        "val_kappa": best.get("val_kappa"),
        "kappa": own.get("kappa"),
        "auroc": own.get("auroc"),
        "finished": finished,
        "digest": digest(run) if finished else "",
        "copies_left_out": own.get("copies_left_out", 0),
        "averaged": False,
    }


def _chosen(runs: list[Run], told: dict[str, dict[str, Any]]) -> dict[str, list[Run]]:
    """study type -> its finished runs of the lowest validation loss; those are marked in `told`."""
    found: dict[str, list[Run]] = {}
    by_loss = sorted(runs, key=lambda run: np.inf if (loss := told[run.name]["val_loss"]) is None else loss)
    for run in by_loss:
        own = told[run.name]
        members = found.setdefault(own["study_type"], []) if own["finished"] else []
        if own["finished"] and len(members) < ENSEMBLE:
            members.append(run)
            own["averaged"] = True
    return {name: found[name] for name in sorted(found)}


def _counts(group: RunGroup) -> dict[str, tuple[int, int]]:
    """What each label's own training draws."""
    found: dict[str, tuple[int, int]] = {}
    for run in group.runs:
        for name, both in run.counts().items():
            found[name] = max(found.get(name, (0, 0)), both, key=sum)
    return found


def _average(tables: list[ScoreTable]) -> ScoreTable:
    """The scores of the same images by several models, as their mean."""
    first = tables[0]
    if any(not np.array_equal(other.images, first.images) for other in tables):
        raise InputError("the runs of a group were tested on different images", "evaluate each anew: medtrain evaluate")
    mean = np.asarray(np.mean([one.scores for one in tables], axis=0), np.float64)
    return ScoreTable(first.images, first.rows, first.labels, mean, first.classes, first.answers)


def _draw(group: RunGroup, report: dict[str, Any]) -> None:
    rows = {name: row for name, row in report["per_class"].items() if row["samples"]}
    study_figures.kappas({**rows, "all": report}, group.figures / "kappa_test.png", _about_group(group, report))


def _about_group(group: RunGroup, report: dict[str, Any]) -> str:
    return f"group {group.name}, test split: {report['samples']:,} studies"


def _runs_table(told: dict[str, dict[str, Any]]) -> str:
    head = ("run", "state", "best epoch", "validation loss", "validation kappa", "test kappa", "test AUROC")
    names = ("state", "best_epoch", "val_loss", "val_kappa", "kappa", "auroc")
    return table(head, [(run, *(own[name] for name in names)) for run, own in told.items()])


def _missing(group: RunGroup, told: dict[str, dict[str, Any]]) -> str:
    """The runs without a result, and what helps."""
    lines = [f"{run} has no result: {own['error'] or own['state']}" for run, own in told.items() if not own["finished"]]
    return "".join(f"\n{line}" for line in [*lines, f"resume them: {group.again}"]) if lines else ""
