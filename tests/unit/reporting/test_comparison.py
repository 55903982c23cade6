"""reporting.run_comparison and comparison_text: what is said of runs, as values and in words."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clustered_scores import drawn_scores
from scored_runs import scored_run

from medtrain.config import configfile
from medtrain.core.errors import InputError
from medtrain.metrics.multiple_testing import holm
from medtrain.metrics.resampled_numbers import MULTILABEL
from medtrain.reporting.comparison_text import comparison_text, equivalence, is_few, p_text, sentence
from medtrain.reporting.html_comparison.comparison_page import render
from medtrain.reporting.run_comparison import compare_runs
from medtrain.runs.run import Run

ROW = {
    "difference": 0.012, "interval": [0.003, 0.021], "p": 0.008, "adjusted_p": 0.008, "higher_is_better": True,
    "equivalence_interval": [0.005, 0.019], "equivalence_p": 0.03, "adjusted_equivalence_p": 0.03,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Three runs on the same patients, the last of which is much better in the first of two labels."""
    folder = tmp_path_factory.mktemp("runs")
    drawn = [drawn_scores(seed, patients=80) for seed in (1, 2)]
    count = min(len(own.first) for own in drawn)
    labels = np.stack([own.positive[:count] for own in drawn], 1).astype(np.int8)
    better = drawn_scores(1, patients=80, better=3.0).second[:count]
    first, second = (np.stack([getattr(own, name)[:count] for own in drawn], 1) for name in ("first", "second"))
    third = np.stack([better, second[:, 1]], 1)
    base = configfile.resolve("chest")
    configs = [base, dataclasses.replace(base, optim=dataclasses.replace(base.optim, lr=0.5)), base]
    people = drawn[0].patients[:count]
    return [
        scored_run(folder, name, scores, labels, people, config=config)
        for name, scores, config in zip("abc", (first, second, third), configs, strict=True)
    ]


def test_everything_is_in_json_and_nothing_in_it_is_no_number(runs: list[Run]) -> None:
    found = json.loads(json.dumps(compare_runs(runs[:2], margin=0.1).found, allow_nan=False))
    assert found["settings"] == {"optim.lr": {"a": found["settings"]["optim.lr"]["a"], "b": 0.5}}
    assert found["data"]["same"] is None and found["data"]["digests"] == {"a": None, "b": None}
    (own,) = found["comparisons"]
    assert tuple(own["metrics"]) == MULTILABEL
    for row in own["metrics"].values():
        assert row["difference"] == pytest.approx(row["second"] - row["first"])
        assert row["adjusted_p"] == row["p"] and 0 < row["p"] <= 1
    mean = np.mean([row["first"] for row in own["auroc"].values()])
    assert own["metrics"]["macro_auroc"]["first"] == pytest.approx(mean)
    for part in ("auroc", "average_precision", "f1", "decisions"):
        rows = own[part].values()
        assert [row["adjusted_p"] for row in rows] == holm([row["p"] for row in rows])


def test_a_real_difference_is_told_from_chance_in_words(runs: list[Run]) -> None:
    found = compare_runs(runs[::2]).found
    text = comparison_text(found)
    assert "macro AUROC: c is better than a by 0." in text
    (own,) = found["comparisons"]
    assert own["auroc"]["Effusion"]["adjusted_p"] < 0.001 and "< 0.001" in text
    assert own["auroc"]["Mass"]["adjusted_p"] > 0.05
    assert "clustered by patient" in text and "by patient (Obuchowski, 1998)" in text
    backwards = comparison_text(compare_runs(runs[::-2]).found)
    assert "macro AUROC: a is worse than c by 0." in backwards


