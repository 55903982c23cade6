"""SIGKILL at any instant of saving: at most the save in flight is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from limits import HANG_S
from saved import open_folder, refuse

from medtrain.checkpoints.format import newest
from medtrain.runs.checkpoint_manifest import checkpoint_folders

# Saves without end, each step's tensors filled with the step's number, until it is killed.
SAVER = """
import sys, torch
from pathlib import Path
from medtrain.checkpoints.format import newest
from medtrain.checkpoints.writer import Team
from medtrain.checkpoints.retention import CheckpointStore
from medtrain.config.schema import CheckpointConfig
from medtrain.runs.checkpoint_manifest import TrainState

folder = Path(sys.argv[1])
checkpoints = CheckpointStore(folder, CheckpointConfig(), Team(0, 1, sys.argv[2]), {"fingerprints": {}})
found = newest(folder, say=lambda text: sys.exit(f"damaged: {text}"))
checkpoints.start_from(found)
step = found.state.step if found else 0
print(step, flush=True)
while True:
    step += 1
    tensors = {str(n): torch.full((50_000,), float(step)) for n in range(8)}
    files = {"model.safetensors": tensors, "optimizer.safetensors": tensors}
    checkpoints.save(TrainState(step=step), files, frozenset(), before=dict)
    assert not checkpoints.outcome(None).error
"""


def test_sigkill_at_any_instant_of_saving_loses_at_most_the_save_in_flight(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    reached = 0
    for attempt in range(6):
        saver = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path), f"w{attempt}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert saver.stdout is not None and saver.stderr is not None
        line = saver.stdout.readline()
        assert line, saver.stderr.read()
        assert int(line) >= reached
        known = set(checkpoint_folders(tmp_path))
        deadline = time.monotonic() + HANG_S
        while set(checkpoint_folders(tmp_path)) == known and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(float(rng.uniform(0, 0.05)))
        saver.send_signal(signal.SIGKILL)
        saver.communicate()
        found = newest(tmp_path, refuse)
        assert found is not None and found.state.step > reached
        reached = found.state.step
        assert all(bool((tensor == reached).all()) for tensor in found.model.values())
    open_folder(tmp_path).start_from(newest(tmp_path, refuse))
    assert not list(tmp_path.glob(".*"))
    assert len(checkpoint_folders(tmp_path)) <= 3
