"""models.freezing: what is frozen does not move by a bit, and a run that is interrupted ends as one that is not."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command import medtrain
from limits import HANG_S
from safetensors.torch import load_file
from test_elastic import arguments, interrupted
from test_elastic import result as elastic_result
from test_resume import result, start, train_arguments, wait_for_step

from medtrain import models
from medtrain.config.schema import Config, ModelConfig, OptimConfig
from medtrain.core.errors import InputError
from medtrain.distributed.gradient_sync import FixedOrderSync
from medtrain.distributed.process_group import World
from medtrain.models.freezing import Freezing
from medtrain.training.optim import make_optimizer

STEM, LAST, HEAD = "conv1", "layer4", "fc"
UNFREEZE = ["--backbone", "resnet10t", "--unfreeze_every", "1", "--optimizer", "adamw"]
UNFREEZE += ["--weight_decay", "0.05", "--clip_norm", "1", "--ema_decay", "0.9"]


def config_for(backbone: str, unfreeze: str, every: int = 0, **optim: Any) -> Config:
    chosen = OptimConfig(unfreeze=unfreeze, unfreeze_every=every, **optim)
    return replace(Config(), model=ModelConfig(backbone, channels=3), optim=chosen)


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Names of the parts of which any tensor has other bits."""
    return {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_only_the_last_blocks_move_and_more_of_them_later(kind: Any) -> None:
    torch.manual_seed(0)
    config = config_for("densenet121", "1,3", 2, optimizer=kind, weight_decay=0.1, lr=1e-2)
    model = models.build(config.model, 2)
    optimizer = make_optimizer(config.optim, model)
    freezing = Freezing(config, model)
    expected = [{"classifier"}, {"classifier"}, {"classifier", "features.norm5", "features.denseblock4"}] * 2
    for epoch, parts in enumerate(expected[:3]):
        assert freezing.begin(epoch) == (epoch != 1)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for _ in range(2):
            model(torch.randn(4, 3, 32, 32)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        found = moved(before, model.state_dict())
        assert {".".join(name.split(".")[:2]) for name in found} == parts, "BatchNorm statistics too"
    assert str(freezing).startswith(
        "the last 3 of 7 blocks train: features.denseblock4, features.norm5, classifier (2,"
    )
    assert not freezing.begin(100)


@pytest.mark.parametrize(
    ("backbone", "count", "first", "last"),
    [
        ("r2plus1d_18", 6, "stem", "fc"),
        ("densenet121", 7, "features.conv0 and features.norm0", "classifier"),
        ("resnet10t", 6, "conv1 and bn1", "fc"),
        ("convnext_atto", 6, "stem", "head"),
        ("efficientnet_lite0", 11, "conv_stem and bn1", "classifier"),
        ("vit_tiny_patch16_224", 15, "patch_embed", "head"),
        ("test_vit", 9, "patch_embed", "head"),
    ],
)
def test_all_blocks_together_are_all_that_learns(backbone: str, count: int, first: str, last: str) -> None:
    config = config_for(backbone, str(count))
    model = models.build(config.model, 3)
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    freezing = Freezing(config, model)
    assert freezing.begin(0)
    words = str(freezing)
    assert words.startswith(f"the last {count} of {count} blocks train: {first}, ") and f", {last} (" in words
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == learning
    assert all(layer.training for layer in model.modules())
    fewer = Freezing(config_for(backbone, str(count - 1)), model)
    fewer.begin(0)
    own = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert 0 < len(own) < len(learning)
    with pytest.raises(InputError, match=f"unfreeze is {count + 1}, and {backbone} has {count} blocks"):
        Freezing(config_for(backbone, str(count + 1)), model)


def test_the_mean_over_virtual_ranks_leaves_frozen_statistics_alone() -> None:
    """Thirteen times a number, divided by thirteen, is not always that number."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(64), torch.nn.Conv2d(64, 4, 1), torch.nn.BatchNorm2d(4))
    frozen, learning = model[0].eval().requires_grad_(False), model[2]
    frozen.running_mean.normal_()
    frozen.running_var.uniform_(0.5, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    exact = FixedOrderSync(World(None, 0, 1, "fp32", ""), model, 42, 13, 13)  # type: ignore[arg-type]
    total = torch.zeros(4)
    for leaf in range(13):
        with exact.micro(0, leaf, 13, total):
            model(torch.randn(1, 64, 4, 4)).square().sum().backward()
    exact.reduce(total)
    assert moved(before, model.state_dict()) == {"2"}
    assert learning.num_batches_tracked == 1


def test_a_layer_decay_goes_on_working() -> None:
    config = config_for("convnext_atto", "1,6", 1, layer_decay=0.5)
    model = models.build(config.model, 2)
    optimizer, freezing = make_optimizer(config.optim, model), Freezing(config, model)
    freezing.begin(0)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()}


def saved(run: Path, step: int) -> dict[str, torch.Tensor]:
    (folder,) = (run / "checkpoints").glob(f"step-{step:08d}-epoch-*")
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_an_interrupted_run_ends_alike(demo_shards: Path, tmp_path: Path, ranks: int) -> None:
    """Stopped in mid-epoch before an unfreezing, and after it; and the run does what was asked for."""
    options = [*UNFREEZE, "--unfreeze", "1,2,6", "--keep_every", "1", "--epochs", "3"]
    medtrain(*train_arguments(demo_shards, tmp_path, "still", ranks), *options)
    expected, per_epoch = result(tmp_path / "still"), 96 // (8 * ranks)
    process = start([*train_arguments(demo_shards, tmp_path, "stopped", ranks), *options])
    for step in (per_epoch // 2, per_epoch + per_epoch // 2):
        wait_for_step(tmp_path / "stopped", step, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 75, process.communicate()[0]
        process = start(["resume", "stopped", "--runs", str(tmp_path)])
    assert process.wait(HANG_S) == 0, process.communicate()[0]
    assert result(tmp_path / "stopped") == expected
    log = (tmp_path / "still" / "train.log").read_text()
    assert re.findall(r"the last (\d) of 6 blocks train", log) == ["1", "2", "6"]
    one, two, three = (saved(tmp_path / "still", per_epoch * epoch) for epoch in (1, 2, 3))
    assert {name.split(".")[0] for name in moved(one, two)} == {LAST, HEAD}
    assert {STEM, "bn1", LAST, HEAD} < {name.split(".")[0] for name in moved(two, three)}
    proof = json.loads(medtrain("verify", "still", "--runs", tmp_path, "--from_step", per_epoch, "--json").stdout)
    assert proof["replay"]["same"], "from the checkpoint before, across an unfreezing"


def test_exact_is_the_same_bits_at_other_numbers_of_ranks(demo_shards: Path, tmp_path: Path) -> None:
    options = [*UNFREEZE, "--unfreeze", "2,6", "--determinism", "exact"]
    medtrain(*arguments(demo_shards, tmp_path, "one", 1, *options))
    assert elastic_result(interrupted(demo_shards, tmp_path, "elastic", *options)) == elastic_result(tmp_path / "one")
