"""`medtrain compare` on two real runs: what it says and gives, without torch, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import short_training
from command import medtrain
from page_checks import checked

from medtrain.datasets.sources import demo
from medtrain.evaluation.score_table import read_scores
from medtrain.runs.run import Run


@pytest.fixture(scope="module")
def runs(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that differ in the learning rate."""
    folder = tmp_path_factory.mktemp("compared")
    for name, rate in (("slow", "1e-5"), ("fast", "1e-3")):
        short_training.train(demo_shards, folder, name, "--lr", rate, "--epochs", "1")
    return folder


def test_settings_data_and_every_test_in_json(runs: Path, no_torch: dict[str, str]) -> None:
    done = medtrain("compare", "slow", "fast", "--runs", runs, "--margin", "0.2", "--json", env=no_torch)
    found = json.loads(done.stdout)
    assert found["settings"] == {"optim.lr": {"slow": 1e-5, "fast": 1e-3}} and found["other_settings"] == {}
    assert found["data"]["same"] is True and found["split"] == "test" and found["task"] == "multiclass"
    assert found["common_images"] == found["samples"] == 12 and found["images"] == {"slow": 12, "fast": 12}
    assert found["training"]["fast"] == {"state": "finished", "epochs": 1, "best_epoch": 1}
    (own,) = found["comparisons"]
    for place, name in (("first", "slow"), ("second", "fast")):
        report = json.loads((runs / name / "evaluation" / "test.json").read_text())
        for number, row in own["metrics"].items():
            assert row[place] == pytest.approx(report[number]), number
        for label, row in own["auroc"].items():
            assert row[place] == pytest.approx(report["per_class"][label]["auroc"]), label
    assert set(own["auroc"]) == set(demo.CLASSES)
    for row in own["metrics"].values():
        assert row["interval"][0] <= row["difference"] <= row["interval"][1]
        assert 0 < row["p"] <= 1 and 0 < row["equivalence_p"] <= 1
    tables = [read_scores(runs / name / "evaluation" / "test.csv") for name in ("slow", "fast")]
    right = [np.equal(table.scores.argmax(1), table.labels.argmax(1)) for table in tables]
    assert own["decisions"]["all"]["second_only"] == int((right[1] & ~right[0]).sum())
    assert own["decisions"]["all"]["exact"], "each image is of a patient of its own"


def test_in_words_and_as_a_page(runs: Path, no_torch: dict[str, str], tmp_path: Path) -> None:
    page = tmp_path / "comparison.html"
    text = medtrain("compare", "slow", "fast", "--runs", runs, "--margin", "0.2", "--out", page, env=no_torch).stdout
    shown = checked(page)
    sentences = [line for line in text.splitlines() if line.startswith(("accuracy: ", "macro AUROC: ", "macro F1: "))]
    assert len(sentences) == 6 and not [line for line in sentences if line not in shown.text]
    assert text.endswith(f"report: {page}\n") and page.stat().st_mode & 0o777 == 0o600
    first, _, rest = text.partition("\n\n")
    assert first.startswith("Few patients: only 12 images") and first in shown.text
    assert rest.startswith("slow, fast on the test split: 12 common images (slow has 12, fast has 12)\n")
    assert "optim.lr" in text and "all were trained on the same data" in text
    for words in (
        "\naccuracy: ",
        "\nmacro AUROC: ",
        "\nmacro F1: ",
        "DeLong's test",
        "McNemar's exact test",
        "within 0.2",
    ):
        assert words in text


def test_what_is_refused(runs: Path, demo_tree: Path, tmp_path: Path) -> None:
    def refused(*words: object) -> str:
        done = medtrain("compare", *words, "--runs", runs, check=False)
        assert done.returncode == 2 and not done.stdout and "fix:" in done.stderr
        return done.stderr

    assert "there is no run 'fats' in" in refused("slow", "fats") and "did you mean fast?" in refused("slow", "fats")
    assert "name two different runs" in refused("slow")
    assert "name two different runs" in refused("slow", "slow")
    assert "is a folder" in refused("slow", "fast", "--out", tmp_path)
    missing = refused("slow", "fast", "--split", "val")
    assert "run slow has no scores of the split 'val' (it has test)" in missing
    assert f"medtrain evaluate slow --runs {runs} --split val" in missing

    table = Run(runs / "fast").evaluation / "test.csv"
    kept = table.read_text()
    try:
        head, *lines = kept.splitlines()
        table.write_text("\n".join([head, *(f"other-{line}" for line in lines)]) + "\n")
        assert "slow and fast have scored no image in common" in refused("slow", "fast")
        turned = lines[0].split(",")
        turned[3:9] = reversed(turned[3:9])
        table.write_text("\n".join([head, ",".join(turned), *lines[1:]]) + "\n")
        assert "have different labels of 1 common images" in refused("slow", "fast")
        table.write_text("\n".join([head, lines[0].replace("1", "x"), *lines[1:]]) + "\n")
        assert "is damaged" in refused("slow", "fast")
        table.write_text("\n".join([head.replace("blob", "blot"), *lines]) + "\n")
        assert "slow and fast have different classes" in refused("slow", "fast")
    finally:
        table.write_text(kept)


def test_a_run_on_other_data_is_told(runs: Path, demo_tree: Path, tmp_path: Path) -> None:
    """Half of the images packed alone: other shards, and the images of the test that both have."""
    records = [record for record in demo.records(demo_tree) if int(Path(record.image).stem) % 4]
    from packing import packed

    packed(records, tmp_path / "shards")
    short_training.train(tmp_path / "shards", runs, "other", "--epochs", "1")
    found = json.loads(medtrain("compare", "slow", "fast", "other", "--runs", runs, "--json").stdout)
    assert found["data"]["same"] is False and len(set(found["data"]["digests"].values())) == 2
    assert 0 < found["common_images"] < 12
    assert [own["second"] for own in found["comparisons"]] == ["fast", "other"]
    text = medtrain("compare", "slow", "fast", "other", "--runs", runs).stdout
    assert "DIFFERENT DATA" in text and "p by Holm" in text
