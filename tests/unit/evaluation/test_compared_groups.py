"""Groups of runs in a comparison: their scores as one, and what holds for other seeds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clustered_scores import drawn_seeds
from compared_runs import compared, grouped
from page_checks import checked
from scipy.stats import t as student
from written_run import written

from medtrain.config import configfile
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.evaluation.compared_entries import replicates, scored
from medtrain.evaluation.score_table import read_scores, write_scores
from medtrain.evaluation.seed_tests import over_seeds
from medtrain.metrics import paired_bootstrap
from medtrain.metrics.multilabel_report import multilabel_report
from medtrain.metrics.paired_bootstrap import PairedDraws
from medtrain.metrics.resampled_numbers import MULTILABEL, abnormality_numbers
from medtrain.reporting.comparison_text import comparison_text
from medtrain.reporting.group_report import judged_together
from medtrain.reporting.html_comparison.comparison_page import write_comparison_page
from medtrain.reporting.run_comparison import compare_runs
from medtrain.runs.run import Run
from medtrain.runs.run_group import RunGroup


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired_bootstrap, "ROUNDS", 60)


def of_one_type(runs: Path, name: str, study_type: str) -> Run:
    """A run that was trained on, and scored, one study type."""
    run = written(runs, "abnormality", name)
    config = configfile.load(run.config_file)
    configfile.save(replace(config, data=replace(config.data, study_type=study_type)), run.config_file)
    table = read_scores(run.evaluation / "test.csv")
    own = table.labels[:, table.classes.index(study_type)] >= 0
    parts = {name: getattr(table, name)[own] for name in ("images", "rows", "labels", "scores")}
    write_scores(replace(table, **parts), run.evaluation / "test.csv")
    return run


def test_seeds_are_averaged_as_one_network(tmp_path: Path) -> None:
    group = grouped(tmp_path, "plain", 3)
    tables = [read_scores(run.evaluation / "test.csv") for run in group.runs]
    found = scored(group, "test")
    assert np.array_equal(found.table.scores, np.mean([table.scores for table in tables], axis=0))
    reports = [read_json(run.report) for run in group.runs]
    for label, row in found.report["per_class"].items():
        assert row["threshold"] == pytest.approx(np.mean([own["per_class"][label]["threshold"] for own in reports]))
    _, together = judged_together(group, {"": [run.report for run in group.runs]})
    for label, row in together["per_class"].items():
        assert row["threshold"] == found.report["per_class"][label]["threshold"], "one rule for both"
    alone = multilabel_report(found.table.scores, found.table.labels, found.table.classes, thresholds=tuple(
        row["threshold"] for row in found.report["per_class"].values()))  # fmt: skip
    assert together["macro_f1"] == pytest.approx(alone["macro_f1"]) and together["macro_f1"] is not None
    assert together["temperature"] == pytest.approx(np.mean([own["temperature"] for own in reports]))
    assert [len(one.table.images) for one in replicates(group, "test")] == [90] * 3
    write_json(group.file, {"runs": [run.name for run in group.runs[:1]], "packing": {}, "slurm": False})
    assert not replicates(RunGroup(group.folder), "test"), "one seed"


def test_those_that_the_report_averaged(tmp_path: Path) -> None:
    group = grouped(tmp_path, "plain", 3)
    group.evaluation.mkdir()
    write_json(group.report, {"runs": {run.name: {"averaged": run.name != "plain-2"} for run in group.runs}})
    tables = [read_scores(run.evaluation / "test.csv") for run in (group.runs[0], group.runs[2])]
    assert np.array_equal(scored(group, "test").table.scores, np.mean([table.scores for table in tables], axis=0))


def test_study_types_are_one_table(tmp_path: Path) -> None:
    """A group of one run for each type is the same as one run of all types with these scores."""
    whole = written(tmp_path, "abnormality", "whole")
    parts = [of_one_type(tmp_path, f"parts-{name}", name) for name in ("XR_ELBOW", "XR_HAND", "XR_WRIST")]
    group = RunGroup.create(tmp_path, "parts", [run.name for run in parts], {}, by_slurm=False)
    found = compare_runs([whole, group]).found
    (own,) = found["comparisons"]
    report = read_json(whole.report)
    for number, row in own["metrics"].items():
        assert row["first"] == row["second"] == pytest.approx(report[number]), number
        assert row["p"] == 1
    assert found["images"] == {"whole": 90, "parts": 90} and "over_seeds" not in own
    assert "takes two seeds or more of each (--ensemble)" in comparison_text(compare_runs([whole, group]).found)
    hand = compare_runs([group, parts[1]]).found
    assert hand["images"] == {"parts": 90, "parts-XR_HAND": hand["common_images"]} and hand["common_images"] == 30


def test_types_that_share_images_are_refused(tmp_path: Path) -> None:
    parts = [of_one_type(tmp_path, name, "XR_HAND") for name in ("a", "b")]
    config = configfile.load(parts[1].config_file)
    configfile.save(replace(config, data=replace(config.data, study_type="XR_WRIST")), parts[1].config_file)
    group = RunGroup.create(tmp_path, "both", ["a", "b"], {}, by_slurm=False)
    with pytest.raises(InputError, match="of different study types were tested on the same images"):
        compare_runs([group, parts[0]])


def test_a_run_without_scores_is_named(tmp_path: Path) -> None:
    group, other = grouped(tmp_path, "plain", 2), grouped(tmp_path, "other", 2, 5)
    (group.runs[1].evaluation / "test.csv").unlink()
    with pytest.raises(InputError, match=r"run plain-2 has no scores of the split 'test' \(it has none\)"):
        compare_runs([group, other], "test")
    table = read_scores(other.runs[0].evaluation / "test.csv")
    moved = replace(table, images=np.char.add("x", table.images))
    write_scores(moved, other.runs[0].evaluation / "test.csv")
    with pytest.raises(InputError, match="the runs of other were tested on different images"):
        compare_runs([other, group.runs[0]], "test")


def test_two_groups_in_words_numbers_and_on_the_page(tmp_path: Path) -> None:
    groups = [grouped(tmp_path, "plain", 2), grouped(tmp_path, "focal", 3, 5, optim={"lr": 0.5})]
    found = compare_runs(groups, margin=0.1)
    (own,) = found.found["comparisons"]
    assert found.found["seeds"] == {"plain": 2, "focal": 3} and [*found.found["settings"]] == ["optim.lr"]
    assert found.found["members"]["plain"] == ["plain-1", "plain-2"]
    for place, group in zip(("first", "second"), groups, strict=True):
        reports = [read_json(run.report) for run in group.runs]
        for number in MULTILABEL:
            mean = np.mean([report[number] for report in reports])
            assert own["over_seeds"][number][place] == pytest.approx(mean), number
    averaged = scored(groups[0], "test")
    limits = tuple(row["threshold"] for row in averaged.report["per_class"].values())
    table = averaged.table
    report = multilabel_report(table.scores, table.labels, table.classes, thresholds=limits)
    for number in MULTILABEL:
        assert own["metrics"][number]["first"] == pytest.approx(report[number])
    text = comparison_text(found.found)
    assert "means over seeds (plain has 2, focal has 3), by patients and seeds" in text
    assert "mean macro AUROC: " in text and "focal is a group of 3: focal-1, focal-2, focal-3" in text
    write_comparison_page(found, tmp_path / "page.html")
    page = checked(tmp_path / "page.html")
    assert "Means over seeds, focal less plain" in page.text and "group focal focal-1, focal-2" in page.text
    shown = {one.get("value") for one in page.all("data")}
    assert {repr(row["p"]) for row in own["over_seeds"].values()} <= shown
    assert (
        "over_seeds"
        not in compare_runs([groups[0], *compared(tmp_path, "multilabel", ("alone",))]).found["comparisons"][0]
    ), "of one seed nothing is said"


def test_variances_add_up_by_hand() -> None:
    """Seeds 0.70, 0.74 and 0.80, 0.86; the rounds' differences of means have the variance 0.0004."""
    observed = np.array([[0.70], [0.74], [0.80], [0.86]])
    drawn = np.array([np.array([[0.7], [0.7], [0.8], [0.8]]) + np.array([[0], [0], [1], [1]]) * shift
                      for shift in (-0.02, 0.0, 0.02)])  # fmt: skip
    draws = PairedDraws(observed, drawn)
    found = over_seeds(draws, slice(0, 2), slice(2, 4), 0, patients=101)
    parts = (0.0004, 100), (0.0008 / 2, 1), (0.0018 / 2, 1)
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / of for part, of in parts)
    assert (found.first, found.second) == pytest.approx((0.72, 0.83))
    assert found.p == pytest.approx(2 * student.sf(0.11 / math.sqrt(variance), degrees), rel=1e-9)
    assert math.isnan(over_seeds(draws, slice(0, 1), slice(1, 4), 0, 101).p), "one seed"
    assert math.isnan(over_seeds(draws, slice(0, 2), slice(2, 4), 0, 5).p), "five patients"


def test_settings_that_are_the_same_seldom_differ_and_ensembles_of_them_often_do() -> None:
    """Seeds that are good or bad by chance: by patients alone, a null of settings is often a difference of weights."""
    found = []
    for seed in range(40):
        of, positive, scores = drawn_seeds(seed, 60, 2, between=0.8)
        means = [np.mean(scores[:2], 0), np.mean(scores[2:], 0)]
        draws = paired_bootstrap.paired_bootstrap(
            [abnormality_numbers(own, positive, of) for own in (*scores, *means)], 60, 0, 40
        )
        alone = paired_bootstrap.difference(draws, 4, 5, 1).p
        found.append((over_seeds(draws, slice(0, 2), slice(2, 4), 1, 60).p, alone))
    both, alone = (np.array(found) < 0.05).mean(0)
    assert both <= 0.1 and alone >= 0.2
