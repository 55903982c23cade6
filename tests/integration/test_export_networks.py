"""Every format of `medtrain export` holds for a ConvNeXt, a DenseNet, R(2+1)D and a ViT, and `predict` reads it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from command import BRIEF, medtrain
from short_training import train

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.datasets.sources import echo_demo
from medtrain.evaluation.export_folder import Export
from medtrain.evaluation.predict import EchoPredictor, Predictor
from medtrain.exporting import monai_bundle, onnx_file
from medtrain.exporting.formats import WRITERS
from medtrain.exporting.write_export import export_run
from medtrain.runs.run import Run

FEW = ("--epochs", "1", "--max_samples", "8")
NETWORKS = {
    "convnext": ("--backbone", "test_convnext", "--channels", "3", "--normalize", "imagenet"),
    "dense": ("--backbone", "densenet121"),
    "vit": ("--backbone", "test_vit", "--image_size", "160", "--normalize", "image"),
}
CLIPS = ("--weights", "", "--frames", "4", "--stride", "4", "--image_size", "32", "--clips", "2")
OF_TIMM = ("convnext",)  # of the networks, those of timm whose normalization timm's config can say
EVERYWHERE = [kind for kind in WRITERS if kind != "timm"]


@pytest.fixture(scope="module")
def trained(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Each network after a step of training, when a test first wants it."""
    runs = tmp_path_factory.mktemp("networks")

    @cache
    def of(name: str) -> Run:
        if name == "clips":
            echo_demo.download(runs / "raw", samples=24)
            medtrain("shard", "echo_demo", "--root", runs / "raw", "--out", runs / "shards", "--size", 40)
            data = ("--shards", runs / "shards", "--runs", runs, "--run", name)
            medtrain("train", "echo", *data, *BRIEF, "--eval_batch_size", "4", *CLIPS, *FEW)
        else:
            train(demo_shards, runs, name, *FEW, *NETWORKS[name])
        return Run(runs / name)

    return of


def files_for(run: Run, demo_tree: Path) -> list[Path]:
    """Two images, or clips."""
    clips = sorted(path for path in (run.folder.parent / "raw" / "clips").rglob("*") if path.is_file())
    return clips[:2] if run.name == "clips" else sorted(demo_tree.rglob("*.jpeg"))[::50][:2]


def numbers(row: dict[str, Any]) -> list[float]:
    """All probabilities in a row of a prediction, calibrated ones too."""
    return [*row["probabilities"].values(), *row.get("calibrated", {}).values()]


def words(row: dict[str, Any]) -> dict[str, Any]:
    """What is no number in it."""
    return {name: value for name, value in row.items() if not isinstance(value, float | dict)}


@pytest.mark.parametrize("name", ["convnext", "dense", pytest.param("vit", marks=pytest.mark.slow), "clips"])
def test_each_format_answers_and_predicts_as_the_run_does(
    name: str, trained: Callable[[str], Run], demo_tree: Path, tmp_path: Path
) -> None:
    """All formats in one test: the network is trained once, whichever process of the tests has it."""
    run = trained(name)
    given = files_for(run, demo_tree)
    own = Predictor(run.folder).predict(given)
    for kind in (*EVERYWHERE, *(["timm"] if name in OF_TIMM else [])):
        proof = export_run(run, kind, tmp_path / kind)["proof"]
        assert proof["samples"] >= 4 and 0 <= proof["largest_difference"] <= proof["bound"] == 1e-4, kind
        for path in (tmp_path / kind).rglob("*"):
            told = b"" if path.is_dir() else path.read_bytes()
            assert not re.search(rb'File "|site-packages', told), f"{path} tells where it was made"
        exported = Predictor(tmp_path / kind).predict(given)
        for before, after in zip(own, exported, strict=True):
            assert words(after) == words(before) and list(after) == list(before), kind
            assert numbers(after) == pytest.approx(numbers(before), abs=1e-6), kind


