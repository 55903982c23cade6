"""What a training leaves as its report, of each kind of problem, by the real commands."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
from command import BRIEF, NETWORK, medtrain
from page_checks import checked
from short_training import train

SMALL = [*NETWORK, *BRIEF, "--image_size", "32", "--eval_batch_size", "8", "--weights", ""]


@pytest.fixture(scope="module")
def trained(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on the demo."""
    runs = tmp_path_factory.mktemp("runs")
    train(demo_shards, runs, "first")
    return runs / "first"


def test_a_finished_run_has_its_report(trained: Path) -> None:
    page = checked(trained / "report.html")
    report = json.loads((trained / "evaluation" / "test.json").read_text())
    assert f"{report['accuracy']:.3f}" in page.text and "under way when this page was written" in page.text
    assert stat.S_IMODE((trained / "report.html").stat().st_mode) == 0o600


def test_written_anew_it_has_the_end_of_the_attempt(trained: Path) -> None:
    done = medtrain("report", "first", "--runs", trained.parent)
    assert done.stdout == f"report: {trained / 'report.html'}\n"
    page = checked(trained / "report.html")
    assert "under way" not in page.text and "the shards there now are those yes" in page.text
    before = (trained / "report.html").read_bytes()
    told = json.loads(medtrain("report", "first", "--runs", trained.parent, "--json").stdout)
    assert told["report"] == str(trained / "report.html") and told["split"] == "test"
    assert (trained / "report.html").read_bytes() == before
    code = json.loads((trained / "code" / "manifest.json").read_text())
    best = json.loads((trained / "checkpoints" / "best" / "manifest.json").read_text())
    for digest in (code["digest"], best["files"]["model.safetensors"]["xxh3"], best["fingerprints"]["data"]):
        assert digest in page.text


def test_rm_removes_it(demo_shards: Path, tmp_path: Path) -> None:
    train(demo_shards, tmp_path, "one", "--epochs", "1")
    medtrain("report", "one", "--runs", tmp_path, "--markdown")
    assert (tmp_path / "one" / "model_card.md").exists()
    medtrain("rm", "one", "--runs", tmp_path, "--yes")
    assert not (tmp_path / "one").exists()


def test_a_report_that_cannot_be_written_fails_no_run(demo_shards: Path, tmp_path: Path) -> None:
    (tmp_path / "one" / "report.html").mkdir(parents=True)
    done = train(demo_shards, tmp_path, "one", "--epochs", "1")
    warning = re.findall(r"warning: no report.html: .*", (tmp_path / "one" / "train.log").read_text())
    assert len(warning) == 1 and "is a folder" in warning[0] and f"medtrain report one --runs {tmp_path}" in warning[0]
    assert "finished (all epochs done)" in done.stdout
    assert json.loads((tmp_path / "one" / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(
    ("dataset", "samples", "extra", "words"),
    [
        ("chest_demo", 120, [], ("Counts at the threshold of each label", "Results by label", "Sex")),
        ("mura_demo", 120, ["--monitor", "loss"], ("Cohen's kappa", "By study type")),
    ],
)
def test_of_other_tasks(dataset: str, samples: int, extra: list[str], words: tuple[str, ...], tmp_path: Path) -> None:
    medtrain("data", "download", dataset, "--root", tmp_path / "raw")
    medtrain("shard", dataset, "--root", tmp_path / "raw", "--out", tmp_path / "shards", "--size", "64", "--encoding",
             "jpeg", "--max_samples", samples)  # fmt: skip
    medtrain("train", dataset, "--shards", tmp_path / "shards", "--runs", tmp_path, "--run", "one", *SMALL, *extra)
    page = checked(tmp_path / "one" / "report.html")
    for one in words:
        assert one in page.text, one
    keys = {line.split(",")[0] for line in (tmp_path / "one" / "evaluation" / "test.csv").read_text().splitlines()[1:]}
    text = (tmp_path / "one" / "report.html").read_text()
    assert (
        keys
        and not [key for key in keys if key in text]
        and str(tmp_path) not in text
        and os.uname().nodename not in text
    )
