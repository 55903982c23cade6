"""The recipe mura end to end on drawn bones: learnt, judged by study, the same at any number of ranks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from command import NETWORK, medtrain

from medtrain import models
from medtrain.cli import main
from medtrain.cli.flags import parse_settings
from medtrain.config.schema import DataConfig
from medtrain.core.errors import InputError
from medtrain.datasets.sources import mura_demo
from medtrain.evaluation.gradcam import CELLS, hires_cam, resolving_layer
from medtrain.evaluation.inference import load_best_model
from medtrain.evaluation.inputs import pixels
from medtrain.evaluation.predict import MURAPredictor, Predictor
from medtrain.launch import submit
from medtrain.loading.batch import Batch
from medtrain.runs.run import Run
from medtrain.shards.index import open_index
from medtrain.shards.mixture import open_split

SETTINGS = ("--tracker", "none", "--workers", "1", "--precision", "fp32")
TINY = (*NETWORK, "--image_size", "32")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bones")
    mura_demo.download(folder / "raw", samples=1000)
    medtrain(
        "shard",
        "mura_demo",
        "--root",
        folder / "raw",
        "--out",
        folder / "shards",
        "--encoding",
        "jpeg",
        "--size",
        "112",
    )
    return folder / "shards"


@pytest.fixture(scope="module")
def trained(shards: Path, request: pytest.FixtureRequest) -> Path:
    """The folder of a finished run on all study types; with --slow, the recipe's own network."""
    runs = shards.parent / "runs"
    quick = [*NETWORK, "--epochs", "3", "--lr", "3e-3"]
    own = [] if request.config.getoption("--slow") else quick
    size = ("--image_size", "80")
    medtrain("train", "mura_demo", "--shards", shards, "--runs", runs, "--run", "bones", *size, *own, *SETTINGS)
    return runs / "bones"


def test_broken_bones_are_told_from_whole_ones(trained: Path) -> None:
    report = json.loads((trained / "evaluation" / "test.json").read_text())
    assert report["auroc"] > 0.9, report
    assert report["samples"] < report["per_image"]["samples"], "a study has several images"
    assert sum(row["samples"] for row in report["per_class"].values()) == report["samples"]
    log = (trained / "train.log").read_text()
    assert "labels of the training split:" in log and "kappa" in log
    assert f"on {report['samples']:,} studies" in log and "per image: kappa" in log


def test_the_numbers_are_those_of_the_studies_means(trained: Path, shards: Path, tmp_path: Path) -> None:
    index = open_index(shards, "test")
    found = json.loads(medtrain("evaluate", "bones", "--runs", trained.parent, "--json").stdout)
    assert found["samples"] == len(set(index.samples["study"].tolist()))
    assert found["per_image"]["samples"] == len(index.samples)


def test_the_same_numbers_at_any_number_of_ranks(shards: Path, tmp_path: Path) -> None:
    reports = []
    for ranks in (1, 2, 3):
        run = ("--runs", tmp_path, "--run", f"ranks{ranks}", "--tasks_per_node", ranks, "--epochs", "1")
        options = ("--max_samples", "96", "--global_batch", "24", "--batch_size", "8", "--determinism", "exact")
        medtrain("train", "mura_demo", "--shards", shards, *run, *options, *TINY, *SETTINGS)
        reports.append(json.loads((tmp_path / f"ranks{ranks}" / "evaluation" / "test.json").read_text()))
    assert reports[0] == reports[1] == reports[2]


