"""Trackers group the numbers of the journal; a run from before keeps the names that it began with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from feeding import feed, in_wandb, make_run, offline_runs, require, wandb_text, write_journal
from feeding import no_network as no_network

from medtrain.config import configfile
from medtrain.core.jsonfiles import write_json
from medtrain.runs.run import Run, set_status
from medtrain.tracking.backends.common import public_config
from medtrain.tracking.metric_names import grouped

REPORT = {
    "samples": 12,
    "accuracy": 0.75,
    "macro_auroc": None,
    "per_class": {"disc": {"recall": 1.0}},
    "task": "multiclass",
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("epoch", "epoch"),
        ("loss", "train/loss"),
        ("lr", "train/lr"),
        ("train_loss", "train/loss_epoch"),
        ("train_accuracy", "train/accuracy"),
        ("val_macro_auroc", "val/macro_auroc"),
        ("val_per_dataset_loss", "val/per_dataset_loss"),
        ("test_accuracy", "test/accuracy"),
        ("seconds", "train/seconds"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert grouped(name) == expected


def finished(folder: Path, tracker: str) -> Run:
    """A run of five steps whose test has been written."""
    run = make_run(folder, tracker)
    write_journal(run, 5)
    run.report.parent.mkdir()
    write_json(run.report, REPORT)
    set_status(run, state="finished")
    return run


def from_before(run: Run) -> None:
    """The file that version 0.1 left."""
    run.trackers.mkdir()
    write_json(run.trackers / "id.json", {"id": "0badcafe"})


@pytest.mark.parametrize("older", [False, True])
def test_wandb(older: bool, tmp_path: Path) -> None:
    run = finished(tmp_path, "wandb")
    if older:
        from_before(run)
    assert feed(run).stderr == ""
    (folder,) = offline_runs(run)
    rows = in_wandb(folder)
    assert list(rows) == [1, 2, 3, 4, 5] and rows[2] == {"epoch": 0, "loss" if older else "train/loss": 0.5}
    text = wandb_text(folder)
    assert ('"test_accuracy"' if older else '"test/accuracy"') in text and "recall" not in text
    assert ('"hang_seconds"' in text) == older and ('"hang_timeout_seconds"' in text) == (not older)


@pytest.mark.parametrize("older", [False, True])
def test_tensorboard(older: bool, tmp_path: Path) -> None:
    require("tensorboard", extra="tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = finished(tmp_path, "tensorboard")
    if older:
        from_before(run)
    assert feed(run).stderr == ""
    (folder,) = (run.trackers / "tensorboard").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    names = {
        "epoch",
        *(("loss", "test_accuracy", "test_samples") if older else ("train/loss", "test/accuracy", "test/samples")),
    }
    assert set(events.Tags()["scalars"]) == names
    (point,) = events.Scalars("test_accuracy" if older else "test/accuracy")
    assert (point.step, point.value) == (5, 0.75)


def test_a_damaged_report_costs_no_curve(tmp_path: Path) -> None:
    run = finished(tmp_path, "wandb")
    run.report.write_text("{")
    assert feed(run).stderr == ""
    (folder,) = offline_runs(run)
    assert len(in_wandb(folder)) == 5 and "test/" not in wandb_text(folder)


def test_an_older_run_shows_its_settings_by_their_old_names(tmp_path: Path) -> None:
    (run := make_run(tmp_path, "none")).trackers.mkdir()
    config = configfile.load(run.config_file)
    assert "monitor" in public_config(run, config) and "watch" not in json.dumps(public_config(run, config))
    from_before(other := make_run(tmp_path / "other", "none"))
    assert {"watch", "hang_seconds"} <= public_config(other, config).keys()
