"""The trackers behind the journal, one file each, and what they have in common."""

from __future__ import annotations

from medtrain.config.schema import Config
from medtrain.runs.run import Run
from medtrain.tracking.backends.common import TrackerBackend, tracker_id


def open_backend(run: Run, config: Config) -> TrackerBackend:
    """The tracker that `config` names, ready for the first row of the journal."""
    identity = tracker_id(run)
    if config.tracking.tracker == "wandb":
        from medtrain.tracking.backends.wandb import WandbBackend

        return WandbBackend(run, config, identity)
    if config.tracking.tracker == "mlflow":
        from medtrain.tracking.backends.mlflow import MlflowBackend

        return MlflowBackend(run, config, identity)
    from medtrain.tracking.backends.tensorboard import TensorboardBackend

    return TensorboardBackend(run)