def test_one_study_type(shards: Path, tmp_path: Path) -> None:
    wrists = open_split(DataConfig(shards=str(shards), study_type="XR_WRIST"), "train")
    column = wrists.classes.index("XR_WRIST")
    assert 0 < len(wrists.samples) < len(open_index(shards, "train").samples)
    assert (wrists.samples["labels"][:, column] >= 0).all()
    with pytest.raises(InputError, match=r"no study type 'XR_WIRST' \(did you mean XR_WRIST\?\)"):
        open_split(DataConfig(shards=str(shards), study_type="XR_WIRST"), "train")
    run = ("--runs", tmp_path, "--run", "wrist", "--epochs", "1", "--study_type", "XR_WRIST", *TINY)
    medtrain("train", "mura_demo", "--shards", shards, *run, *SETTINGS)
    report = json.loads((tmp_path / "wrist" / "evaluation" / "test.json").read_text())
    assert report["samples"] == report["per_class"]["XR_WRIST"]["samples"]
    typed = ["mura_demo", "--shards", str(shards), "--runs", str(tmp_path), "--study_type", "XR_WIRST"]
    for start in (submit.train, submit.submit):  # before the queue, and before a folder exists
        with pytest.raises(InputError, match=r"no study type 'XR_WIRST' \(did you mean XR_WRIST\?\)"):
            start(parse_settings("train", typed)[0], *([True] if start is submit.submit else []))
    with pytest.raises(InputError, match="judges XR_WRIST"):
        MURAPredictor("XR_HAND", tmp_path / "wrist")


def test_images_of_a_study_are_judged_together(trained: Path, tmp_path: Path) -> None:
    folder = next((trained.parents[1] / "raw" / "MURA-v1.1" / "valid" / "XR_WRIST").glob("*/*_positive"))
    images = sorted(folder.iterdir())
    each = json.loads(medtrain("predict", "bones", *images, "--runs", trained.parent, "--json").stdout)
    study = json.loads(medtrain("predict", "bones", *images, "--study", "--runs", trained.parent, "--json").stdout)
    mean = np.mean([one["probabilities"]["abnormal"] for one in each])
    assert study[0]["images"] == list(map(str, images)) and "image" not in study[0]
    assert len(study) == 1 and study[0]["probabilities"]["abnormal"] == pytest.approx(mean, abs=1e-6)
    assert study[0]["abnormal"] == (mean > 0.5)
    opened = Predictor("bones", trained.parent)
    assert opened.predict_study(images) == study[0] and opened.predict(images) == each
    predictor = MURAPredictor("XR_WRIST", run="bones", runs=trained.parent)
    assert predictor.predict(images) == {key: study[0][key] for key in ("abnormal", "confidence", "probabilities")}
    assert predictor.predict(images[0])["probabilities"] == each[0]["probabilities"]
    for typo in ("WRIST", "wrist", "XR_WIRST"):
        for run in ("bones", ""):
            with pytest.raises(InputError, match=rf"no study type '{typo}' \(did you mean XR_WRIST\?\)") as refused:
                MURAPredictor(typo, run=run, runs=trained.parent)
            assert "XR_ELBOW, XR_FINGER" in refused.value.fix
    with pytest.raises(InputError, match="no run is given for XR_WRIST") as refused:
        MURAPredictor("XR_WRIST", runs=trained.parent)
    assert "bones" in refused.value.fix
    with pytest.raises(InputError, match="no study type 'XR_KNEE'"):
        MURAPredictor("XR_KNEE", run="bones", runs=trained.parent)


