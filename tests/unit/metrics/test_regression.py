"""metrics.score_report: errors, explained variance and rank correlation are those of scikit-learn and SciPy."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from medtrain.evaluation.score_table import TIES
from medtrain.evaluation.study_means import study_means
from medtrain.loading.batch import Batch
from medtrain.metrics.score_report import NUMBERS, Scored, score_report
from medtrain.tasks.score import Score


def drawn(count: int, seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and given scores."""
    rng = np.random.default_rng(seed)
    given = rng.normal(50, 12, count)
    predicted = given + rng.normal(0, 8, count)
    return (np.round(predicted, -1), np.round(given, -1)) if ties else (predicted, given)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("count", [2, 3, 17, 400])
def test_the_numbers_are_those_of_others(count: int, ties: bool) -> None:
    predicted, given = drawn(count, count, ties)
    found = dict(zip(NUMBERS, Scored(predicted, given)(np.ones(count)), strict=True))
    assert found["mae"] == pytest.approx(mean_absolute_error(given, predicted), abs=1e-9)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(given, predicted), abs=1e-9)
    varied = len(set(given)) > 1
    assert found["r2"] == (
        pytest.approx(r2_score(given, predicted), abs=1e-9) if varied else pytest.approx(math.nan, nan_ok=True)
    )
    if varied and len(set(predicted)) > 1:
        assert found["spearman"] == pytest.approx(spearmanr(given, predicted).statistic, abs=1e-9)


def test_weights_count_rows_several_times() -> None:
    """What the bootstrap relies on: a row of weight 3 is that row three times."""
    predicted, given = drawn(40, 5, ties=True)
    times = np.random.default_rng(0).integers(0, 4, 40)
    often = np.repeat(np.arange(40), times)
    assert Scored(predicted, given)(times.astype(float)) == pytest.approx(
        Scored(predicted[often], given[often])(np.ones(len(often))), abs=1e-9
    )


def test_the_report() -> None:
    predicted, given = drawn(300, 9)
    groups = np.repeat(np.arange(100), 3)
    holes = given.copy()
    holes[::10] = np.nan
    report = score_report(predicted, holes, groups)
    assert [*report["per_class"]] == ["score"]
    assert [*score_report(predicted, holes, groups, name="ejection_fraction")["per_class"]] == ["ejection_fraction"]
    json.dumps(report, allow_nan=False)
    kept = ~np.isnan(holes)
    assert report["samples"] == 270 and report["mae"] == pytest.approx(
        mean_absolute_error(given[kept], predicted[kept])
    )
    assert report["loss"] == pytest.approx(np.mean((predicted - given)[kept] ** 2))
    for name in NUMBERS:
        low, high = report[f"{name}_interval"]
        assert low < report[name] < high
    assert sum(row["samples"] for row in report["by_given"]) == 270 and len(report["by_given"]) <= 10
    again = score_report(predicted[::-1], holes[::-1], groups[::-1])
    assert again["mae_interval"] == pytest.approx(report["mae_interval"]), "the order does not matter"


def test_a_prediction_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match=r"predicted\[1\] is nan; expected a number"):
        score_report([1.0, math.nan], [1.0, 2.0], [0, 1])


def test_a_study_is_the_mean_of_what_has_a_score() -> None:
    rows = np.array([(1, 5), (1, 5), (2, 6), (3, 7)], TIES)
    values = np.array([[1.0], [9], [4], [8]], np.float32)
    labels = np.array([[2.0], [np.nan], [5], [np.nan]], np.float32)
    predicted, given, patients = study_means(values, labels, rows["study"], rows["group"])
    assert (predicted.tolist(), given.tolist(), patients.tolist()) == ([[1.0], [4.0]], [[2.0], [5.0]], [5, 6])


def test_nothing_known() -> None:
    report = score_report(np.zeros(3), np.full(3, np.nan), np.arange(3))
    assert report["samples"] == 0 and report["mae"] is None and report["by_given"] == []
    assert score_report([], [], [])["loss"] is None
    assert "nothing has a score" in Score("clips").headline(report)
    constant = score_report(np.arange(4.0), np.ones(4), np.arange(4))
    assert constant["r2"] is None and constant["spearman"] is None and constant["mae"] == 1


@pytest.mark.parametrize("cuts", [[12], [5, 7], [1] * 12])
def test_the_loss_is_the_mean_square_however_a_batch_is_cut(cuts: list[int]) -> None:
    given = torch.linspace(0, 1, 12)[:, None].clone()
    given[3] = math.nan
    logits = torch.randn(12, 1, generator=torch.Generator().manual_seed(1), requires_grad=True)
    expected = (logits - given)[~given.isnan()].square().mean()
    (gradient,) = torch.autograd.grad(expected, logits)
    whole = Batch(torch.empty(12), given, np.arange(12), np.array([11]))
    total, start = torch.zeros(()), 0
    for size in cuts:
        part = slice(start, start + size)
        total = total + Score("clips").loss(logits[part], whole.part(part))
        start += size
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.allclose(torch.autograd.grad(total, logits)[0], gradient, atol=1e-7)


def test_what_an_epoch_tells_of_the_training_is_an_error_on_the_scale_of_the_scores() -> None:
    given = torch.tensor([[40.0], [75.0], [math.nan], [52.0]])
    logits = torch.tensor([[43.0], [70.0], [1.0], [52.0]])
    task = Score("images")
    assert (task.accuracy_name, task.accuracy_key) == ("mean absolute error", "mae")
    assert float(task.correct(logits, Batch(torch.empty(4), given, np.arange(4), np.array([3])))) == pytest.approx(
        8 / 3
    )