def test_an_onnx_file_stands_alone(trained: Callable[[str], Run], tmp_path: Path, monkeypatch: Any) -> None:
    """It is valid, names its labels, and takes any number of samples; large weights lie beside it."""
    run = trained("convnext")
    described = export_run(run, "onnx", tmp_path / "made")
    assert sorted(described["files"]) == ["model.onnx", "settings.yaml"]
    onnx.checker.check_model(tmp_path / "made" / "model.onnx", full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "made" / "model.onnx", providers=["CPUExecutionProvider"])
    told = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    assert told["output"]["labels"] == described["output"]["labels"] and told["input"] == described["input"]
    for batch in (1, 5):
        answers = session.run(None, {"pixels": np.zeros((batch, 1, 32, 32), np.float32)})[0]
        assert answers.shape == (batch, 6) and answers.sum(1) == pytest.approx(1, abs=1e-6)
    monkeypatch.setattr(onnx_file, "ONE_FILE", 1000)
    described = export_run(run, "onnx", tmp_path / "two")
    assert sorted(described["files"]) == ["model.onnx", "model.onnx.data", "settings.yaml"]
    monkeypatch.setattr(onnx_file, "NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(InputError, match="--to onnx needs no_such_package"):
        export_run(run, "onnx", tmp_path / "none")
    assert not (tmp_path / "none").exists()


BUNDLE = """
import sys
from monai.bundle import ConfigParser, verify_net_in_out
meta, config = (f"{sys.argv[1]}/configs/{name}.json" for name in ("metadata", "inference"))
verify_net_in_out(net_id="network_def", meta_file=meta, config_file=config, device="cpu")
told = ConfigParser()
told.read_meta(meta)
print(told["_meta_"]["network_data_format"]["outputs"]["pred"]["channel_def"])
"""


def test_a_monai_bundle_is_what_its_metadata_say(
    trained: Callable[[str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By MONAI's own check of a bundle; its weights are tensors alone."""
    described = export_run(trained("convnext"), "monai_bundle", tmp_path / "made", licence="mit")
    done = subprocess.run([sys.executable, "-I", "-c", BUNDLE, str(tmp_path / "made")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    labels = dict(zip(map(str, range(6)), described["output"]["labels"], strict=True))
    assert str(labels) in done.stdout
    tensors = torch.load(tmp_path / "made" / "models" / "model.pt", weights_only=True)
    assert all(type(value) is torch.Tensor for value in tensors.values())
    assert (tmp_path / "made" / "docs" / "README.md").read_text() == (tmp_path / "made" / "README.md").read_text()
    assert (tmp_path / "made" / "LICENSE").read_text().startswith("These weights: mit\n")
    monkeypatch.setattr(monai_bundle, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="--to monai_bundle needs monai") as raised:
        export_run(trained("convnext"), "monai_bundle", tmp_path / "none")
    assert raised.value.fix == 'pip install "medtrain[monai]"'


def test_what_timm_has_no_words_for_is_refused(trained: Callable[[str], Run], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="densenet121 is no network of timm"):
        export_run(trained("dense"), "timm", tmp_path / "made")
    with pytest.raises(InputError, match="normalizes each image by itself"):
        export_run(trained("vit"), "timm", tmp_path / "made")
    assert not list(tmp_path.iterdir())


def test_predict_reads_an_export_where_the_run_is_gone(
    trained: Callable[[str], Run], demo_tree: Path, tmp_path: Path
) -> None:
    """The command prints the same, and what is damaged is told before any of it is used."""
    run, made = trained("convnext"), tmp_path / "made"
    export_run(run, "safetensors", made)
    given = files_for(run, demo_tree)
    own = medtrain("predict", "convnext", "--runs", run.folder.parent, *given)
    there = medtrain("predict", made, "--runs", tmp_path, *given)
    assert there.stdout == own.stdout and "ring" in there.stdout
    rows = json.loads(medtrain("predict", made, "--runs", tmp_path, "--json", *given).stdout)
    assert [row["image"] for row in rows] == [str(path) for path in given]
    with pytest.raises(InputError, match="is for images"):
        EchoPredictor(made)
    weights = made / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = medtrain("predict", made, *given, check=False)
    assert done.returncode == 2 and f"{weights} is damaged or changed" in done.stderr
    weights.unlink()
    with pytest.raises(InputError, match="is not there"):
        Predictor(made)
    told = read_json(made / "medtrain.json")
    write_json(made / "medtrain.json", {**told, "files": {}})
    with pytest.raises(InputError, match="it lacks 'files'"):
        Predictor(made)
    assert Export(made).name == "made"
