"""The trackers hold every step of the journal exactly once, whatever is killed."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from feeding import (
    end,
    feed,
    in_journal,
    in_wandb,
    kill,
    make_run,
    names_this_machine,
    offline_runs,
    require,
    storm,
    train,
    wait_until,
    wandb_text,
    write_journal,
)
from feeding import no_network as no_network

from medtrain.config.backbones import OWN_WEIGHTS
from medtrain.config.schema import Config, DataConfig, ModelConfig, SlurmConfig
from medtrain.core import processes as helper
from medtrain.runs.run import set_status
from medtrain.tracking.backends.common import public_config
from medtrain.tracking.backends.wandb import goes_online
from medtrain.tracking.journal_reader import StepReader
from medtrain.tracking.uploader_process import UploaderProcess


def test_rows_of_a_growing_journal(tmp_path: Path) -> None:
    journal = tmp_path / "metrics.jsonl"
    reader = StepReader(journal)
    assert reader.take(9) == []
    with journal.open("wb") as file:
        file.write(b'{"kind": "step", "step": 1, "epoch": 0, "loss": 0.5, "time": 7.0, "host": "x", "ok": true}\n')
        file.write(b'{"kind": "step", "st')
        file.flush()
        assert reader.take(9) == []
        file.write(b'ep": 2, "loss": NaN, "epoch": 0, "time": 8}\n\0\0\0\n{"kind": "other", "step": 3}\n')
        file.flush()
        assert reader.take(9) == [(1, 7.0, {"epoch": 0, "loss": 0.5})]
        assert reader.last is not None and math.isnan(reader.last.values["loss"]) and not reader.last_is_whole
        file.write(b'{"kind": "epoch", "step": 2, "epoch": 1, "val_loss": 2, "time": 9}\n')
        file.write(b'{"kind": "step", "step": 1, "epoch": 0, "time": 9}\n')
        file.flush()
    assert reader.take(9) == []
    assert reader.last.step == 2 and reader.last.values.keys() == {"epoch", "loss", "val_loss"}
    assert reader.last.values["epoch"] == 1 and reader.last_is_whole


def test_rows_are_taken_in_portions(tmp_path: Path) -> None:
    run = make_run(tmp_path, "none")
    write_journal(run, 25)
    reader = StepReader(run.journal)
    portions = [[row.step for row in reader.take(10)] for _ in range(4)]
    assert portions == [list(range(1, 11)), list(range(11, 21)), list(range(21, 25)), []]


def test_public_config_has_no_paths_and_no_account(tmp_path: Path) -> None:
    slurm = SlurmConfig(account="a", setup=("x",), cluster="/home/c")
    model, data = ModelConfig(weights="/home/me/w.safetensors"), DataConfig(shards="/home/s")
    config = Config(data=data, model=model, slurm=slurm, runs="/home/runs", weights_dir="/home/me")
    (run := make_run(tmp_path, "none")).trackers.mkdir()
    shown = public_config(run, config)
    assert "/home" not in json.dumps(shown) and not {"account", "setup"} & set(shown["slurm"])
    assert shown["model"]["weights"] == OWN_WEIGHTS and shown["optim"]["lr"] == 1e-4


def test_auto_is_online_with_a_key_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not goes_online("auto") and goes_online("online") and not goes_online("offline")
    (tmp_path / ".netrc").write_text("machine example.org login me password x\n")
    assert not goes_online("auto")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password x\n")
    assert goes_online("auto")
    (tmp_path / ".netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert goes_online("auto")
    for word in ("offline", "disabled", "dryrun"):
        monkeypatch.setenv("WANDB_MODE", word)
        assert not goes_online("auto")


@pytest.mark.parametrize("word", ["offline", "disabled", "online", "enabled"])
def test_wandbs_own_switches_are_obeyed(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`wandb offline` and `wandb disabled`, said in the folder where training starts, with a key at hand."""
    monkeypatch.chdir(tmp_path)
    for said in ("disabled", word):  # enabled and online undo it
        subprocess.run([sys.executable, "-m", "wandb", said], check=True, capture_output=True)
    monkeypatch.setenv("WANDB_API_KEY", "x")
    code = "from medtrain.tracking.backends.wandb import *; print(goes_online('auto'), goes_online('online'), switch())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    on = word in ("online", "enabled")
    assert done.stdout.split() == [str(on), "True", "online" if on else word] and not done.stderr
    if word == "disabled":
        run = make_run(tmp_path, "wandb")
        write_journal(run, 3)
        done = subprocess.run(
            helper.command("medtrain.tracking.uploader", str(run.folder)), input="", capture_output=True, text=True
        )
        assert done.returncode == 0 and "W&B is switched off (wandb disabled)" in done.stderr
        assert not run.trackers.exists()


