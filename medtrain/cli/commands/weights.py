"""The command data weights: published weights, fetched once where there is a network."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from medtrain.cli.flag_types import Flag
from medtrain.core.console import say, say_json


def data_weights(backbone: Positional[Annotated[str, arg(metavar="BACKBONE")]], json: Flag = False) -> None:
    """Fetch the published weights of a backbone, on a login node for instance: compute nodes then need no network.

    They are kept in the cache that timm and torchvision share with other programs (HF_HOME, TORCH_HOME; by default in
    the home folder), which compute nodes must see too.

    Args:
        backbone: Name as --backbone takes it (convnext_large, densenet169).
        json: Print one JSON document.
    """
    from medtrain import models  # torch

    path = models.fetch(backbone)
    megabytes = path.stat().st_size / 1e6
    if json:
        say_json({"backbone": backbone, "file": str(path), "megabytes": round(megabytes, 1)})
    else:
        words = f"--backbone {backbone} --weights {models.learned_from(backbone)}"
        say(f"{path} ({megabytes:,.0f} MB)\ntrain with them: {words}")
