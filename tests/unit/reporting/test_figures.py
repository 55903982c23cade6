"""reporting.plots: every figure is a whole PNG of sensible size, alone in its folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from PIL import Image

from medtrain.reporting import count_figures, plots, study_figures, style

MEDNIST = ["AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT"]
CHEST = [f"{name} of the lung" for name in "ABCDEFGHIJKLMN"]


def epochs(count: int) -> list[dict[str, Any]]:
    keys = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "lr")
    return [{"epoch": epoch, **dict.fromkeys(keys, 1 / (epoch + 1))} for epoch in range(1, count + 1)]


def rows_with_gaps() -> list[dict[str, Any]]:
    broken = {"epoch": 2, "train_loss": float("nan"), "val_loss": float("inf"), "val_accuracy": None}
    return [{"epoch": 1, "train_loss": 1.0}, broken]


def picture(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


DRAWINGS: dict[str, Callable[[Path], None]] = {
    "history, 1 epoch": lambda path: plots.history(epochs(1), path),
    "history, 100 epochs": lambda path: plots.history(epochs(100), path),
    "history with gaps": lambda path: plots.history(rows_with_gaps(), path),
    "confusion, 2 classes": lambda path: plots.confusion([[5, 1], [0, 0]], ["normal", "abnormal"], path),
    "confusion, 14 classes": lambda path: plots.confusion(np.eye(14, dtype=int) * 9999, CHEST, path),
    "class counts": lambda path: count_figures.class_counts({"all": dict.fromkeys(MEDNIST, 10_000)}, path),
    "class counts by split": lambda path: count_figures.class_counts(
        {"train": dict.fromkeys(CHEST, 80_000), "val": {}, "test": {"another": 0}}, path
    ),
    "kappas": lambda path: study_figures.kappas(
        {
            "XR_HAND": {"kappa": 0.43, "kappa_interval": [0.29, 0.57], "samples": 167},
            "XR_ELBOW": {"kappa": -0.1, "kappa_interval": [-0.3, 0.2], "samples": 1158},
            "none": {"kappa": None, "kappa_interval": [None, None], "samples": 0},
        },
        path,
    ),
    "confusions": lambda path: study_figures.confusions(
        {name: [[50, 4], [1, 0]] for name in CHEST[:8]}, ["normal", "abnormal"], path
    ),
    "one confusion": lambda path: study_figures.confusions({"XR_HAND": [[0, 0], [1, 3]]}, ["normal", "abnormal"], path),
    "one image size": lambda path: count_figures.image_sizes([(64, 64)] * 1000, path),
    "many image sizes": lambda path: count_figures.image_sizes([(90 + i, 512) for i in range(400)], path),
    "sample grid": lambda path: plots.sample_grid(
        {"grey": [picture(64, 64), picture(32, 50)], "colour": [picture(9, 8, 3)], "none": []}, path
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DRAWINGS)
def test_writes_one_whole_png(name: str, tmp_path: Path) -> None:
    path = tmp_path / "figures" / "figure.png"
    DRAWINGS[name](path)
    assert [entry.name for entry in path.parent.iterdir()] == ["figure.png"]
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert min(image.size) >= 300 and max(image.size) <= 4000
        grey = np.asarray(image.convert("L"))
        assert grey.min() < 100 and grey.max() == 255  # ink on white paper


def test_one_epoch_shows_its_points(tmp_path: Path) -> None:
    row = {"epoch": 1, "train_loss": 0.5}
    plots.history([row], tmp_path / "one.png")
    plots.history([{"epoch": 1}], tmp_path / "none.png")
    blue = [np.count_nonzero(is_blue(tmp_path / name)) for name in ("one.png", "none.png")]
    assert blue[0] > blue[1] + 20  # more than the legends, which both have


def is_blue(path: Path) -> Any:
    wanted = [int(style.BLUE[i : i + 2], 16) for i in (1, 3, 5)]
    with Image.open(path) as image:
        return np.abs(np.asarray(image.convert("RGB"), dtype=int) - np.array(wanted)).sum(axis=2) < 10


def test_importing_it_is_light_and_drawing_leaves_pyplot_alone(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from medtrain.reporting import count_figures as figures\n"
        "assert 'matplotlib' not in sys.modules;"
        f"figures.image_sizes([(1, 2)], pathlib.Path({str(tmp_path / 'sizes.png')!r}));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_failed_write_keeps_the_old_figure_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    path = tmp_path / "history.png"
    plots.history(epochs(2), path)
    before = path.read_bytes()

    def full_disk(figure: Figure, file: BinaryIO, **options: Any) -> None:
        file.write(b"half a pic")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="No space left"):
        plots.history(epochs(3), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda path: plots.history([], path), "history needs at least an epoch"),
        (lambda path: count_figures.class_counts({"train": {}}, path), "needs at least a class"),
        (lambda path: count_figures.image_sizes([], path), "needs at least an image"),
        (lambda path: plots.sample_grid({}, path), "needs at least an image"),
        (lambda path: plots.confusion([[1]], ["a", "b"], path), r"shape \(1, 1\)"),
        (
            lambda path: plots.sample_grid({"a": [picture(4, 4, 2)]}, path),
            r"image 0 of a is uint8 \(4, 4, 2\)",
        ),
        (lambda path: plots.sample_grid({"a": [picture(4, 4).astype(float)]}, path), "of a is float64"),
    ],
)
def test_wrong_input_says_what(draw: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())
