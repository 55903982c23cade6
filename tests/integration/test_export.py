"""An export is loaded by a program without medtrain, which answers as the run does; else there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command import medtrain
from older_run import end_of
from safetensors.torch import load_file, save_file
from short_training import train

from medtrain.core.errors import InputError, MachineError, NumericalError
from medtrain.core.jsonfiles import read_json
from medtrain.evaluation.inference import load_best_model
from medtrain.exporting import verify_export
from medtrain.exporting.pixel_network import PixelNetwork, plain_network
from medtrain.exporting.write_export import export_run
from medtrain.runs.run import Run

ODD = ["--normalize", "image"]
SMALL_VIT = ["--backbone", "test_vit"]


@pytest.fixture(scope="module")
def runs(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a network of timm, of DenseNet, and of a transformer with another normalization."""
    folder = tmp_path_factory.mktemp("exports")
    train(demo_shards, folder, "timm", "--epochs", "1")
    train(demo_shards, folder, "dense", "--epochs", "1", "--backbone", "densenet121")
    train(demo_shards, folder, "vit", "--epochs", "1", "--backbone", "test_vit", "--image_size", "160", *ODD)
    return folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [("timm", "torch_export"), ("timm", "safetensors"), ("timm", "timm"), ("dense", "torch_export"),
     ("dense", "safetensors"), ("vit", "torch_export"), ("vit", "safetensors")],
)  # fmt: skip
def test_a_program_without_medtrain_answers_as_the_run_does(name: str, kind: str, runs: Path, tmp_path: Path) -> None:
    before = end_of(Run(runs / name))
    words = ("export", name, "--to", kind, "--runs", runs, "--out", tmp_path / "made", "--json")
    told = json.loads(medtrain(*words).stdout)
    described = read_json(tmp_path / "made" / "medtrain.json")
    assert told == {**described, "folder": str(tmp_path / "made")}
    proof = described["proof"]
    assert (proof["split"], proof["samples"]) == ("test", 12) and proof["largest_difference"] <= proof["bound"] == 1e-4
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        described["file"], "medtrain.json", "consumer.py", "README.md", *(["config.json"] if kind == "timm" else [])
    }  # fmt: skip
    assert (tmp_path / "made" / "README.md").read_text().startswith("<!-- medtrain report: a model card -->")
    assert end_of(Run(runs / name)) == before, "the run is as it was"
    # The program that is shipped with it, as a stranger starts it, on samples of its own.
    consumer = [sys.executable, "-I", str(tmp_path / "made" / "consumer.py"), str(tmp_path / "made")]
    for batch in (1, 3):
        size = described["input"]["height"]
        pixels = np.random.default_rng(batch).uniform(0, 255, (batch, 1, size, size)).astype(np.float32)
        given = verify_export.as_bytes(pixels)
        done = subprocess.run(consumer, input=given, capture_output=True, check=True)
        opened = load_best_model(Run(runs / name))
        with torch.inference_mode():
            own = PixelNetwork(plain_network(opened), opened.config)(torch.from_numpy(pixels)).numpy()
        assert verify_export.from_bytes(done.stdout) == pytest.approx(own, abs=1e-5)


def test_what_answers_otherwise_is_not_exported(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight that changes between writing and the proof."""
    prove = verify_export.prove

    def spoiled(opened: object, kind: str, folder: Path, split: str) -> verify_export.Proof:
        tensors = load_file(folder / "model.safetensors")
        name = next(name for name in tensors if name.endswith("fc.weight"))
        save_file({**tensors, name: -tensors[name]}, folder / "model.safetensors")
        return prove(opened, kind, folder, split)  # type: ignore[arg-type]

    monkeypatch.setattr(verify_export, "prove", spoiled)
    with pytest.raises(NumericalError, match="answers to the test split lie up to"):
        export_run(Run(runs / "timm"), "safetensors", tmp_path / "made")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_told(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="densenet121 is no network of timm"):
        export_run(Run(runs / "dense"), "timm", tmp_path / "made")
    with pytest.raises(InputError, match="normalizes each image by itself"):
        export_run(Run(runs / "vit"), "timm", tmp_path / "made")
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="exists already"):
        export_run(Run(runs / "timm"), "safetensors", tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    folder = tmp_path / "there"
    (folder / "medtrain.json").write_text("{}")
    consumer = verify_export.Consumer("safetensors", folder)
    with pytest.raises(MachineError, match="the safetensors export cannot be used: KeyError: 'network'"):
        consumer.answer(np.zeros((1, 1, 8, 8), np.float32))
    consumer.close()
    assert [path.name for path in folder.iterdir()] == ["medtrain.json"]
