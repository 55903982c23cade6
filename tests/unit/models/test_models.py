"""Networks of both families: built, explained, and started from published weights that a real server here hands out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from command import medtrain
from safetensors.torch import save_file
from timm import create_model
from web import Site

from medtrain import models
from medtrain.config import backbones
from medtrain.config.backbones import SMALLEST, surely_fits
from medtrain.config.schema import ModelConfig
from medtrain.core.errors import InputError, MachineError
from medtrain.models.families import densenet, timm

COMMIT = "a" * 40


@pytest.mark.parametrize("backbone", ["convnext_atto.d2_in1k", "test_resnet", "efficientnet_lite0", "regnetx_002"])
@pytest.mark.parametrize("size", [SMALLEST, 57])
def test_a_network_that_surely_fits_takes_that_size(backbone: str, size: int) -> None:
    """One of each file of timm that is believed at its word; by what it computes, without weights (meta device)."""
    assert surely_fits(backbone, size, 0) and not surely_fits(backbone, size, 16) and not surely_fits(backbone, 16, 0)
    with torch.device("meta"):
        assert create_model(backbone, num_classes=2).eval()(torch.zeros(1, 3, size, size)).shape == (1, 2)


def test_torchvisions_networks_surely_fit_what_they_are_for() -> None:
    for name in backbones.DENSENETS:
        assert surely_fits(name, SMALLEST, 0) and not surely_fits(name, SMALLEST, 16)
        with torch.device("meta"):
            model = torchvision.models.get_model(name, weights=None).eval()
            assert model(torch.zeros(1, 3, SMALLEST, SMALLEST)).shape == (1, 1000)
    assert surely_fits("r2plus1d_18", 16, 16) and not surely_fits("r2plus1d_18", 64, 0)


def test_a_name_that_is_not_there_is_not_believed() -> None:
    for name in ("resnet5", "resnet50.", "resnet50.a1_in1", "resnet", "densenet12", "vit_tiny_patch16_224", "", "a["):
        assert not surely_fits(name, 64, 0)
    assert surely_fits("resnet50.a1_in1k", 64, 0) and surely_fits("convnext_large.fb_in22k", 64, 0)


@pytest.mark.parametrize("backbone", ["convnext_atto", "convnext_atto.d2_in1k", "resnet18", "efficientnet_lite0"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_network_of_timm(backbone: str, channels: int) -> None:
    config = ModelConfig(backbone, channels=channels)  # type: ignore[arg-type]
    model = models.build(config, 5).eval()
    seen = []
    models.map_layers(config, model)[-1].register_forward_hook(lambda _, __, output: seen.append(output.shape))
    assert model(torch.zeros(2, channels, 64, 64)).shape == (2, 5)
    assert (seen[0][0], len(seen[0])) == (2, 4)


def test_no_such_network() -> None:
    with pytest.raises(InputError, match=r"no backbone 'convnext_larg' \(did you mean convnext_large\?\)"):
        models.build(ModelConfig("convnext_larg"), 2)


@pytest.mark.parametrize(
    ("backbone", "place"),
    [
        ("convnext_large", "timm/convnext_large.fb_in22k"),
        ("convnext_large.fb_in22k_ft_in1k", "timm/convnext_large.fb_in22k_ft_in1k"),
        ("convnext_atto", "timm/convnext_atto.d2_in1k"),
    ],
)
def test_which_published_weights_are_meant(backbone: str, place: str) -> None:
    assert timm.published(backbone) == place


@pytest.mark.parametrize("backbone", ["convnext_atto", "densenet121", "resnet18"])
def test_scores_of_bf16_are_not_rounded_to_bf16(backbone: str) -> None:
    torch.manual_seed(0)
    model = models.build(ModelConfig(backbone), 3).eval()  # type: ignore[arg-type]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.randn(8, 1, 32, 32))
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


def test_a_size_that_a_network_cannot_take_is_said() -> None:
    config = ModelConfig("swin_tiny_patch4_window7_224", channels=1)  # type: ignore[arg-type]
    assert models.build(config, 2, (1, 224, 224)).training
    with pytest.raises(InputError, match="cannot take images of 32 x 32 pixels"):
        models.build(config, 2, (1, 32, 32))


@pytest.mark.parametrize("content", [b"", b"\x80\x02]q\x00.", bytes(range(256)) * 8])
def test_a_damaged_file_of_weights_is_said(content: bytes, tmp_path: Path) -> None:
    for name in ("damaged.pth", "damaged.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="weights cannot be read"):
            models.build(ModelConfig("convnext_atto", weights=str(tmp_path / name)), 2)  # type: ignore[arg-type]


def test_a_distilled_network_starts_from_its_weights(tmp_path: Path) -> None:
    """It has two heads, neither of which fits."""
    config = ModelConfig("deit_tiny_distilled_patch16_224", channels=3)  # type: ignore[arg-type]
    published = models.build(config, 1000).state_dict()
    save_file(published, tmp_path / "published.safetensors")
    built = models.build(replace(config, weights=str(tmp_path / "published.safetensors")), 14).state_dict()
    assert torch.equal(built["blocks.3.mlp.fc1.weight"], published["blocks.3.mlp.fc1.weight"])


def old_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As old versions of torchvision named them: `norm.1` for `norm1`, and no count of batches."""
    renamed = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): own for name, own in tensors.items()}
    return {name: tensor for name, tensor in renamed.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("old", [False, True], ids=["names of today", "old names"])
@pytest.mark.parametrize("backbone", ["densenet169", "densenet169.tv_in1k"])
def test_densenet169_of_torchvision_and_of_timm_start_from_a_file(backbone: str, old: bool, tmp_path: Path) -> None:
    """Each from a network of a thousand classes as its own library builds it; only the head is new."""
    torch.manual_seed(1)
    ours = backbone == "densenet169"
    published = torchvision.models.densenet169() if ours else create_model(backbone, pretrained=False)
    tensors = published.state_dict()
    for tensor in filter(torch.is_floating_point, tensors.values()):
        tensor.normal_()  # no two networks begin with the same norms
    save_file(old_names(tensors) if old else tensors, tmp_path / "published.safetensors")
    config = ModelConfig(backbone, channels=3, weights=str(tmp_path / "published.safetensors"))
    torch.manual_seed(2)
    built = models.build(config, 1)
    assert type(built) is type(published)
    for name, tensor in built.state_dict().items():
        if name.startswith("classifier."):
            assert len(tensor) == 1 and not any(torch.equal(tensor, row[None]) for row in tensors[name])
        elif not (old and name.endswith("num_batches_tracked")):
            assert torch.equal(tensor, tensors[name]), name
    assert built.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 1)


