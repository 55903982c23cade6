"""Figures of a run: what their words, lines and notes say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score
from svg_words import SVG, words_of

from medtrain.metrics.curves import curves_of
from medtrain.reporting import plots, score_figures, study_figures, style
from medtrain.reporting.html_report.run_facts import Judged


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[[Callable[[Path], None]], Path]:
    """Draws a figure as SVG."""

    def draw(figure: Callable[[Path], None]) -> Path:
        with style.written_as(("svg",)):
            figure(tmp_path / "figure.png")
        assert [path.name for path in tmp_path.iterdir()] == ["figure.svg"]
        return tmp_path / "figure.svg"

    return draw


Draw = Callable[[Callable[[Path], None]], Path]
EPOCHS = [
    {"epoch": 1, "train_loss": 0.9, "val_loss": 0.5, "val_macro_auroc": 0.7, "lr": 1e-3},
    {"epoch": 2, "train_loss": 0.7, "val_loss": 0.6, "val_macro_auroc": 0.8, "lr": 1e-4},
]


def test_the_loss_at_the_best_epoch_is_not_called_the_best_loss(drawn: Draw) -> None:
    words = words_of(drawn(lambda path: plots.history(EPOCHS, path, "macro_auroc", "run one: 9 training images")))
    assert "run one: 9 training images" in words
    assert "loss at the best epoch 2: 0.6" in words, "0.5 of epoch 1 is lower"
    assert "best macro AUROC, epoch 2: 0.8" in words and "Macro AUROC" in words


def test_training_and_validation_differ_without_colours(drawn: Draw) -> None:
    root = ElementTree.parse(drawn(lambda path: plots.history(EPOCHS, path, "loss"))).getroot()
    styles = {path.get("style", "") for path in root.iter(f"{SVG}path")}
    own = {colour: [one for one in styles if f"stroke: {colour.lower()}" in one and "fill: none" in one]
           for colour in (style.BLUE, style.VERMILION)}  # fmt: skip
    assert all("stroke-dasharray" not in one for one in own[style.BLUE])
    assert any("stroke-dasharray" in one for one in own[style.VERMILION])


ROWS: dict[str, dict[str, Any]] = {
    "Mass": {"auroc": 0.8, "auroc_interval": [0.7, 0.91], "known": 90, "positives": 9},
    "Nodule": {"auroc": 0.6, "auroc_interval": [None, None], "known": 90, "positives": 1},
    "Hernia": {"auroc": None, "known": 90, "positives": 0},
}


def test_bars_have_intervals_and_what_is_undefined_is_named(drawn: Draw) -> None:
    path = drawn(lambda path: plots.label_scores(ROWS, path, "run one, test split: 90 images of 80 patients"))
    words = words_of(path)
    assert "run one, test split: 90 images of 80 patients" in words
    assert "0.800 (0.700 to 0.910), 9 of 90" in words and "0.600, 1 of 90" in words
    assert "Hernia" not in words and any(word.endswith("or none is known): Hernia") for word in words)


def test_the_interval_is_drawn_where_it_is(tmp_path: Path) -> None:
    """A black line from 0.70 to 0.91 of the axis, over the bar that ends at 0.8."""
    plots.label_scores({"Mass": ROWS["Mass"]}, tmp_path / "bars.png")
    pixels = np.asarray(Image.open(tmp_path / "bars.png").convert("RGB"), int)
    blue = np.abs(pixels - [0x00, 0x72, 0xB2]).sum(2) < 10
    rows, columns = np.nonzero(blue)
    middle = (rows.min() + rows.max()) // 2
    one = (columns.max() - columns.min()) / 0.8  # pixels from 0 to 1
    black = np.flatnonzero(pixels[middle - 1 : middle + 2].max((0, 2)) < 40)
    black = black[(black > columns.min() + 0.55 * one) & (black < columns.min() + 0.99 * one)]
    ends = (black.min() - columns.min()) / one, (black.max() - columns.min()) / one
    assert ends == pytest.approx((0.7, 0.91), abs=0.02)


def test_no_label_is_defined(drawn: Draw) -> None:
    assert any(
        "Hernia" in word for word in words_of(drawn(lambda path: plots.label_scores({"Hernia": ROWS["Hernia"]}, path)))
    )


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: plots.confusion([[5, 0, 0], [0, 5, 0], [0, 0, 5]], ["a", "b", "c"], path, "run one, test split"),
        lambda path: study_figures.confusions(
            {"a": np.eye(3), "b": np.eye(3)}, "abc", path, "run one, test split", ["x"]
        ),
    ],
)
def test_cells_have_lines(draw: Callable[[Path], None], tmp_path: Path, drawn: Draw) -> None:
    path = drawn(draw)
    assert "run one, test split" in words_of(path)
    root = ElementTree.parse(path).getroot()
    lines = [one for one in root.iter(f"{SVG}path") if f"stroke: {style.LINE.lower()}" in one.get("style", "")
             and "fill: none" in one.get("style", "") and one.get("clip-path")]  # fmt: skip
    assert len(lines) == 2 * 2 * 4, "four lines each way in each matrix"


def test_undefined_kappas_are_named(drawn: Draw) -> None:
    rows = {
        "XR_HAND": {"kappa": 0.4, "kappa_interval": [0.2, 0.6], "samples": 20},
        "XR_WRIST": {"kappa": None, "kappa_interval": [None, None], "samples": 3},
    }
    words = words_of(drawn(lambda path: study_figures.kappas(rows, path, "group bones")))
    assert "group bones" in words and "0.400, 20 studies" in words
    assert "XR_WRIST" not in words and any("undefined" in word and "XR_WRIST" in word for word in words)


def test_scores_by_state_curves_and_reliability(drawn: Draw) -> None:
    generator = np.random.Generator(np.random.Philox(3))
    positive = generator.random((900, 3)) < (0.3, 0.2, 0.0)
    scores = np.clip(0.3 + 0.2 * positive + 0.15 * generator.standard_normal((900, 3)), 0, 1)
    known = np.ones((900, 3), bool)
    known[:20, 1] = False
    judged = Judged(("Mass", "Nodule", "Hernia"), scores, positive, known, np.arange(900, dtype=np.uint64) // 2, scores)
    found = dict(zip(judged.names, curves_of(scores, positive, known, judged.groups, rounds=100), strict=True))
    path = drawn(lambda path: score_figures.score_panels(judged, found, path, "run one, test split"))
    words = words_of(path)
    assert {*score_figures.TITLES, "run one, test split", "Mass", "Nodule"} <= {*words}
    for place in (0, 1):
        own = positive[known[:, place], place]
        assert {f"absent ({(~own).sum()})", f"present ({own.sum()})"} <= {*words}, "of those that are known"
    assert "Hernia" not in words and any(word.endswith("none is known: Hernia") for word in words)
    for place in (0, 1):
        own = known[:, place]
        area = roc_auc_score(positive[own, place], scores[own, place])
        assert any(word.startswith(f"AUROC {area:.3f} (") for word in words), "of all scores, not of the drawn points"
    with pytest.raises(ValueError, match="needs at least a label"):
        score_figures.score_panels(judged, {"Mass": None}, path, "")
