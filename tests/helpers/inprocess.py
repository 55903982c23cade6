"""A run that a test trains in its own process: no start of another one, and what it meets can be planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from medtrain.config import configfile
from medtrain.core.errors import MedtrainError
from medtrain.reporting.split_report import report_finished
from medtrain.runs.run import Run
from medtrain.training.loop import train
from medtrain.training.stop_request import StopRequest

SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "precision": "fp32",
    "data": {"batch_size": 8, "grad_accumulation": 1, "workers": 1, "image_size": 32, "eval_batch_size": 4},
    "model": {"backbone": "test_resnet"},
    "tracking": {"tracker": "none"},
    "checkpoint": {"every_steps": 3, "keep_last": 50},
}


def new_run(shards: Path, runs: Path, name: str = "one", **sections: Any) -> Run:
    """A run of 12 steps an epoch with the demo dataset; `sections` are laid over the settings above."""
    run = Run.create(runs, name)
    config = configfile.merge(configfile.resolve("mednist"), SETTINGS, "the test")
    own = {"run": name, "runs": str(runs), "data": {"shards": str(shards)}}
    for values in (own, sections):
        config = configfile.merge(config, values, "the test")
    configfile.save(config, run.config_file)
    return run


def train_here(run: Run) -> int:
    """As a worker does; returns its exit code, or raises what ended it."""

    def fail(error: MedtrainError) -> NoReturn:
        raise error

    try:
        return train(run, configfile.load(run.config_file), StopRequest(), fail, report_finished)
    finally:
        run.lock_file.unlink(missing_ok=True)  # this process holds it till it ends: the next training is another's
