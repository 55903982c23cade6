"""What a training leaves as its report, by the real commands; test_report_in_browser has runs of other tasks."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
from command import medtrain
from page_checks import checked
from short_training import train


@pytest.fixture(scope="module")
def trained(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on the demo."""
    runs = tmp_path_factory.mktemp("runs")
    train(demo_shards, runs, "first")
    return runs / "first"


def test_a_finished_run_has_its_report(trained: Path) -> None:
    page = checked(trained / "report.html")
    report = json.loads((trained / "evaluation" / "test.json").read_text())
    assert f"{report['accuracy']:.3f}" in page.text
    assert "under way" not in page.text, "the run wrote it as the last it did"
    (life,) = re.findall(r'<section id="life".*?</section>', (trained / "report.html").read_text(), re.DOTALL)
    (row,) = re.findall(r"<tbody>(.*?)</tbody>", life, re.DOTALL)
    cells = re.sub(r"<[^>]+>", "|", row)
    rows = [json.loads(line) for line in (trained / "attempts.jsonl").read_text().splitlines()]
    ended = next(row for row in rows if row["event"] == "end")
    assert "finished" in cells and f"|{ended['reached']}|" in cells and "–" not in cells and "%" in cells
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
