"""MLflow: one run for all attempts, on the server of MLFLOW_TRACKING_URI or in a database in the run folder."""

from __future__ import annotations

import os
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from typing import Any

from medtrain.config.schema import Config
from medtrain.core.console import warn
from medtrain.runs.run import Run
from medtrain.tracking.backends.common import public_config
from medtrain.tracking.journal_reader import Row

TAG = "medtrain_id"
# MLflow's limits of one request and of one value.
METRICS_AT_ONCE = 1000
PARAMS_AT_ONCE = 100
PARAM_CHARACTERS = 6000


class MlflowBackend:
    """MLflow makes a second point of a step that is sent twice, and removes none: it is asked first what it has."""

    amends = True

    def __init__(self, run: Run, config: Config, identity: str) -> None:
        self._run, self._client = run, connect(run)
        self._there: dict[str, set[int]] = defaultdict(set)
        experiment = experiment_id(self._client, run, config.tracking.project)
        found = self._client.search_runs([experiment], filter_string=f"tags.{TAG} = '{identity}'")
        mlflow_run = found[0] if found else self._client.create_run(experiment, run_name=run.name, tags={TAG: identity})
        self._id, self._place = mlflow_run.info.run_id, str(mlflow_run.info.artifact_uri)
        if found:
            self._client.update_run(self._id, status="RUNNING")
            for name in mlflow_run.data.metrics:
                self._there[name] = {metric.step for metric in self._client.get_metric_history(self._id, name)}
        send_params(self._client, self._id, public_config(run, config), known=mlflow_run.data.params)

    def send(self, rows: list[Row]) -> None:
        """Log the values that MLflow does not have yet."""
        from mlflow.entities import Metric

        new = [
            Metric(name, value, int(row.time * 1000), row.step)
            for row in rows
            for name, value in row.values.items()
            if row.step not in self._there[name]
        ]
        for start in range(0, len(new), METRICS_AT_ONCE):
            self._client.log_batch(self._id, metrics=new[start : start + METRICS_AT_ONCE])

    def send_test(self, row: Row) -> None:
        """Log them at the last step."""
        self.send([row])

    def flush(self) -> None:
        """Nothing to do: an answered request is durable."""

    def finish(self) -> None:
        """Mark the run as finished, and send what came out of it; a later attempt takes it up again."""
        self._client.set_terminated(self._id)
        own = self._place.startswith(self._run.trackers.as_uri())
        if not own and not os.environ.get("MLFLOW_TRACKING_URI"):
            return  # where the run folder was before it was moved, or the folder that this was called in
        try:
            for path, place in artifacts(self._run):
                self._client.log_artifact(self._id, str(path), place)
        except Exception as error:  # a store of many kinds; the curve is there
            warn(f"mlflow has the whole curve, but not all files: {type(error).__name__}: {error}")


def connect(run: Run) -> Any:
    """A client of the user's server, or of a SQLite file (MLflow's file store is frozen and wants to be asked for)."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")  # a minute; MLflow's 7 take four
    from mlflow.tracking import MlflowClient

    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return MlflowClient(uri)
    for package in ("sqlalchemy", "alembic"):  # not part of mlflow-skinny, whose own error does not name them
        import_module(package)
    made = run.trackers / "mlflow.made"
    if not made.exists():  # killed while it made the tables, MLflow could never open the file again
        for part in run.trackers.glob("mlflow.db*"):
            part.unlink()
    client = MlflowClient(f"sqlite:///{run.trackers}/mlflow.db")
    made.touch()
    return client


def artifacts(run: Run) -> list[tuple[Path, str]]:
    """The files that a finished run shows besides its curve, and where to: its figures, then the best weights. Of a run
    that has not ended there are none. Reports stay in the run folder: they have numbers of few patients."""
    if run.status().get("state") != "finished":
        return []
    best = run.checkpoints / "best"
    weights = best / "ema.safetensors" if (best / "ema.safetensors").exists() else best / "model.safetensors"
    return [
        # The name of a figure of another dataset has that of its folder behind a dash.
        *((path, "figures") for path in sorted(run.figures.glob("*.png")) if "-" not in path.stem),
        *((path, "checkpoint") for path in (best / "state.json", weights) if path.exists()),
    ]


def experiment_id(client: Any, run: Run, name: str) -> str:
    """The experiment of that name, made if it is not there; without a server its files are in the run folder."""
    experiment = client.get_experiment_by_name(name)
    place = None if os.environ.get("MLFLOW_TRACKING_URI") else (run.trackers / "mlflow-artifacts").as_uri()
    return str(experiment.experiment_id if experiment else client.create_experiment(name, artifact_location=place))


def send_params(client: Any, run_id: str, config: dict[str, Any], known: dict[str, str]) -> None:
    """Log the settings as `section.name`; MLflow forbids to change one, so those it knows stay as they are."""
    from mlflow.entities import Param

    settings: dict[str, Any] = {}
    for name, value in config.items():
        section = value if isinstance(value, dict) else {"": value}
        settings.update({f"{name}.{key}".rstrip("."): inner for key, inner in section.items()})
    new = [Param(name, str(value)[:PARAM_CHARACTERS]) for name, value in settings.items() if name not in known]
    for start in range(0, len(new), PARAMS_AT_ONCE):
        client.log_batch(run_id, params=new[start : start + PARAMS_AT_ONCE])