def test_damaged_files_lose_no_verdict_of_the_others(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next((trained.parents[1] / "raw" / "MURA-v1.1" / "valid" / "XR_WRIST").glob("*/*_positive"))
    good = sorted(folder.iterdir())
    for i, path in enumerate(good):
        shutil.copy(path, tmp_path / f"{2 * i}.png")
        (tmp_path / f"{2 * i + 1}.png").write_bytes(path.read_bytes()[:99])
    (tmp_path / "notes.txt").write_text("of no interest")
    words, place = ["predict", "bones"], ["--runs", str(trained.parent), "--json"]
    assert main.run([*words, *map(str, good), *place]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main.run([*words, str(tmp_path), *place]) == 2, "a folder of images, of which some are damaged"
    said = capsys.readouterr()
    rows = json.loads(said.out)
    assert [Path(row["image"]).name for row in rows] == [f"{i}.png" for i in range(2 * len(good))]
    assert [row["probabilities"] for row in rows[::2]] == [row["probabilities"] for row in alone]
    assert all(set(row) == {"image", "error"} and "cannot be read as an image" in row["error"] for row in rows[1::2])
    assert f"error: {len(good)} of {2 * len(good)} files: {tmp_path / '1.png'}: cannot be read" in said.err
    assert main.run([*words, str(tmp_path), "--study", *place]) == 2
    said = capsys.readouterr()
    assert not said.out and all(f"{2 * i + 1}.png: cannot be read" in said.err for i in range(len(good)))
    assert main.run([*words, *map(str, good), "--study", *place[:-1]]) == 0
    told = capsys.readouterr().out
    assert told.startswith("images") and f"the study ({len(good)} images)" in told and good[-1].name in told


def test_explain_shows_the_one_answer(trained: Path, tmp_path: Path) -> None:
    image = next((trained.parents[1] / "raw" / "MURA-v1.1" / "valid").glob("*/*/*_positive/image1.png"))
    done = medtrain("explain", "bones", image, "--runs", trained.parent, "--out", tmp_path, "--json")
    [found] = json.loads(done.stdout)
    assert list(found["labels"]) == ["abnormal"]
    assert cv2.imread(found["figure"]) is not None


@pytest.fixture
def hurt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], tuple[Any, Any]]:
    """Generates an upper arm with a break or a plate: the image, and where that is, True in the box around it."""
    bone, places = mura_demo._bone, []

    def compared(picture: Any, x: Any, y: Any, half: float, broken: bool, rng: np.random.Generator) -> None:
        whole, same = picture.copy(), np.random.default_rng()
        same.bit_generator.state = rng.bit_generator.state
        bone(picture, x, y, half, broken, rng)
        bone(whole, x, y, half, False, same)
        places.append(np.nonzero(np.abs(picture - whole) > 25))

    def made(seed: int) -> tuple[Any, Any]:
        places.clear()
        image = mura_demo.draw("XR_HUMERUS", True, np.random.default_rng(seed))
        rows, columns = places[0]
        box = np.zeros(image.shape[:2], bool)
        box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        return (image if image.ndim == 2 else image[..., 0]), box

    monkeypatch.setattr(mura_demo, "_bone", compared)
    return made


def test_the_map_lies_on_the_finding(trained: Path, hurt: Callable[[int], tuple[Any, Any]]) -> None:
    """Of 24 images that no training saw: the share of the heat in the box around the break or plate, and how often the
    hottest pixel lies there (the pointing game). By chance both would be the box's share of the image."""
    opened = load_best_model(Run(trained))
    layers = models.map_layers(opened.config.model, opened.model)
    inside, pointed, area = [], [], []
    for seed in range(500, 524):
        image, box = hurt(seed)
        inputs = opened.inputs([image])
        layer = resolving_layer(opened.model, layers, inputs)
        heat = cv2.resize(hires_cam(opened.model, layer.module, inputs, [0])[0], image.shape[::-1])
        inside.append(heat[box].sum() / heat.sum())
        pointed.append(box[np.unravel_index(heat.argmax(), heat.shape)])
        area.append(box.mean())
    assert min(layer.grid) >= CELLS
    found = (np.mean(inside), np.mean(pointed), np.mean(area))
    assert found[0] > 2 * found[2] and found[1] > 0.5, found


def batch(values: Any) -> Batch:
    inputs = torch.from_numpy(np.array(values, np.uint8).reshape(2, 1, 4, 4))
    return Batch(inputs, torch.empty(0), np.zeros(0, np.int64), np.zeros(0, np.int64))


def test_pixels_are_normalised_as_asked() -> None:
    values = np.arange(32).reshape(2, 16) * 7
    values[1] = 9  # without any contrast
    own = pixels(batch(values), DataConfig(normalize="image"), 1, torch.device("cpu")).numpy()
    assert np.allclose(own[0].ravel(), (values[0] - values[0].mean()) / values[0].std(), atol=1e-5)
    assert not own[1].any()
    colours = pixels(batch(values), DataConfig(normalize="imagenet"), 3, torch.device("cpu")).numpy()
    for channel, (mean, deviation) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        assert np.allclose(colours[:, channel].reshape(2, 16), (values / 255 - mean) / deviation, atol=1e-5)
    fixed = pixels(batch(values), DataConfig(mean=0.4, std=0.2), 1, torch.device("cpu")).numpy()
    assert np.allclose(fixed.reshape(2, 16), (values / 255 - 0.4) / 0.2, atol=1e-5)
