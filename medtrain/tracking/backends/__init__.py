"""The trackers behind the journal, one file each, and what they have in common."""

from __future__ import annotations

from medtrain.config.schema import Config
from medtrain.runs.run import Run
from medtrain.tracking.backends.common import Feed, tracker_id


def open_feed(run: Run, config: Config) -> Feed:
    """The tracker that `config` names, ready for the first row of the journal."""
    identity = tracker_id(run)
    if config.tracking.tracker == "wandb":
        from medtrain.tracking.backends.wandb import WandbFeed

        return WandbFeed(run, config, identity)
    if config.tracking.tracker == "mlflow":
        from medtrain.tracking.backends.mlflow import MlflowFeed

        return MlflowFeed(run, config, identity)
    from medtrain.tracking.backends.tensorboard import TensorboardFeed

    return TensorboardFeed(run)
