"""A trainer, a journal and the readers of tracker data, for the tests of the feed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from limits import HANG_S
from places import REPOSITORY
from process_table import gone

from medtrain.config import configfile
from medtrain.config.schema import Config, DataConfig, SlurmConfig, TrackingConfig
from medtrain.core import processes as helper
from medtrain.core.jsonfiles import read_json_lines
from medtrain.runs.run import Run
from medtrain.tracking.backends.wandb_file import history, records
from medtrain.tracking.metric_names import grouped

# A trainer as the helper sees it: cuts the journal to the checkpoint, starts the feeder, adds lines, closes or is
# killed. The loss tells the attempt that wrote it.
TRAINER = """
import json, sys, time
from medtrain.tracking.uploader_process import UploaderProcess
from medtrain.runs.run import Run

folder, attempt, checkpoint, end, pause = sys.argv[1], *map(float, sys.argv[2:])
run = Run(folder)
lines = run.journal.read_text().splitlines(True) if run.journal.exists() else []
run.journal.write_text("".join(x for x in lines if x.endswith("\\n") and json.loads(x)["step"] <= checkpoint))
feeder = UploaderProcess(run, "of the settings")
feeder.start()
print(feeder._process.pid, flush=True)
with run.journal.open("a") as journal:
    for step in range(int(checkpoint) + 1, int(end) + 1):
        line = json.dumps({"kind": "step", "step": step, "epoch": (step - 1) // 20, "loss": 1 / step + attempt,
                           "lr": 1e-4, "time": 1.79e9 + step + attempt}) + "\\n"
        journal.write(line[:9]); journal.flush()
        journal.write(line[9:])
        if step % 20 == 0:
            values = {"epoch": step // 20, "train_loss": 1 / step, "val_accuracy": step / 1e3}
            row = {"kind": "epoch", "step": step} | values | {"time": time.time()}
            journal.write(json.dumps(row) + "\\n")
        journal.flush()
        time.sleep(pause)
print("written", flush=True)
feeder.finish()
"""


_STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No keys, no netrc file, and proxies that lead nowhere: a tracker that calls out fails.

    A trainer that a failed test has left is killed, so that it spoils no other.
    """
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    yield
    while _STARTED:
        kill(_STARTED.pop())


def make_run(folder: Path, tracker: str, mode: str = "auto") -> Run:
    run = Run.create(folder / "runs", "trial")
    tracking = TrackingConfig(tracker=tracker, mode=mode)  # type: ignore[arg-type]
    slurm = SlurmConfig(account="grant-4711")
    configfile.save(Config(data=DataConfig(shards="/secret/shards"), slurm=slurm, tracking=tracking), run.config_file)
    return run


def write_journal(run: Run, steps: int) -> None:
    rows = [{"kind": "step", "step": i, "epoch": 0, "loss": 1 / i, "time": 1.79e9 + i} for i in range(1, steps + 1)]
    run.journal.write_text("".join(json.dumps(row) + "\n" for row in rows))


def train(run: Run, attempt: int, checkpoint: int, end: int, pause: float = 0.0) -> tuple[subprocess.Popen[str], int]:
    """Start an attempt; the process and the pid of its helper."""
    command = [sys.executable, "-c", TRAINER, str(run.folder), *map(str, (attempt, checkpoint, end, pause))]
    trainer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    _STARTED.append(trainer)
    assert trainer.stdout is not None
    return trainer, int(trainer.stdout.readline())


def end(trainer: subprocess.Popen[str]) -> None:
    trainer.communicate(timeout=HANG_S)
    assert trainer.returncode == 0


def kill(trainer: subprocess.Popen[str], *pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    trainer.kill()
    trainer.wait()
    assert trainer.stdout is not None
    trainer.stdout.close()


def feed(run: Run, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the helper over the whole journal, as a user does to catch up."""
    return subprocess.run(
        helper.command("medtrain.tracking.uploader", str(run.folder)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        **options,
    )


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + HANG_S
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def in_journal(run: Run) -> dict[int, dict[str, float]]:
    """What a tracker should hold: each step's numbers, the epoch's line over the step's, by the tracker's names."""
    rows: dict[int, dict[str, float]] = {}
    for entry in read_json_lines(run.journal):
        numbers = {grouped(key): value for key, value in entry.items() if key not in ("kind", "step", "time")}
        rows.setdefault(entry["step"], {}).update(numbers)
    return rows


def storm(run: Run, alive: Callable[[], object]) -> None:
    """Three kills -9 and a clean end; every attempt writes other values, so that a stale one would show.

    The first kill hits a helper that is still starting, the second one that has sent rows, the third the trainer alone,
    and the next attempt begins while the orphaned helper may still be at work, or overtakes it.
    """
    trainer, helper = train(run, attempt=1, checkpoint=0, end=10_000, pause=0.01)
    wait_until(lambda: len(in_journal(run)) > 15)
    kill(trainer, helper)
    trainer, helper = train(run, attempt=2, checkpoint=10, end=10_000, pause=0.01)
    wait_until(lambda: alive() and len(in_journal(run)) > 125)
    kill(trainer, helper)
    trainer, orphan = train(run, attempt=3, checkpoint=120, end=10_000, pause=0.01)
    wait_until(lambda: len(in_journal(run)) > 150)
    kill(trainer)
    trainer, _ = train(run, attempt=4, checkpoint=140, end=200)
    end(trainer)
    wait_until(lambda: gone(orphan))  # it may have waited for the helper of the last attempt, and sends all once more


def offline_runs(run: Run) -> list[Path]:
    return sorted((run.trackers / "wandb").glob("*run-*-*"))


def in_wandb(folder: Path) -> dict[int, dict[str, float]]:
    """The steps of an offline run, as W&B's own records."""
    rows: dict[int, dict[str, float]] = {}
    (file,) = folder.glob("*.wandb")
    for record in history(file):
        values = {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in record.item}
        assert values.pop("_step") == record.step.num
        assert record.step.num not in rows, "a step twice"
        rows[record.step.num] = {key: value for key, value in values.items() if not key.startswith("_")}
    return rows


def wandb_text(folder: Path) -> str:
    """Each record of an offline run as protobuf's text: what it says, without the file's checksums."""
    (file,) = folder.glob("*.wandb")
    return "\n".join(map(str, records(file)))


def names_this_machine(text: str) -> bool:
    """A host may be called `vm`, which is in some of the random identities that W&B makes: whole words only."""
    return re.search(rf"(?<![\w-]){re.escape(socket.gethostname())}(?![\w-])", text) is not None


def require(*modules: str, extra: str) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f'needs: pip install "medtrain[{extra}]"')