def test_several_runs_are_adjusted_together(runs: list[Run]) -> None:
    alone, together = compare_runs(runs[:2]).found, compare_runs(runs).found
    first, other = together["comparisons"]
    assert (first["second"], other["second"]) == ("b", "c")
    for number, row in first["metrics"].items():
        assert row["p"] == alone["comparisons"][0]["metrics"][number]["p"], "the same draws"
        both = [one["metrics"][number] for one in (first, other)]
        assert [row["adjusted_p"] for row in both] == holm([row["p"] for row in both])
    every = [row for one in (first, other) for row in one["auroc"].values()]
    assert [row["adjusted_p"] for row in every] == holm([row["p"] for row in every])
    text = comparison_text(together)
    assert "by Holm)" in text and "\nc against a\n" in text and "(best epoch)" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "kappa: B is better than A by 0.0120 (95 % interval 0.0030 to 0.0210, p = 0.008)"),
        (
            {"difference": -0.012, "interval": [-0.021, -0.003]},
            "kappa: B is worse than A by 0.0120 (95 % interval 0.0030 to 0.0210, p = 0.008)",
        ),
        ({"higher_is_better": False}, "kappa: B is worse than A by 0.0120"),
        (
            {"adjusted_p": 0.2, "interval": [-0.01, 0.03]},
            "kappa: no difference was shown: B - A is +0.0120 (95 % interval -0.0100 to 0.0300, p = 0.200)",
        ),
        (
            {"p": None},
            "kappa: B - A is +0.0120, and its interval and p-value are undefined on these images",
        ),
        ({"p": None, "difference": None}, "kappa: undefined on these images"),
    ],
)
def test_sentences(changes: dict[str, Any], words: str) -> None:
    assert sentence("A", "B", "kappa", {**ROW, **changes}, together=False).startswith(words)


def test_equivalence_in_words() -> None:
    told = equivalence("kappa", ROW, 0.02, together=False)
    assert told == "kappa: equivalent within 0.02 (90 % interval of the difference 0.0050 to 0.0190, p = 0.030)"
    beyond = {**ROW, "equivalence_p": 0.3, "adjusted_equivalence_p": 0.3}
    assert equivalence("kappa", beyond, 0.015, together=True).startswith(
        "kappa: equivalence was not shown within 0.015"
    )
    assert "undefined" in equivalence("kappa", {**ROW, "equivalence_p": None}, 0.1, together=False)


def test_p_values_are_never_zero() -> None:
    assert [p_text(p) for p in (1e-300, 0.00099, 0.001, 0.5, None)] == [
        "p < 0.001", "p < 0.001", "p = 0.001", "p = 0.500", "p undefined"
    ]  # fmt: skip


def test_wrong_questions(runs: list[Run]) -> None:
    for names, words in ((runs[:1], "two runs or more"), ([runs[0]] * 2, "two runs or more")):
        with pytest.raises(InputError, match=words):
            compare_runs(names)
    with pytest.raises(InputError, match="--margin is -1"):
        compare_runs(runs, margin=-1)


@pytest.mark.parametrize(
    ("digests", "same", "words"),
    [
        (("a/b/names=c", "a/b/names=c"), True, "same data"),
        (("a/b/names=c", "a/b/names=d"), False, "DIFFERENT DATA"),
        (("a/b/names=c", "a/b"), True, "same data"),  # of a run from before names were in it
        (("a/b/names=c", "a/e"), False, "DIFFERENT DATA"),
        (("a/b/names=c", ""), None, "is unknown"),
    ],
)
def test_whether_the_data_are_the_same(tmp_path: Path, digests: tuple[str, str], same: bool | None, words: str) -> None:
    drawn = drawn_scores(3, patients=12)
    scores, labels = np.stack([drawn.first] * 2, 1), np.stack([drawn.positive] * 2, 1).astype(np.int8)
    pair = [
        scored_run(tmp_path, name, scores, labels, drawn.patients, data=own)
        for name, own in zip("ab", digests, strict=True)
    ]
    found = compare_runs(pair).found
    assert found["data"]["same"] is same and words in comparison_text(found)


def test_few_patients_are_warned_of(tmp_path: Path) -> None:
    drawn = drawn_scores(3, patients=12)
    labels = np.stack([drawn.positive, np.zeros(len(drawn.positive))], 1).astype(np.int8)  # nobody has the second
    pair = [
        scored_run(tmp_path, name, np.stack([own, own], 1), labels, drawn.patients)
        for name, own in (("a", drawn.first), ("b", drawn.second))
    ]
    found = compare_runs(pair, margin=0.1).found
    own = found["comparisons"][0]["auroc"]["Mass"]
    assert own["p"] is None and own["adjusted_p"] is None and own["interval"] == [None, None]
    text = comparison_text(found)
    people = f"only {found['samples']} images of 12 patients (fewer than 50)"
    assert text.startswith(
        f"Few patients: {people}. So intervals and p-values are rough, and a difference that is shown"
    )
    assert "bootstrap of patients (p of calibration errors: swaps of patients), 1,000 rounds; only 12 patients" in text
    assert found["few"]["all"] and found["few"]["patients"] == 12 and found["few"]["fewer_than"] == 50
    assert found["few"]["labels"]["Mass"] == {"with": 0, "without": 12}