def test_convnext_large_has_its_196_million_parameters() -> None:
    with torch.device("meta"):
        model = models.build(ModelConfig("convnext_large", channels=3), 14)
    assert sum(parameter.numel() for parameter in model.parameters()) == 196_251_854


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Site]:
    """Hugging Face, as far as one file of it goes."""
    torch.manual_seed(0)
    model = models.build(ModelConfig("convnext_atto", channels=3), 1000)
    save_file(model.state_dict(), tmp_path / "published")
    site = Site()
    site.files = {"/timm/convnext_atto.d2_in1k/resolve/main/model.safetensors": (tmp_path / "published").read_bytes()}
    site.always = {"X-Repo-Commit": COMMIT}
    yield site
    site.close()


def test_published_weights_are_fetched_once_and_then_need_no_network(hub: Site, tmp_path: Path) -> None:
    env = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    told = json.loads(medtrain("data", "weights", "convnext_atto", "--json", env=env).stdout)
    assert Path(told["file"]).read_bytes() == next(iter(hub.files.values()))
    hub.close()
    script = """import sys, torch
from medtrain.config import backbones
from medtrain import models
from medtrain.config.backbones import SMALLEST, surely_fits
from medtrain.config.schema import ModelConfig
model = models.build(ModelConfig("convnext_atto", channels=1, weights="imagenet"), 14)
torch.save(model.state_dict(), sys.argv[1])"""
    subprocess.run([sys.executable, "-c", script, tmp_path / "built"], env=env, check=True)
    built = torch.load(tmp_path / "built", weights_only=True)
    torch.manual_seed(0)
    published = models.build(ModelConfig("convnext_atto", channels=3), 1000).state_dict()
    assert torch.equal(built["stages.3.blocks.1.mlp.fc1.weight"], published["stages.3.blocks.1.mlp.fc1.weight"])
    assert torch.allclose(built["stem.0.weight"], published["stem.0.weight"].sum(1, keepdim=True))
    assert built["head.fc.weight"].shape == (14, 320)


