"""What the trackers have in common: their contract, a run's name in them, and what they may be told."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from medtrain.config import fingerprint
from medtrain.config.backbones import weights_in_public
from medtrain.config.renamed import with_old_names
from medtrain.config.schema import Config
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.runs.run import Run
from medtrain.tracking.journal_reader import Row
from medtrain.tracking.metric_names import grouped, unchanged

GROUPED = "grouped"  # in id.json; missing in runs of version 0.1


class TrackerBackend(Protocol):
    """A tracker that takes rows in the order of their steps."""

    amends: bool
    """A step that was sent in an earlier attempt can get more values in this one."""

    def send(self, rows: list[Row]) -> None:
        """Pass these steps on."""

    def send_test(self, row: Row) -> None:
        """Pass the numbers of the test on, which are of the last step."""

    def flush(self) -> None:
        """The journal is read up: make durable what was sent, and drop what it replaces."""

    def finish(self) -> None:
        """The attempt has ended and everything was sent."""


class Remedy(NamedTuple):
    """What a user can do when a tracker fails."""

    install: str
    check: str


REMEDIES = {
    "wandb": Remedy(
        "pip install wandb",
        "check WANDB_API_KEY (or wandb login) and the connection, or set tracking.mode to offline",
    ),
    "mlflow": Remedy('pip install "medtrain[mlflow]"', "check MLFLOW_TRACKING_URI and its server"),
    "tensorboard": Remedy('pip install "medtrain[tensorboard]"', "check the folder trackers of the run"),
}


def tracker_id(run: Run) -> str:
    """The run's identity in every tracker: made once, the same in all attempts."""
    return str(_identity(run)["id"])


def metric_names(run: Run) -> Callable[[str], str]:
    """What the run's tracker calls a number of the journal: a run keeps the names that it began with."""
    return grouped if has_todays_names(run) else unchanged


def has_todays_names(run: Run) -> bool:
    """Whether a run began with grouped metrics, and settings by the names of today."""
    return _identity(run).get("names") == GROUPED


def _identity(run: Run) -> dict[str, Any]:
    file = run.trackers / "id.json"
    known = read_json(file)
    if not known:
        known = {"id": secrets.token_hex(4), "names": GROUPED}
        write_json(file, known)
    return known


def public_config(run: Run, config: Config) -> dict[str, Any]:
    """The settings that a tracker may show: no account, no shell lines, and no paths of this machine; by the names that
    the run began with."""
    values = fingerprint.to_dict(config)
    for name in ("runs", "weights_dir", "notify", "notify_on"):
        del values[name]
    for name in ("account", "setup", "sbatch"):
        del values["slurm"][name]
    del values["data"]["shards"]
    values["model"]["weights"] = weights_in_public(config.model.weights)
    values["slurm"]["cluster"] = Path(config.slurm.cluster).name
    return values if has_todays_names(run) else with_old_names(values)
