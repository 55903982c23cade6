"""Whether a run's curve can be sent to its tracker now, and where it then is."""

from __future__ import annotations

import contextlib
import os
from urllib.parse import urlsplit

from medtrain.core.errors import InputError, MachineError
from medtrain.core.files import locked
from medtrain.runs.ownership import VERIFYING, alive
from medtrain.runs.run import Run, command_for
from medtrain.tracking.uploader_process import catch_up, upload_lock


def can_send(tracker: str, mode: str) -> bool:
    """Whether W&B can be talked to here, a run that was kept offline too: the user asks for it now."""
    from medtrain.tracking.backends.wandb import goes_online

    return tracker == "wandb" and (mode == "online" or goes_online("auto"))


def ensure_not_uploading(run: Run) -> None:
    """A helper that is at work sends everything itself, and two would send the same steps."""
    place = alive(run, sure=True)
    if place is not None and not place.waits and place.state != VERIFYING:
        raise InputError(
            f"run {run.name} is under way ({place.kind} {place.id}): its own helper feeds the tracker",
            f"wait for its end: {command_for(run, 'logs')} -f",
        )
    with contextlib.suppress(FileNotFoundError), locked(upload_lock(run), wait=False) as own:
        if not own:
            raise InputError(
                f"run {run.name}: the helper of its last attempt still feeds the tracker",
                f"call this again in a minute; what it does is in {run.trackers / 'feed.log'}",
            )


def ensure_can_upload(run: Run, tracker: str, mode: str) -> None:
    """The run is whole on the disk, but W&B was not asked."""
    if tracker == "wandb" and mode == "offline":
        from medtrain.tracking.backends.wandb import DISABLED, switch

        reason, remedy = "there is no key for W&B here", "set WANDB_API_KEY (or wandb login)"
        if forbidden := os.environ.get("WANDB_MODE", "").replace("online", ""):
            reason, remedy = f"WANDB_MODE={forbidden} forbids it", "unset WANDB_MODE"
        elif (how := switch()) != "online":
            reason, remedy = f"`wandb {how}` is set here", "wandb enabled" if how == DISABLED else "wandb online"
        raise MachineError(
            f"run {run.name} was not sent: {reason}; it is complete in {run.trackers / 'wandb'}",
            f"{remedy}, then {catch_up(run)}",
        )


def destination(run: Run, tracker: str) -> str:
    """Where a tracker's data are, and how to look at them; without what a server's address may hold of a password."""
    server = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", "")).hostname
    local = f"mlflow ui --backend-store-uri sqlite:///{run.trackers}/mlflow.db"
    return {
        "wandb": urlsplit(os.environ.get("WANDB_BASE_URL", "")).hostname or "wandb.ai",
        "mlflow": server or os.environ.get("MLFLOW_TRACKING_URI") or local,
        "tensorboard": f"tensorboard --logdir {run.trackers / 'tensorboard'}",
    }.get(tracker, "")
