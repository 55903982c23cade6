"""datasets.demo: drawn images in MedNIST's layout, the same bytes each time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from medtrain.core.errors import InputError
from medtrain.datasets.sources import demo
from medtrain.imaging.decode import decode, header


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.jpeg"))}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "demo"
    demo.download(root)
    return root


def test_the_layout_and_the_records(drawn: Path) -> None:
    records = demo.records(drawn)
    assert len(records) == demo.IMAGES == 720
    assert records == demo.records(drawn.parent)
    assert records[0].image == "blob/000000.jpeg"
    assert records[-1].image == "stripes/000119.jpeg"
    assert {sum(record.labels[name] or 0 for record in records) for name in demo.CLASSES} == {120}
    assert {record.source for record in records} == {"demo"}
    assert {header(record.path.read_bytes()) for record in records} == {(64, 64, "L")}


def test_the_same_seed_gives_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    demo.download(tmp_path / "again")
    assert tree(tmp_path / "again") == tree(drawn)
    assert len(set(tree(drawn).values())) == 720


def test_another_seed_gives_other_images(drawn: Path, tmp_path: Path) -> None:
    demo.download(tmp_path / "other", samples=60, seed=1)
    assert not set(tree(tmp_path / "other").values()) & set(tree(drawn).values())


def test_a_smaller_dataset_is_part_of_a_larger_one(drawn: Path, tmp_path: Path) -> None:
    demo.download(tmp_path / "small", samples=20)
    small = tree(tmp_path / "small")
    assert len(small) == 20
    assert small.items() <= tree(drawn).items()


def test_nothing_but_the_tree_is_left_behind(tmp_path: Path) -> None:
    demo.download(tmp_path / "deep" / "demo", samples=6)
    assert os.listdir(tmp_path / "deep") == ["demo"]  # noqa: PTH208 (hidden files too)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    demo.download(tmp_path, samples=6)
    assert len(demo.records(tmp_path)) == 6


def test_what_exists_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for root in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(InputError, match="exists already"):
            demo.download(root)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_drawing_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        demo.download(tmp_path / "demo", seed=-1)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_drawing_leaves_no_dataset_and_can_be_repeated(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    module = "medtrain.datasets.sources.demo"
    code = f"import sys, pathlib, {module} as demo; demo.download(pathlib.Path(sys.argv[1]), 10**6)"
    with subprocess.Popen([sys.executable, "-c", code, str(root)]) as process:
        while not list(tmp_path.rglob("stripes/000009.jpeg")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not root.exists()
    demo.download(root, samples=6)
    assert len(demo.records(root)) == 6


def test_too_few_samples(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 samples are too few"):
        demo.download(tmp_path / "demo", samples=5)


def test_pixels_use_the_range_and_survive_jpeg() -> None:
    for kind, label in enumerate(demo.CLASSES):
        drawn = demo.draw(label, np.random.default_rng((0, kind, 0)))
        assert drawn.shape == (64, 64)
        assert drawn.dtype == np.uint8
        assert drawn.std() > 8
        decoded = decode(simplejpeg.encode_jpeg(drawn[:, :, None], quality=90, colorspace="GRAY"))
        assert np.abs(decoded.astype(int) - drawn).mean() < 6


def test_the_classes_differ_but_not_pixel_by_pixel(drawn: Path) -> None:
    """A class's mean image is a poor guide to it; its mean spectrum, which does not move with the shape, is better."""
    records = demo.records(drawn)
    pixels = np.stack([decode(record.path.read_bytes()) for record in records]) / 255.0
    labels = np.array([demo.CLASSES.index(record.image.split("/")[0]) for record in records])
    spectra = np.log(np.abs(np.fft.fft2(pixels - pixels.mean((1, 2), keepdims=True))) + 0.1)
    assert nearest_mean(pixels, labels) < 0.4 < nearest_mean(spectra, labels)


def nearest_mean(features: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of the nearest class mean, fitted on three quarters of the images and tested on the rest."""
    flat = features.reshape(len(labels), -1)
    test = np.arange(len(labels)) % 4 == 0
    means = np.stack([flat[~test & (labels == label)].mean(0) for label in np.unique(labels)])
    distances = ((flat[test, None] - means) ** 2).sum(-1)
    return float((distances.argmin(1) == labels[test]).mean())
