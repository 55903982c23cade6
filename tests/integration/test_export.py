"""An export is loaded by a program without medtrain, which answers as the run does; else there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command import medtrain
from older_run import end_of
from safetensors.torch import load_file, save_file
from short_training import train

from medtrain.core.errors import InputError, MachineError, NumericalError
from medtrain.core.jsonfiles import read_json
from medtrain.evaluation.inference import load_best_model
from medtrain.evaluation.pixel_network import PixelNetwork
from medtrain.exporting import verify_export
from medtrain.exporting.traced_program import plain_network
from medtrain.exporting.write_export import export_run
from medtrain.runs.run import Run


@pytest.fixture(scope="module")
def runs(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small network of timm."""
    folder = tmp_path_factory.mktemp("exports")
    train(demo_shards, folder, "timm", "--epochs", "1")
    return folder


@pytest.mark.parametrize("kind", ["onnx", "timm", "torch_export"])
def test_a_program_without_medtrain_answers_as_the_run_does(kind: str, runs: Path, tmp_path: Path) -> None:
    name = "timm"
    before = end_of(Run(runs / name))
    words = ("export", name, "--to", kind, "--runs", runs, "--out", tmp_path / "made", "--json")
    told = json.loads(medtrain(*words).stdout)
    described = read_json(tmp_path / "made" / "medtrain.json")
    assert told == {**described, "folder": str(tmp_path / "made")}
    proof = described["proof"]
    assert (proof["split"], proof["samples"]) == ("test", 12) and proof["largest_difference"] <= proof["bound"] == 1e-4
    made = tmp_path / "made"
    there = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert there == {*described["files"], "medtrain.json", "consumer.py", "README.md", "SHA256SUMS"}
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=made, check=True)
    assert {described["file"], "settings.yaml"} <= {*described["files"]}
    head, card = (made / "README.md").read_text().removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(head)["tags"][-1] == kind and "license" not in head, "random weights, and none is stated"
    assert card.startswith(f"\n# {name}\n") and "no licence is stated" in card
    assert end_of(Run(runs / name)) == before, "the run is as it was"
    # The program that is shipped with it, as a stranger starts it, on samples of its own.
    consumer = [sys.executable, "-I", str(tmp_path / "made" / "consumer.py"), str(tmp_path / "made")]
    size = described["input"]["height"]
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 1, size, size)).astype(np.float32)
    done = subprocess.run(consumer, input=verify_export.as_bytes(pixels), capture_output=True, check=True)
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