def test_published_densenet_whose_file_names_its_tensors_as_old_versions_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So are the files that torchvision publishes."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    published = models.build(ModelConfig("densenet121", channels=3), 1000).state_dict()
    old = old_names(published)
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(old, tmp_path / "hub/checkpoints/densenet121-a639ec97.pth")
    built = models.build(ModelConfig("densenet121", channels=1, weights="imagenet"), 14).state_dict()
    name = "features.denseblock4.denselayer16.conv2.weight"
    assert torch.equal(built[name], published[name])
    assert torch.equal(built["features.conv0.weight"], published["features.conv0.weight"].sum(1, keepdim=True))
    assert models.fetch("densenet121") == tmp_path / "hub/checkpoints/densenet121-a639ec97.pth"


def test_a_run_without_its_weights_is_refused_where_it_is_asked_for(
    demo_shards: Path, hub: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not hours later, on a node without a network; and a rank asks nobody but the cache."""
    env = {**os.environ, "HF_HOME": str(tmp_path / "none"), "HF_HUB_OFFLINE": "1"}
    words = ("train", "mednist", "--shards", demo_shards, "--runs", tmp_path / "runs", "--backbone", "convnext_atto")
    done = medtrain(*words, "--weights", "imagenet", env=env, check=False)
    assert done.returncode == 1
    assert "the published weights of convnext_atto could not be downloaded" in done.stderr
    assert not (tmp_path / "runs").exists()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for backbone in ("convnext_atto", "densenet121"):
        with pytest.raises(MachineError, match=f"weights of {backbone} are not in the cache of this machine"):
            models.build(replace(ModelConfig(backbone), weights="imagenet"), 2)  # type: ignore[arg-type]
    assert not hub.asked


def test_no_code_of_a_weights_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save({"features.conv0.weight": Path("an object")}, tmp_path / "hub/checkpoints/densenet121-a639ec97.pth")
    with pytest.raises(InputError, match="weights cannot be read"):
        models.build(ModelConfig("densenet121", weights="imagenet"), 2)


def test_a_densenet_is_downloaded_and_checked(hub: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    hub.files |= {f"/{digest}/densenet121-{digest}.pth": b"weights", "/densenet121-00000000.pth": b"weights"}
    monkeypatch.setattr(densenet, "_url", lambda backbone: f"{hub.url}/{digest}/{backbone}-{digest}.pth")
    assert models.fetch("densenet121").read_bytes() == b"weights"
    asked = len(hub.asked)
    assert models.fetch("densenet121").exists()
    assert len(hub.asked) == asked
    monkeypatch.setattr(densenet, "_url", lambda backbone: f"{hub.url}/{backbone}-00000000.pth")
    with pytest.raises(MachineError, match=r"could not be downloaded .*hash"):
        models.fetch("densenet121")


def test_weights_that_cannot_be_had(tmp_path: Path) -> None:
    """Never a random start in silence."""
    env = {**os.environ, "HF_HOME": str(tmp_path / "none"), "HF_HUB_OFFLINE": "1"}
    done = medtrain("data", "weights", "convnext_atto", env=env, check=False)
    assert done.returncode == 1
    assert "the published weights of convnext_atto could not be downloaded" in done.stderr
    assert "medtrain data weights convnext_atto" in done.stderr
    unpublished = medtrain("data", "weights", "convnext_xxlarge_nosuch", env=env, check=False)
    assert unpublished.returncode == 2
    config = replace(ModelConfig("convnext_atto"), weights=str(tmp_path / "missing.safetensors"))
    with pytest.raises(InputError, match="weights cannot be read"):
        models.build(config, 2)