def test_the_trainer_side_is_light_and_does_nothing_for_none(tmp_path: Path) -> None:
    run = make_run(tmp_path, "none")
    feeder = UploaderProcess(run, "none")
    feeder.start()
    feeder.finish()
    assert not run.trackers.exists()
    module = "medtrain.tracking.uploader_process"
    code = f"import sys, {module}; sys.exit(bool({{'wandb', 'mlflow', 'torch'}} & set(sys.modules)))"
    subprocess.check_call([sys.executable, "-c", code])


def test_wandb_offline_has_every_step_once_after_a_storm_of_kills(tmp_path: Path) -> None:
    run = make_run(tmp_path, "wandb")
    storm(run, alive=lambda: any(file.stat().st_size > 5000 for file in run.trackers.glob("wandb/*/*.wandb")))
    (folder,) = offline_runs(run)
    rows = in_wandb(folder)
    assert list(rows) == list(range(1, 201))
    assert rows == in_journal(run)
    assert rows[120] == {
        "epoch": 6, "train/loss": 1 / 120 + 2, "train/lr": 1e-4, "train/loss_epoch": 1 / 120, "val/accuracy": 0.12,
    }  # fmt: skip
    assert [round(rows[step]["train/loss"] - 1 / step) for step in (10, 11, 121, 141)] == [1, 2, 3, 4]


@pytest.mark.parametrize("tracker", ["wandb", "tensorboard"])
def test_what_an_orphan_makes_late_is_dropped_at_the_end(tracker: str, tmp_path: Path) -> None:
    """A killed helper's own process of W&B may make its folder, or a file in it, when the next attempt is at work."""
    run = make_run(tmp_path, tracker)
    trainer, _ = train(run, attempt=0, checkpoint=0, end=10_000, pause=0.05)
    folder = run.trackers / tracker
    wait_until(lambda: any(folder.glob("*/*.wandb")) or any(folder.glob("*/events*")))
    (own,) = (left for left in folder.iterdir() if left.is_dir() and not left.is_symlink())
    late = folder / re.sub(r"20\d\d", "2001", own.name)
    late.mkdir()
    (late / "earlier").touch()
    (newer := folder / re.sub(r"20\d\d", "2999", own.name)).mkdir()  # of an attempt after this one
    trainer.kill()
    wait_until(lambda: "has the whole journal" in (run.trackers / "feed.log").read_text())
    assert {left for left in folder.iterdir() if left.is_dir() and not left.is_symlink()} == {own, newer}


def test_wandb_is_told_nothing_of_the_machine(tmp_path: Path) -> None:
    run = make_run(tmp_path, "wandb")
    write_journal(run, 5)
    done = feed(run)
    assert (done.returncode, done.stderr) == (0, "")
    (folder,) = offline_runs(run)
    content = wandb_text(folder)
    for secret in ("grant-4711", "/secret/shards", str(tmp_path), str(Path.cwd()), sys.executable):
        assert secret not in content
    assert not names_this_machine(content)
    assert "densenet121" in content
    identity = json.loads((run.trackers / "id.json").read_text())["id"]
    assert folder.name.endswith(identity)
    assert stat.S_IMODE(run.trackers.stat().st_mode) == 0o700
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}, "something was written to the home folder"


