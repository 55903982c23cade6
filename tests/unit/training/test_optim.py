"""Learning rates by layer: which parameter has which, over schedules, and after a restart."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from medtrain import models
from medtrain.config.schema import Config, ModelConfig, OptimConfig, ScheduleConfig
from medtrain.core.errors import InputError
from medtrain.runs.checkpoint_manifest import TrainState
from medtrain.training.loop import update_best
from medtrain.training.optim import Schedule, make_optimizer

DECAYED = OptimConfig(optimizer="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.8)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return models.build(ModelConfig("convnext_atto"), 3)


def rates(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, tuple[float, float]]:
    """name -> (learning rate, weight decay)."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_each_layer_has_a_share_of_the_one_behind_it(model: torch.nn.Module) -> None:
    found = rates(make_optimizer(DECAYED, model), model)
    assert set(found) == {name for name, _ in model.named_parameters()}
    assert found["head.fc.weight"] == (1e-3, 0.05)
    assert found["head.fc.bias"] == (1e-3, 0.0)
    steps = {
        round(torch.tensor(rate / 1e-3).log().item() / torch.tensor(0.8).log().item(), 4) for rate, _ in found.values()
    }
    assert steps == set(map(float, range(len(steps))))  # 1, 0.8, 0.64 ... and nothing between
    assert found["stem.0.weight"][0] == pytest.approx(1e-3 * 0.8 ** max(steps))
    order = [found[f"stages.{stage}.blocks.0.mlp.fc1.weight"][0] for stage in range(4)]
    assert order == sorted(order)
    assert len({found[f"stages.2.blocks.1.{name}"][0] for name in ("conv_dw.weight", "norm.bias")}) == 1


def test_without_it_all_is_as_before(model: torch.nn.Module) -> None:
    optimizer = make_optimizer(replace(DECAYED, layer_decay=1.0), model)
    assert len(optimizer.param_groups) == 2
    assert {rate for rate, _ in rates(optimizer, model).values()} == {1e-3}


@pytest.mark.parametrize("schedule", ["plateau", "cosine", "warm_restarts", "constant"])
def test_shares_survive_the_schedule_and_a_restart(model: torch.nn.Module, schedule: str) -> None:
    config = ScheduleConfig(schedule=schedule, plateau_patience=0, min_lr=2e-4)  # type: ignore[arg-type]
    optimizer = make_optimizer(DECAYED, model)
    rule = Schedule(config, optimizer, 6)
    first = rates(optimizer, model)
    for _ in range(4):
        rule.epoch_done({"loss": 1.0})
    moved = rates(optimizer, model)
    assert (moved == first) == (schedule == "constant")
    if schedule == "plateau":
        assert {name: rate / moved["head.fc.weight"][0] for name, (rate, _) in moved.items()} == pytest.approx(
            {name: rate / 1e-3 for name, (rate, _) in first.items()}
        )
        assert rule.lr == pytest.approx(2e-4)
    fresh = make_optimizer(DECAYED, model)
    again = Schedule(config, fresh, 6)
    again.restore(rule.state())
    assert rates(fresh, model) == moved
    for either in (rule, again):
        either.epoch_done({"loss": 1.0})
    assert rates(fresh, model) == rates(optimizer, model)


@pytest.mark.parametrize(
    ("metric", "falls"),
    [("loss", True), ("mae", True), ("per_dataset_macro_ece", True), ("brier", True), ("spearman", False),
     ("macro_auroc", False), ("per_dataset_accuracy", False)],
)  # fmt: skip
def test_errors_are_better_low(metric: str, falls: bool) -> None:
    """What is watched gets ever smaller: that is no plateau of an error, and the last epoch is its best."""
    config = ScheduleConfig("plateau", plateau_of="monitor", plateau_patience=0)
    rule = Schedule(config, make_optimizer(OptimConfig(lr=1e-3), torch.nn.Linear(2, 2)), 3, metric)
    state = TrainState()
    for value in (0.3, 0.2, 0.1):
        rule.epoch_done({metric: value})
        state, better = update_best(Config(monitor=metric), state, {metric: value})
        assert better == (falls or value == 0.3)
    assert (rule.lr == 1e-3) == falls and state.best == (0.1 if falls else 0.3)


def test_warm_restarts_as_in_the_paper_and_after_a_stop_in_any_epoch() -> None:
    """Loshchilov and Hutter, ICLR 2017, equation 5, by hand: cosines of 2, 6 and 18 epochs."""
    config = ScheduleConfig("warm_restarts", min_lr=1e-5, restart_epochs=2, restart_growth=3)
    within = [(epoch, length) for length in (2, 6, 18) for epoch in range(length)]
    expected = [1e-5 + (1e-3 - 1e-5) * (1 + math.cos(math.pi * epoch / length)) / 2 for epoch, length in within]
    layer = torch.nn.Linear(2, 2)
    rule = Schedule(config, make_optimizer(OptimConfig(lr=1e-3), layer), 26)
    found = []
    for _ in within:
        found.append(rule.lr)
        rule.epoch_done({})
        saved = json.loads(json.dumps(rule.state()))
        again = Schedule(config, make_optimizer(OptimConfig(lr=1e-3), layer), 26)
        again.restore(saved)
        assert again.state() == rule.state()
        rule = again
    assert found == pytest.approx(expected)


def test_a_network_whose_layers_nobody_knows() -> None:
    with pytest.raises(InputError, match="layer_decay needs to know the layers of the network, and DenseNet"):
        make_optimizer(DECAYED, models.build(ModelConfig("densenet121"), 2))
