"""Every network of timm, ConvNeXt (Liu et al., CVPR 2022) among them, for one or three channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from medtrain.config.schema import ModelConfig
from medtrain.core.errors import InputError
from medtrain.models.weights import file_of, load_local

WIDE = "fb_in22k"  # not tuned to the thousand classes of ImageNet-1k afterwards
LEARNED_FROM = "imagenet"
FILE = "model.safetensors"  # a pickle beside it is never read


def names() -> list[str]:
    """What timm can build, for suggestions."""
    from timm import list_models  # a second, which a run of another family does not pay

    return list_models()  # type: ignore[no-any-return]


def builds(backbone: str) -> bool:
    """Whether it is one of timm's, with or without the name of its weights (convnext_large.fb_in22k)."""
    from timm import is_model

    return is_model(backbone.partition(".")[0])


def build(config: ModelConfig, outputs: int) -> nn.Module:
    """A network with `outputs` logits."""
    from timm import create_model

    shape: dict[str, Any] = {"in_chans": config.channels, "num_classes": outputs, "drop_rate": config.dropout}
    return create_model(config.backbone, pretrained=False, **shape)  # type: ignore[no-any-return]


def load(config: ModelConfig, model: Any) -> None:
    """Take the weights; the first filter is summed over colours for one channel."""
    path = file_of(config, LEARNED_FROM, kept)
    first, heads = (_names(model.pretrained_cfg[what]) for what in ("first_conv", "classifier"))
    load_local(model, path, first=f"{first[0]}.weight", head=tuple(f"{head}." for head in heads))


def _names(told: Any) -> list[str]:
    """Of a layer, or of several as distilled networks have."""
    return [told] if isinstance(told, str) else list(told)


def map_layers(model: Any) -> list[nn.Module]:
    """After each stage; of a ViT (Dosovitskiy et al., ICLR 2021) what the attention of the last block reads: behind it
    a class token alone may decide."""
    if hasattr(model, "num_prefix_tokens") and hasattr(getattr(model, "patch_embed", None), "grid_size"):
        return [model.blocks[-1].norm1]
    return [model.get_submodule(told["module"]) for told in model.feature_info]


def stages(model: Any) -> list[nn.Module]:
    """What lies before the first of the parts that timm takes features from is one; then each part, up to the head."""
    marks = [told["module"] for told in getattr(model, "feature_info", [])]
    parts: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        inner = any(mark.startswith(f"{name}.") for mark in marks)
        parts += [(f"{name}.{own}", part) for own, part in child.named_children()] if inner else [(name, child)]
    marked = [any(f"{mark}.".startswith(f"{name}.") for mark in marks) for name, _ in parts]
    first = marked.index(True) if True in marked else 0
    return [nn.ModuleList([part for _, part in parts[:first]]), *(part for _, part in parts[first:])]


def blocks(model: nn.Module) -> list[nn.Module]:
    """What stands in the innermost sequences whose parts are all of one class of timm's own."""
    rows = [part for part in model.modules() if isinstance(part, nn.Sequential | nn.ModuleList) and _alike(part)]
    outer = [row for row in rows if any(part in rows for part in row.modules() if part is not row)]
    return [block for row in rows if row not in outer for block in row]


def _alike(row: nn.Sequential | nn.ModuleList) -> bool:
    kinds = {type(part) for part in row}
    return len(kinds) == 1 and not kinds.pop().__module__.startswith("torch.")


def published(backbone: str) -> str:
    """The Hugging Face repository of its weights: those of ImageNet-22k where it names none and there are such."""
    about = _about(backbone)
    if about is None or not about.hf_hub_id:
        raise InputError(f"timm has no published weights of {backbone}", "give --weights FILE.safetensors")
    return str(about.hf_hub_id)


def licence(backbone: str) -> tuple[str, str]:
    """Of the published weights, as timm has it; an empty one where timm has none."""
    from timm import __version__

    told = str(getattr(_about(backbone), "license", None) or "")
    return told.replace("unknown", ""), f"timm {__version__}: {published(backbone)}"


def _about(backbone: str) -> Any:
    from timm import get_pretrained_cfg, list_pretrained

    wide = f"{backbone}.{WIDE}"
    return get_pretrained_cfg(wide if wide in list_pretrained(f"{backbone}.*") else backbone)


def kept(backbone: str) -> Path | None:
    """The published weights in the Hugging Face cache; None where they are not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(published(backbone), FILE)
    return Path(found) if isinstance(found, str) else None


def fetch(backbone: str) -> Path:
    """The published weights, downloaded into that cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # a line for each try
    return Path(hf_hub_download(published(backbone), FILE))
