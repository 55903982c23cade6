"""Training on a disk that is full."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import command_line, medtrain
from fork_server import Forked
from limits import HANG_S
from short_training import arguments, rows, train

from medtrain.core.errors import MachineError
from medtrain.runs import code_snapshot
from medtrain.runs.run import Run


@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk is made with a small tmpfs, which needs root")
def test_a_run_whose_end_cannot_be_saved_is_not_called_finished(demo_shards: Path, tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a full disk is made with a small tmpfs, which this container may not mount")
    try:
        full = train(demo_shards, tmp_path, "lost", check=False)
        assert full.returncode == 1
        assert "could not be saved: No space left on device" in full.stderr and "make room" in full.stderr
        subprocess.run(["mount", "-o", "remount,size=1g", str(tmp_path)], check=True)
        medtrain("resume", "lost", "--runs", tmp_path)
        assert json.loads((tmp_path / "lost/checkpoints/last/state.json").read_text())["step"] == 24
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk is made with a small tmpfs, which needs root")
def test_a_full_disk_stops_no_training_and_keeps_the_last_good_checkpoint(demo_shards: Path, tmp_path: Path) -> None:
    # room must be made before the run is over, and saves fill the disk, not code
    slow = ["--backbone", "densenet121", "--image_size", "32"]
    train(demo_shards, tmp_path, "roomy", *slow)
    size = sum(file.stat().st_size for file in (tmp_path / "roomy/checkpoints/last/").iterdir())
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(size * 1.5)}", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a full disk is made with a small tmpfs, which this container may not mount")
    try:
        process = Forked(
            command_line(*arguments(demo_shards, small, "tight", "--every_steps", 5, *slow)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seen = ""
        assert process.stdout is not None
        for line in process.stdout:
            seen += line
            if "could not be saved: No space left on device" in line:
                # Somebody makes room: the checkpoint that is there must be whole and older.
                assert (small / "tight/checkpoints/last/manifest.json").exists()
                subprocess.run(["mount", "-o", f"remount,size={size * 10}", str(small)], check=True)
        assert process.wait(HANG_S) == 0, seen
        assert "training continues, and the next save tries again" in seen
        ends = [
            json.loads((run / "checkpoints/last/manifest.json").read_text())["tensors"]
            for run in (tmp_path / "roomy", small / "tight")
        ]
        assert ends[0] == ends[1]
        assert [row["step"] for row in rows(small / "tight", "step")] == list(range(1, 25))
    finally:
        for _ in range(20):
            if subprocess.run(["umount", str(small)], check=False, capture_output=True).returncode == 0:
                break
            time.sleep(0.2)


def test_a_copy_of_medtrain_on_a_full_disk_is_named(small_disk: Callable[[int], Path]) -> None:
    run = Run.create(small_disk(200_000) / "runs", "first")
    with pytest.raises(MachineError, match="No space left"):
        code_snapshot.create_snapshot(run)
    assert not run.code.exists()
