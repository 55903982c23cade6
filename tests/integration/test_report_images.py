"""medtrain report RUN --with_images: what the page shows, whom it is of, and that it stays private."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from command import SMALL, medtrain
from page_checks import Page, checked
from PIL import Image

from medtrain.evaluation.score_table import read_scores
from medtrain.reporting.html_report.images_section import WARNING
from medtrain.runs.run import Run


@pytest.fixture(scope="module")
def run(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one epoch, which is often wrong."""
    runs = tmp_path_factory.mktemp("runs")
    options = ("--image_size", "32", "--eval_batch_size", "4", "--epochs", "1")
    medtrain("train", "mednist", "--shards", demo_shards, "--runs", runs, "--run", "one", *SMALL, *options)
    return Run(runs / "one")


def pictures(page: Page) -> list[tuple[str, np.ndarray]]:
    """The words and the pixels of each image of a page."""
    found = []
    for own in page.all("img"):
        kind, _, data = str(own["src"]).partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
            assert image.size == (176, 176) and image.format == "JPEG" and not image.getexif()
            found.append((str(own["alt"]), np.asarray(image.convert("RGB"), int)))
    return found


def test_without_them_there_is_none(run: Run) -> None:
    page = checked(run.page)
    assert not page.all("img") and "There are no images on this page" in page.text and "--with_images" in page.text


def test_mistakes_and_maps_on_a_private_page(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    told = medtrain("report", "one", "--runs", run.folder.parent, "--out", path, "--with_images")
    assert f"{path} holds images of patients: only you may read it" in told.stderr
    assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_size < 5e6
    page = checked(path, images=True)
    assert WARNING in page.text
    table, shown = read_scores(run.report.with_suffix(".csv")), pictures(page)
    said, true = table.scores.argmax(1), table.labels.argmax(1)
    wrong = said != true
    assert wrong.any()
    surest = sorted(
        ((float(np.diff(np.sort(table.scores[row])[-2:])[0]), row) for row in np.flatnonzero(wrong)), reverse=True
    )[:12]
    for place, (_, row) in enumerate(surest, 1):
        predicted, own = table.answers[said[row]], table.classes[true[row]]
        words = f"predicted {predicted} ({table.scores[row, said[row]]:.3f})"
        words += f", true: {own} ({table.scores[row, true[row]]:.3f})"
        assert shown[2 * place - 2][0] == f"Surest mistakes, {place}: {words}"
        assert shown[2 * place - 1][0] == f"Surest mistakes, {place}: {words}, heat map"
    assert any(words.startswith("Hardest") for words, _ in shown)
    right = [words for words, _ in shown if words.startswith("Where the network looks when it is right")]
    assert len(right) == 2 * sum(min(2, (~wrong & (true == place)).sum()) for place in range(len(table.classes)))
    plain, hot = (np.array([np.ptp(pixels, axis=2).max() for _, pixels in shown[first::2]]) for first in (0, 1))
    assert plain.max() < 12 and np.median(hot) > 40, "grey images, and colours on their maps"
    text = path.read_text()
    assert not [key for key in table.images.tolist() if key in text], "no key of a sample"


def test_they_are_private_also_in_a_shared_run(run: Run, tmp_path: Path) -> None:
    config = run.config_file.read_text()
    assert "share: private" in config
    run.config_file.write_text(config.replace("share: private", "share: group"))
    try:
        medtrain("report", "one", "--runs", run.folder.parent, "--out", tmp_path / "page.html", "--with_images")
    finally:
        run.config_file.write_text(config)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600


def test_what_has_no_images(run: Run) -> None:
    refused = medtrain("report", "one", "--runs", run.folder.parent, "--markdown", "--with_images", check=False)
    assert refused.returncode == 2 and "a model card holds no images" in refused.stderr
    told = medtrain("report", "one", "--runs", run.folder.parent, "--json").stdout
    assert not checked(Path(json.loads(told)["report"])).all("img"), "it is off again"
