"""The chest recipe on the 98 real NIH images, and with its real network."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command import NETWORK, command_line, medtrain
from fork_server import Forked
from limits import HANG_S
from PIL import Image
from places import SHARED
from safetensors.numpy import load_file
from short_training import rows

REAL = SHARED / "nih"
PLAIN = (
    "--rotate_deg",
    "0",
    "--zoom_p",
    "0",
    "--shift",
    "0",
    "--brightness",
    "0",
    "--contrast",
    "0",
    "--coarse_dropout",
    "0",
)
no_images = pytest.mark.skipif(
    not (REAL / "images").exists(), reason="!!! NOT TESTED on real data: no NIH images here (../shared/data/nih)"
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real") / "shards"
    packed = medtrain(
        "shard", "nih", "--root", REAL, "--out", folder, "--partial", "--encoding", "jpeg", "--size", "256"
    )
    assert "112,022 of 112,120 images are not there and were left out" in packed.stderr
    manifest = json.loads((folder / "manifest.json").read_text())
    assert sum(split["samples"] for split in manifest["splits"].values()) == 98
    assert manifest["rejects"] == 0
    return folder


@no_images
def test_real_images_are_learnt_and_explained(shards: Path, tmp_path: Path) -> None:
    """A small network learns its 79 training images by heart. That is seen on the last weights: which are the best
    chance decides, on 10 images of validation."""
    small = (*NETWORK, "--weights", "", "--image_size", "64", "--batch_size", "16", "--lr", "3e-3")
    medtrain("train", "chest", "--shards", shards, "--runs", tmp_path, "--run", "real", "--tracker", "none", *small,
             *PLAIN, "--epochs", "40", "--patience", "0", "--schedule", "cosine")  # fmt: skip
    assert rows(tmp_path / "real", "epoch")[-1]["train_accuracy"] > 0.98
    report = json.loads(medtrain("evaluate", "real", "--runs", tmp_path, "--split", "train", "--json").stdout)
    assert report["macro_labels"]["auroc"] == 14
    image = sorted((REAL / "images").glob("*.png"))[0]
    words = ("--labels", "Effusion", "Mass", "--out", tmp_path / "why", "--json")
    (told,) = json.loads(medtrain("explain", "real", image, "--runs", tmp_path, *words).stdout)
    with Image.open(told["figure"]) as figure:
        assert figure.width > 2 * figure.height


@no_images
def test_convnext_large_trains_stops_and_goes_on(shards: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """196 million parameters on a CPU: a few steps, a stop in the middle, and the weights of a run without one."""
    if not request.config.getoption("--large"):
        pytest.skip("slow: pytest tests/integration/test_chest_real.py --large   (its result: benchmarks/RESULTS.md)")
    words = (
        "train", "chest", "--shards", shards, "--runs", tmp_path, "--tracker", "none", "--weights", "", "--workers",
        "1", "--image_size", "64", "--batch_size", "2", "--max_samples", "16", "--epochs", "1",
    )  # fmt: skip
    medtrain(*words, "--run", "calm")
    stopped = Forked(command_line(*words, "--run", "stopped"), stdout=subprocess.DEVNULL)
    journal = tmp_path / "stopped" / "metrics.jsonl"
    while not (journal.exists() and '"step"' in journal.read_text()) and stopped.poll() is None:
        time.sleep(0.2)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(HANG_S) == 75
    at = json.loads((tmp_path / "stopped/checkpoints/last/state.json").read_text())["step"]
    assert 0 < at < 8
    medtrain("resume", "stopped", "--runs", tmp_path)
    calm, again = (load_file(tmp_path / name / "checkpoints/last/model.safetensors") for name in ("calm", "stopped"))
    assert sum(tensor.size for tensor in calm.values()) == 196_251_854
    assert all((calm[name] == again[name]).all() for name in calm)
