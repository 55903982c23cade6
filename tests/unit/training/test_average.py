"""training.ema: the moving average is the rule's, is saved, and is what counts as best."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command import SMALL, medtrain
from safetensors.torch import load_file
from torch import nn

from medtrain.evaluation.inference import load_best_model
from medtrain.runs.run import Run
from medtrain.training.ema import EMA


def test_the_rule() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average, weight = EMA(model, decay=0.8), 0.0
    for step in range(1, 12):
        with torch.no_grad():
            model[0].weight.fill_(step * step)
            model[1].num_batches_tracked.fill_(step)
        average.update(model, step)
        decay = min(0.8, 1 - step ** (-2 / 3))
        weight = decay * weight + (1 - decay) * step * step
        assert average.tensors()["0.weight"].item() == pytest.approx(weight)
        assert average.tensors()["1.num_batches_tracked"] == step
    assert decay < 0.8 < 1 - 100 ** (-2 / 3), "it warms up"


def test_the_average_is_saved_and_is_what_predicts(demo_shards: Path, tmp_path: Path) -> None:
    place = ["--shards", demo_shards, "--runs", tmp_path, "--run", "smooth", "--image_size", "32"]
    done = medtrain("train", "mednist", *place, *SMALL, "--epochs", "1", "--ema_decay", "0.9")
    best = tmp_path / "smooth" / "checkpoints" / "best"
    assert f"best weights  {best / 'ema.safetensors'}" in done.stdout
    average, weights = load_file(best / "ema.safetensors"), load_file(best / "model.safetensors")
    assert average.keys() == weights.keys()
    assert not torch.equal(average["fc.weight"], weights["fc.weight"])
    opened = load_best_model(Run(tmp_path / "smooth"))
    assert all(torch.equal(value, average[name]) for name, value in opened.model.state_dict().items())
