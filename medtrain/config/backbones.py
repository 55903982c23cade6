"""What is known of a backbone by its name alone: to import torch for a typing error would take seconds."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from medtrain.config.schema import PUBLISHED

DENSENETS = ("densenet121", "densenet161", "densenet169", "densenet201")  # of torchvision, for images
OF_CLIPS = ("r2plus1d_18",)
ANY_SIZE = ("convnext", "efficientnet", "regnet", "resnet")  # files of timm: convolutions and a mean, no size is theirs
SMALLEST = 32  # below, the last maps of some have no pixel left
OWN_WEIGHTS = "a file of your own"


def weights_in_public(weights: str) -> str:
    """The setting `weights` for pages, exports and trackers: the name of a file may be a person's, and is left out."""
    return weights if weights in ("", *PUBLISHED) else OWN_WEIGHTS


def surely_fits(backbone: str, image_size: int, frames: int) -> bool:
    """Whether there is such a network and it takes samples of that size. False: perhaps; the network itself knows."""
    if backbone in OF_CLIPS:
        return frames > 0
    return not frames and image_size >= SMALLEST and (backbone in DENSENETS or _in_timm(backbone))


def _in_timm(backbone: str) -> bool:
    """Whether one of the files of ANY_SIZE registers the name, and, where it has a dot, knows its weights."""
    spec = find_spec("timm")  # which imports nothing
    if spec is None or not spec.submodule_search_locations:
        return False
    name, dot, _ = backbone.partition(".")
    for family in ANY_SIZE:
        file = Path(spec.submodule_search_locations[0], "models", f"{family}.py")
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        if re.search(rf"^@register_model\ndef {re.escape(name)}\(", text, re.MULTILINE):
            return not dot or re.search(rf"[\"']{re.escape(backbone)}[\"']", text) is not None
    return False