def test_signals_of_slurm_do_not_cost_a_step(tmp_path: Path) -> None:
    run = make_run(tmp_path, "wandb")
    trainer, helper = train(run, attempt=0, checkpoint=0, end=60, pause=0.05)
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
    for number in signals:
        os.kill(helper, number)  # before its first instruction, perhaps
    wait_until(lambda: any(run.trackers.glob("wandb/*/*.wandb")))
    pids = subprocess.check_output(["ps", "-o", "pid=", "--ppid", str(helper)], text=True).split()
    assert pids, "W&B has no process of its own any more: this test and the restart can go"
    for pid in (helper, *map(int, pids)):
        for number in signals:
            os.kill(pid, number)
    end(trainer)
    (folder,) = offline_runs(run)
    assert in_wandb(folder) == in_journal(run)


def test_tensorboard_has_every_step_once_after_a_storm_of_kills(tmp_path: Path) -> None:
    require("tensorboard", extra="tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = make_run(tmp_path, "tensorboard")
    storm(run, alive=lambda: any(file.stat().st_size > 5000 for file in run.trackers.glob("tensorboard/*/events*")))
    (folder,) = (run.trackers / "tensorboard").iterdir()
    assert not any(names_this_machine(file.name) for file in folder.iterdir())
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    rows: dict[int, dict[str, float]] = {}
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            assert name not in rows.setdefault(event.step, {}), "a step twice"
            rows[event.step][name] = event.value
    expected = in_journal(run)
    assert sorted(rows) == sorted(expected)
    assert all(rows[step] == pytest.approx(values, rel=1e-6) for step, values in expected.items())
    assert events.Scalars("train/loss")[0].wall_time == json.loads(run.journal.read_text().split("\n")[0])["time"]


def test_mlflow_goes_on_with_the_same_run(tmp_path: Path) -> None:
    require("mlflow", "sqlalchemy", "alembic", extra="mlflow")
    from mlflow.tracking import MlflowClient

    run = make_run(tmp_path, "mlflow")
    trainer, helper = train(run, attempt=0, checkpoint=0, end=10_000, pause=0.02)
    wait_until(lambda: (run.trackers / "mlflow.db").exists())
    time.sleep(0.2)
    kill(trainer, helper)  # in the middle of making the tables, which MLflow does not survive by itself
    trainer, helper = train(run, attempt=0, checkpoint=0, end=10_000, pause=0.02)
    wait_until(lambda: (run.trackers / "mlflow.made").exists())
    wait_until(lambda: len(in_journal(run)) > 130)
    time.sleep(1.5)  # some rows have been sent
    kill(trainer, helper)
    reached = len(in_journal(run))
    trainer, _ = train(run, attempt=0, checkpoint=100, end=150)
    wait_until(lambda: len(in_journal(run)) == 150)
    kill(trainer)
    for file in (
        "figures/history.png",
        "figures/auroc_test-clinic.png",
        "evaluation/mistakes_test.png",
        "evaluation/test.json",
        "evaluation/test.csv",
        "checkpoints/best/model.safetensors",
    ):
        (run.folder / file).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / file).write_bytes(file.encode())
    set_status(run, state="finished")
    trainer, _ = train(run, attempt=0, checkpoint=120, end=reached + 100)  # further than the killed ones came
    end(trainer)

    client = MlflowClient(f"sqlite:///{run.trackers}/mlflow.db")
    (experiment,) = [item for item in client.search_experiments() if item.name == "medtrain"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED" and found.info.run_name == "trial"
    assert found.data.params["optim.lr"] == "0.0001" and "slurm.account" not in found.data.params
    expected = in_journal(run)
    for name in ("train/loss", "train/loss_epoch", "val/accuracy"):
        points = client.get_metric_history(found.info.run_id, name)
        assert len(points) == len({point.step for point in points}), "a step twice"
        assert {point.step: point.value for point in points} == {
            step: values[name] for step, values in expected.items() if name in values
        }
    assert not (tmp_path / "mlruns").exists()
    sent = {item.path for place in (None, "figures", "checkpoint")
            for item in client.list_artifacts(found.info.run_id, place)}  # fmt: skip
    assert sent == {"figures", "figures/history.png", "checkpoint", "checkpoint/model.safetensors"}
    local = client.download_artifacts(found.info.run_id, "checkpoint/model.safetensors", str(tmp_path))
    assert Path(local).read_bytes() == b"checkpoints/best/model.safetensors"
