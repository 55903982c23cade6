"""R(2+1)D: built for clips, started from files of several kinds, told apart from networks for images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from command import medtrain
from safetensors.torch import save_file

from medtrain import models
from medtrain.config.schema import ModelConfig
from medtrain.core.errors import InputError, MachineError
from medtrain.distributed.gradient_sync import priming_passes
from medtrain.doctor.probe import machine
from medtrain.models.families import r2plus1d

VIDEO = ModelConfig("r2plus1d_18", channels=3)
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def published() -> Tensors:
    """As torchvision builds it for the 400 classes of Kinetics, with numbers that no other network begins with."""
    torch.manual_seed(1)
    tensors: Tensors = torchvision.models.video.r2plus1d_18(num_classes=400).state_dict()
    for tensor in filter(torch.is_floating_point, tensors.values()):
        tensor.normal_()
    return tensors


def test_it_is_the_network_of_the_paper(published: Tensors) -> None:
    with torch.device("meta"):
        model = models.build(VIDEO, 400)
    assert sum(parameter.numel() for parameter in model.parameters()) == 31_505_325
    assert {name: own.shape for name, own in model.state_dict().items()} == {
        name: own.shape for name, own in published.items()
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_clips_go_in_and_a_logit_comes_out(channels: Any) -> None:
    config = replace(VIDEO, channels=channels, dropout=0.3)
    model = models.build(config, 1, (channels, 8, 32, 32)).eval()
    seen: list[torch.Size] = []
    models.map_layers(config, model)[-1].register_forward_hook(lambda _, __, output: seen.append(output.shape))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.randn(1, channels, 8, 32, 32))
    assert (logits.shape, logits.dtype) == ((1, 1), torch.float32)
    assert seen == [(1, 512, 1, 2, 2)]
    names = dict(model.named_children())
    assert models.stages("r2plus1d_18", model) == [
        names[name] for name in ("stem", "layer1", "layer2", "layer3", "layer4", "fc")
    ]
    assert len(models.blocks("r2plus1d_18", model)) == 8


def test_dropout_comes_before_the_head() -> None:
    model = models.build(replace(VIDEO, dropout=0.5), 1).train()
    torch.manual_seed(0)
    read: list[torch.Tensor] = []
    model.get_submodule("fc").register_forward_hook(lambda _, inputs, __: read.append(inputs[0]))
    model(torch.randn(2, 3, 4, 16, 16))
    assert 0.4 < (read[0] == 0).float().mean() < 0.9
    assert set(model.state_dict()) == set(models.build(VIDEO, 1).state_dict())


def test_clips_lie_in_memory_channels_last_and_a_rehearsal_leaves_no_trace() -> None:
    torch.manual_seed(0)
    model, clips = models.build(replace(VIDEO, channels=1), 1).eval(), torch.randn(2, 1, 4, 32, 32)
    before = model(clips)
    model.to(memory_format=models.channels_last(clips.ndim))
    convolution = model.get_submodule("layer2.0.conv1.0.0")
    assert isinstance(convolution.weight, torch.Tensor)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(model(clips), before, rtol=1e-4, atol=1e-4)
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    priming_passes(model.train(), tuple(clips.shape), torch.device("cpu"))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("backbone", "shape", "words"),
    [
        ("r2plus1d_18", (1, 64, 64), "r2plus1d_18 cannot take images of 64 x 64 pixels"),
        ("r2plus1d_18", (3, 64, 64), "r2plus1d_18 cannot take images of 64 x 64 pixels"),
        ("densenet121", (3, 8, 48, 64), "densenet121 cannot take clips of 8 frames of 48 x 64 pixels"),
        ("resnet10t", (1, 8, 64, 64), "resnet10t cannot take clips of 8 frames"),
    ],
)
def test_images_and_clips_are_not_mixed_up(backbone: str, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        models.build(ModelConfig(backbone, channels=shape[0]), 2, shape)  # type: ignore[arg-type]


KINDS: dict[str, Callable[[Tensors], Any]] = {
    "plain": dict,
    "state_dict": lambda own: {"state_dict": own, "epoch": 3},
    "model_state_dict": lambda own: {"epoch": 3, "model_state_dict": own, "optimizer": {"state": {}}},
    "model": lambda own: {"model": own},
    "module.": lambda own: {f"module.{name}": tensor for name, tensor in own.items()},
    "nested module.": lambda own: {"state_dict": {f"module.{name}": tensor for name, tensor in own.items()}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pt_file_of_any_kind_starts_it(kind: str, published: Tensors, tmp_path: Path) -> None:
    torch.save(KINDS[kind](published), tmp_path / "video.pt")
    built = models.build(replace(VIDEO, weights=str(tmp_path / "video.pt")), 1).state_dict()
    for name, tensor in built.items():
        assert torch.equal(tensor, published[name]) != name.startswith("fc."), name


@pytest.mark.parametrize(("classes", "bias"), [(400, 70.0), (1, None)])
def test_a_score_begins_at_the_mean_but_where_weights_have_a_head(
    published: Tensors, tmp_path: Path, classes: int, bias: float | None
) -> None:
    head = {name: published[name][:classes].contiguous() for name in ("fc.weight", "fc.bias")}
    save_file({**published, **head}, tmp_path / "own.safetensors")
    model = models.build(replace(VIDEO, weights=str(tmp_path / "own.safetensors")), 1, bias=70.0)
    assert model.fc.bias.item() == (head["fc.bias"].item() if bias is None else bias)


def test_a_head_that_fits_is_taken_and_colours_are_summed(published: Tensors, tmp_path: Path) -> None:
    """As of the public video_quality_model.pt: one logit."""
    own = {**published, "fc.weight": published["fc.weight"][:1].clone(), "fc.bias": published["fc.bias"][:1].clone()}
    torch.save(own, tmp_path / "video_quality_model.pt")
    config = replace(VIDEO, channels=1, weights=str(tmp_path / "video_quality_model.pt"))  # type: ignore[arg-type]
    built = models.build(config, 1).state_dict()
    assert torch.equal(built["fc.weight"], own["fc.weight"]) and torch.equal(built["fc.bias"], own["fc.bias"])
    assert torch.equal(built["stem.0.weight"], own["stem.0.weight"].sum(1, keepdim=True))


@pytest.mark.parametrize("content", [{"state_dict": {"stem.0.weight": Path("code")}}, {"epoch": 3}, [1], {}])
def test_a_pt_file_of_something_else_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "video.pt")
    with pytest.raises(InputError, match=r"weights cannot be read|tensors are missing"):
        models.build(replace(VIDEO, weights=str(tmp_path / "video.pt")), 1)


def test_published_weights_come_from_the_cache(
    published: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    config = replace(VIDEO, weights="kinetics")
    with pytest.raises(MachineError, match="weights of r2plus1d_18 are not in the cache of this machine"):
        models.build(config, 1)
    file = tmp_path / "hub" / "checkpoints" / "r2plus1d_18-91a641e6.pth"
    assert machine.weights_fault("kinetics", "r2plus1d_18") == f"{file}: No such file or directory"
    file.parent.mkdir(parents=True)
    torch.save(published, file)
    assert r2plus1d.kept("r2plus1d_18") == models.fetch("r2plus1d_18", "kinetics") == file
    assert torch.equal(
        models.build(config, 1).state_dict()["layer1.0.conv1.0.0.weight"], published["layer1.0.conv1.0.0.weight"]
    )


@pytest.mark.parametrize(
    ("backbone", "asked", "right"),
    [
        ("r2plus1d_18", "imagenet", "kinetics"),
        ("densenet121", "kinetics", "imagenet"),
        ("convnext_atto", "kinetics", "imagenet"),
    ],
)
def test_published_weights_of_other_data_are_refused(backbone: str, asked: str, right: str) -> None:
    words = f"the published weights of {backbone} are of {right}, and {asked} was requested"
    with pytest.raises(InputError, match=words):
        models.build(ModelConfig(backbone, channels=3, weights=asked), 1)
    with pytest.raises(InputError, match=words):
        models.fetch(backbone, asked)


def test_a_wrong_pairing_makes_no_run(demo_shards: Path, tmp_path: Path) -> None:
    words = ("train", "mednist", "--shards", demo_shards, "--runs", tmp_path / "runs", "--weights", "kinetics")
    done = medtrain(*words, check=False)
    assert (done.returncode, (tmp_path / "runs").exists()) == (2, False)
    assert "give --weights imagenet, or a local file" in done.stderr
