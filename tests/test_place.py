"""medtrain.place: a rank that cannot train says which one it is, and where."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medtrain.run import Run


@pytest.mark.skipif(torch.cuda.is_available(), reason="!!! NOT TESTED: a GPU can do what is refused here")
def test_a_rank_that_cannot_train_names_itself_and_its_host(demo_shards: Path, tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    run.config_file.write_text(f"recipe: mednist\nprecision: fp16\ndata:\n  shards: {demo_shards}\n")
    command = [sys.executable, "-m", "medtrain.worker", str(run.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    host = socket.gethostname()
    assert done.returncode == 1, done.stderr
    assert f"rank 0 on {host}: {host}: precision fp16 needs a GPU" in run.log.read_text()
    failure = run.failure()
    assert (failure["rank"], failure["host"], failure["exit_code"]) == (0, host, 1)
