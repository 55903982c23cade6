"""models.compile: a compiled run that is stopped ends as the one that nobody touched."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from command import medtrain
from limits import HANG_S
from test_resume import result, start, train_arguments, wait_for_step
from torch import nn

from medtrain import models
from medtrain.config.schema import ModelConfig
from medtrain.core.errors import InputError, MachineError
from medtrain.models.compile import compile_blocks, not_compiled

COMPILED = ["--backbone", "test_vit", "--image_size", "160", "--compile", "blocks"]


@pytest.mark.parametrize(
    "frozen",
    [
        pytest.param([], id="all", marks=pytest.mark.slow),
        pytest.param(["--unfreeze", "1,3,9", "--unfreeze_every", "1"], id="unfreezing"),
    ],
)
def test_a_compiled_run_that_is_stopped_ends_alike(
    demo_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: list[str]
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    medtrain(*train_arguments(demo_shards, tmp_path, "still", 1), *COMPILED, *frozen)
    process = start([*train_arguments(demo_shards, tmp_path, "stopped", 1), *COMPILED, *frozen])
    wait_for_step(tmp_path / "stopped", 3, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(HANG_S) == 75
    medtrain("resume", "stopped", "--runs", tmp_path)
    assert result(tmp_path / "stopped") == result(tmp_path / "still")


@pytest.mark.parametrize(("backbone", "count"), [("convnext_atto", 12), ("resnet10t", 4), ("densenet121", 4)])
def test_most_of_a_network_is_in_its_blocks(backbone: str, count: int) -> None:
    model = models.build(ModelConfig(backbone), 14)
    blocks = models.blocks(backbone, model)
    assert len(blocks) == count
    within = sum(parameter.numel() for block in blocks for parameter in block.parameters())
    assert within > 0.8 * sum(parameter.numel() for parameter in model.parameters())


def test_an_evaluation_computes_as_written() -> None:
    block = nn.Linear(2, 2)
    compile_blocks("linear", [block])
    with not_compiled():
        block(torch.zeros(1, 2))
    assert not torch._dynamo.utils.counters["frames"]
    assert list(block.state_dict()) == ["weight", "bias"]


def test_what_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="of resnet it is not known which blocks to compile"):
        compile_blocks("resnet", [])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MachineError, match="no C\\+\\+ compiler"):
        compile_blocks("linear", [nn.Linear(2, 2)])
