"""Networks, one file a family; a family is found by the backbone's name.

Imported by: `distributed`, `training`, `evaluation` and above.
Door: `build(config, outputs)`.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from medtrain.config.schema import ModelConfig
from medtrain.core import permissions
from medtrain.core.errors import InputError, MachineError, nearest
from medtrain.models.weights import ensure_published


class ExactLinear(nn.Linear):
    """A last layer in float32, also under autocast: bf16 would leave a hundred different scores of a thousand."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits in float32."""
        with torch.autocast(inputs.device.type, enabled=False):
            return nn.functional.linear(inputs.float(), self.weight.float(), self.bias)


def build(config: ModelConfig, outputs: int, shape: tuple[int, ...] = (), bias: float = 0.0) -> nn.Module:
    """The network for `config` with `outputs` logits: float [B, channels, H, W], of clips [B, channels, T, H, W], ->
    float [B, outputs], which begin about `bias` where no weights have a head. InputError where it cannot take samples
    of `shape`, which is that of one (empty: any).

    Every file beside this one is a family. It holds `names()`, `builds(backbone)`, `build(config, outputs)`,
    `load(config, model)`, which takes weights into it, `map_layers(model)`, the layers, from input to head, whose
    output [B, K, h, w] still knows places, `blocks(model)`, the parts that are compiled one by one, `stages(model)`,
    its parts from input to head, and for its published weights `LEARNED_FROM`, their word in the settings,
    `kept(backbone)`, their file where it is in the cache, `licence(backbone)`, theirs and who says so, and
    `fetch(backbone)`, which downloads it.
    """
    family = _family(config.backbone)
    model: nn.Module = family.build(config, outputs)
    heads = [layer for layer in model.modules() if type(layer) is nn.Linear and layer.out_features == outputs]
    if heads:
        heads[-1].__class__ = ExactLinear
        if bias:
            nn.init.constant_(heads[-1].bias, bias)
    if config.weights:  # with a head that fits they bring a bias of their own
        family.load(config, model)
    if shape:
        _try(model, config, shape)
    return model


def ensure_fits(config: ModelConfig, shape: tuple[int, ...]) -> None:
    """InputError where there is no such backbone, or it cannot take samples of `shape`, which is that of one.

    On the meta device a network of any size costs next to nothing; what that device cannot do, or what does not fit
    there, is tried for real.
    """
    bare = replace(config, weights="")
    family = _family(config.backbone)
    try:
        with torch.device("meta"), torch.inference_mode():
            family.build(bare, 2).eval()(torch.zeros(1, *shape))
    except Exception:
        try:
            build(bare, 2, shape)
        except (RuntimeError, ValueError) as error:  # timm knows no weights of that name
            reason = " ".join(str(error).split())[:160]
            raise InputError(
                f"there is no backbone {config.backbone!r} ({reason})", "choose another --backbone"
            ) from None


def map_layers(config: ModelConfig, model: nn.Module) -> list[nn.Module]:
    """The layers of `model` an explanation may look at, from input to head; InputError where none is known."""
    try:
        found = list(_family(config.backbone).map_layers(model))
    except (AttributeError, IndexError, KeyError, TypeError):
        found = []
    if not found:
        raise InputError(
            f"of {config.backbone} it is not known which layers have maps", "explain a convolutional network or a ViT"
        )
    return found


def blocks(backbone: str, model: nn.Module) -> list[nn.Module]:
    """The parts of `model` that are compiled one by one; none where the family knows none."""
    return _family(backbone).blocks(model)  # type: ignore[no-any-return]


def stages(backbone: str, model: nn.Module) -> list[nn.Module]:
    """The parts of `model` that have weights, from input to head: what may be frozen or trained as one."""
    return [stage for stage in _family(backbone).stages(model) if any(True for _ in stage.parameters())]


def channels_last(dimensions: int) -> torch.memory_format:
    """How inputs [B, C, H, W] or [B, C, T, H, W] of so many dimensions lie in memory, and the filters for them."""
    return torch.channels_last_3d if dimensions == 5 else torch.channels_last


def _try(model: nn.Module, config: ModelConfig, shape: tuple[int, ...]) -> None:
    """Some networks are made for one size alone, and none for both images and clips."""
    training = model.training
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, *shape))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{config.backbone} cannot take {_words(shape)} pixels ({reason})",
            "give the --image_size in its name or in this message, or another --backbone",
        ) from None
    finally:
        model.train(training)


def _words(shape: tuple[int, ...]) -> str:
    *frames, height, width = shape[1:]
    return f"{f'clips of {frames[0]} frames' if frames else 'images'} of {height} x {width}"


def learned_from(backbone: str) -> str:
    """The word in the settings for a backbone's published weights."""
    return str(_family(backbone).LEARNED_FROM)


def licence(backbone: str) -> tuple[str, str]:
    """The licence of a backbone's published weights, as the Hugging Face Hub writes licences (empty: unknown), and who
    says so."""
    return _family(backbone).licence(backbone)  # type: ignore[no-any-return]


def fetch(backbone: str, asked: str = "") -> Path:
    """The file of a backbone's published weights, downloaded where it is not in the cache. Raises MachineError, and
    InputError where they are not those that were `asked` for."""
    family = _family(backbone)
    ensure_published(backbone, asked or family.LEARNED_FROM, family.LEARNED_FROM)
    found = family.kept(backbone)
    try:
        with permissions.as_the_user_has_it():  # a cache may be a whole group's
            return found or family.fetch(backbone)  # type: ignore[no-any-return]
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: no network; RuntimeError: another hash
        reason = " ".join(str(error).split())[:200]
        raise MachineError(
            f"the published weights of {backbone} could not be downloaded ({reason})",
            f"fetch them once where there is a network: medtrain data weights {backbone}   or give"
            " --weights FILE.safetensors   or begin with random weights: --weights ''",
        ) from None


def _family(backbone: str) -> ModuleType:
    families = [
        importlib.import_module(f"medtrain.models.families.{family.name}")
        for family in pkgutil.iter_modules([str(Path(__file__).parent / "families")])
    ]
    found = next((family for family in families if family.builds(backbone)), None)
    if found is None:
        known = [name for family in families for name in family.names()]
        raise InputError(
            f"there is no backbone {backbone!r}{nearest(backbone, known)}",
            "choose a DenseNet of torchvision, r2plus1d_18 for clips, or any of timm:"
            " python -c 'import timm; print(timm.list_models())'",
        )
    return found
