"""The command sync: a run's whole curve to its tracker."""

from __future__ import annotations

import subprocess
from pathlib import Path

from medtrain.cli.flag_types import Flag, RunName
from medtrain.config import configfile
from medtrain.core.console import say, say_json
from medtrain.core.errors import EXIT_ENVIRONMENT
from medtrain.core.processes import command
from medtrain.runs.run import Run
from medtrain.tracking.sync import can_send, destination, ensure_can_upload, ensure_not_uploading


def sync(
    name: RunName,
    runs: Path = Path("runs"),
    json: Flag = False,
) -> int:
    """Send a run's whole curve to its tracker: W&B gets an offline run, MLflow and TensorBoard what they lack.

    Args:
        name: Name of the run.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    run = Run.find(runs, name)
    tracking = configfile.load(run.config_file).tracking
    if tracking.tracker != "none":
        ensure_not_uploading(run)
        mode = "online" if can_send(tracking.tracker, tracking.mode) else "offline"
        done = subprocess.run(
            command("medtrain.tracking.uploader", str(run.folder), mode), stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            return EXIT_ENVIRONMENT  # it has said why
        ensure_can_upload(run, tracking.tracker, mode)
    where = destination(run, tracking.tracker)
    if json:
        say_json({"run": run.name, "tracker": tracking.tracker, "where": where})
    elif where:
        say(f"{tracking.tracker} has the whole curve of run {run.name}: {where}")
    else:
        say(f"run {run.name} has no tracker (tracking.tracker is none): its curve is in {run.journal}")
    return 0