def test_one_patient_is_in_the_singular(tmp_path: Path) -> None:
    labels = np.eye(2, dtype=np.int8)[np.arange(4) % 2]
    scores = np.random.default_rng(0).random((2, 4, 2))
    pair = [scored_run(tmp_path, name, own, labels, np.zeros(4)) for name, own in zip("ab", scores, strict=True)]
    text = comparison_text(compare_runs(pair).found)
    assert "4 images of 1 patient " in text and "rounds; only 1 patient\n" in text


def test_of_five_patients_nothing_is_said(tmp_path: Path) -> None:
    people = np.arange(10) % 5
    labels, scores = np.eye(2, dtype=np.int8)[np.arange(10) % 2], np.random.default_rng(0).random((2, 10, 2))
    pair = [scored_run(tmp_path, name, own, labels, people) for name, own in zip("ab", scores, strict=True)]
    found = compare_runs(pair, margin=0.1).found
    assert all(row["p"] is None for row in found["comparisons"][0]["metrics"].values())
    text = comparison_text(found)
    assert "and its interval and p-value are undefined on these images" in text
    assert "of fewer than 6 patients they are undefined." in text


def test_a_difference_on_few_patients_is_said_of_them_alone_and_is_not_bold(tmp_path: Path) -> None:
    labels = np.eye(2, dtype=np.int8)[np.arange(12) % 2]
    right, wrong = np.where(labels == 1, 0.9, 0.1), np.where(labels == 1, 0.1, 0.9)
    wrong[:3] = right[:3]
    pair = [scored_run(tmp_path, name, own, labels, np.arange(12)) for name, own in (("a", right), ("b", wrong))]
    compared = compare_runs(pair)
    text = comparison_text(compared.found)
    assert text.startswith(
        "Few patients: only 12 images, of which no two are known to be of one patient (fewer than 50)."
    )
    assert "macro AUROC: on these few patients b is worse than a by 0." in text
    page = render(compared)
    assert page.index("Few patients: only 12 images") < page.index("is worse than")
    assert "<strong>" not in page


def test_labels_that_few_patients_have_are_named_and_the_others_are_not_few(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.stack([np.arange(80) % 2, np.arange(80) < 9], 1).astype(np.int8)
    pair = [scored_run(tmp_path, name, rng.random((80, 2)), labels, np.arange(80)) for name in "ab"]
    found = compare_runs(pair).found
    assert found["few"]["labels"] == {"Mass": {"with": 9, "without": 71}} and not found["few"]["all"]
    text = comparison_text(found)
    assert text.startswith("Few patients with, or without, a label (fewer than 10): Mass. Of these intervals")
    assert is_few(found, "Mass") and not is_few(found, "Effusion") and not is_few(found)


def test_the_same_scores_have_no_difference_no_interval_and_no_equivalence(tmp_path: Path) -> None:
    labels = np.eye(2, dtype=np.int8)[np.arange(60) % 2]
    scores = np.where(labels == 1, 0.9, 0.1)
    pair = [scored_run(tmp_path, name, scores, labels, np.arange(60)) for name in "ab"]
    found = compare_runs(pair, margin=0.05).found
    row = found["comparisons"][0]["metrics"]["macro_auroc"]
    assert (row["p"], row["interval"], row["equivalence_p"], found["few"]) == (1, [None, None], None, None)
    text, alike = comparison_text(found), "every resample of the patients gives the same"
    assert f"macro AUROC: no difference was shown: b - a is +0.0000 (no 95 % interval: {alike}, p = 1.000)" in text
    assert f"macro AUROC: equivalence is undefined: {alike}" in text and "0.0000 to 0.0000" not in text
