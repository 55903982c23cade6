"""HiResCAM: which places of an image, or of the frames of a clip, speak for what a network says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medtrain.core.errors import InputError
from medtrain.tasks import Task

NO_MAPS = ("this network keeps no maps [B, K, h, w] to explain by", "explain a convolutional network or a ViT")
CELLS = 6  # on each side of a map: a finding is seldom as large as the cells of a coarser one
STRIDE = 8  # pixels: before that, channels are of edges
MOST = 3  # labels of an image, where none is named


@dataclass(frozen=True)
class Shown:
    """Labels with their probabilities, or with predicted numbers. Of a question with one answer that is rather no, what
    speaks for the no: its `words` are "not good"."""

    labels: dict[str, float]
    against: bool
    number: str = "probability"

    @property
    def words(self) -> list[str]:
        """Each label with its number, as a title."""
        return [
            f"not {label}: {self.number} {1 - share:.3f}" if self.against else f"{label}: {self.number} {share:.3f}"
            for label, share in self.labels.items()
        ]


def shown(task: Task, probabilities: NDArray[np.float64], labels: tuple[str, ...]) -> Shown:
    """What is explained of a sample with probabilities [K]: the labels asked for, or the most likely of those that were
    learned."""
    likely = (task.output_names[k] for k in np.argsort(-probabilities, kind="stable"))
    names = labels or tuple(islice((label for label in likely if label not in task.unlearned), MOST))
    found = {label: float(probabilities[task.output_names.index(label)]) for label in names}
    if not task.outputs_probabilities:
        return Shown(found, False, "predicted")
    return Shown(found, task.outputs == 1 and min(found.values(), default=1) < 0.5)


@dataclass(frozen=True)
class MapLayer:
    """A layer that is looked at: its name in the network, and how many cells its map of an input has."""

    module: Any
    name: str
    grid: tuple[int, ...]

    @property
    def words(self) -> str:
        """For a figure."""
        return f"{self.name}, {' x '.join(map(str, self.grid))} cells"


def resolving_layer(model: Any, layers: list[Any], inputs: Any) -> MapLayer:
    """The last of some layers, from input to head, whose map of an input has CELLS or more on each side.

    The last layer's map may be one single cell where images are small, and early layers know edges and no findings. So
    where no map has so many cells, it is the finest of those with cells of STRIDE pixels or more.
    """
    grids: dict[int, tuple[int, ...]] = {}

    def look(place: int) -> Any:
        def keep(module: Any, given: Any, made: Any) -> None:
            if (grid := _grid(model, name_of(model, layers[place]), made)) is not None:
                grids[place] = grid

        return keep

    hooks = [layer.register_forward_hook(look(place)) for place, layer in enumerate(layers)]
    try:
        model.eval()
        with torch.inference_mode():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if len(layers) - 1 not in grids:  # it makes something else, or is asked for what it holds and never called
        raise InputError(*NO_MAPS)
    most = -(-min(inputs.shape[-2:]) // STRIDE)
    late = [place for place, grid in grids.items() if min(grid[-2:]) <= most] or [len(layers) - 1]
    fine = [place for place in late if min(grids[place][-2:]) >= CELLS]
    best = max(fine) if fine else min(late, key=lambda place: (-min(grids[place][-2:]), -place))
    return MapLayer(layers[best], name_of(model, layers[best]), grids[best])


def name_of(model: Any, layer: Any) -> str:
    """The name of a layer in its network."""
    return next((name for name, module in model.named_modules() if module is layer), "")


def hires_cam(model: Any, layer: Any, inputs: Any, outputs: list[int], against: bool = False) -> NDArray[np.float32]:
    """Heat maps float32 [len(outputs), h, w] in 0..1 of one input [1, C, H, W], at the size of the layer's map; of a
    clip [1, C, T, H, W] maps [len(outputs), t, h, w].

    HiResCAM (Draelos and Carin, arXiv:2011.08891): the layer's channels, each cell times the gradient of the logit at
    it, summed, and what speaks against the label left out (with `against` what speaks for it); scaled by its maximum.
    Where nothing speaks for the label the map is 0. At the last layer before a global mean it is Grad-CAM (Selvaraju et
    al., ICCV 2017), which takes the mean of the gradients over all cells, and with it their places at earlier layers.
    """
    kept: list[torch.Tensor] = []
    name = name_of(model, layer)

    def keep(module: Any, given: Any, made: torch.Tensor) -> torch.Tensor:
        if _grid(model, name, made) is None:
            raise InputError(*NO_MAPS)
        kept.append(made)
        return made.clone()  # the next layer may write over it

    hook = layer.register_forward_hook(keep)
    try:
        model.eval()
        with torch.enable_grad():
            logits = model(inputs.requires_grad_())
            if not kept:  # the layer is requested what it holds, and never called
                raise InputError(*NO_MAPS)
            sign = -1 if against else 1
            gradients = [torch.autograd.grad(sign * logits[0, k], kept[0], retain_graph=True)[0] for k in outputs]
    finally:
        hook.remove()
    channels = _as_map(model, name, kept[0])
    heat = []
    for each in gradients:
        slopes = _as_map(model, name, each)
        heat.append((slopes * channels).sum(1)[0].relu())
    maps = torch.stack([each / each.max().clamp(min=1e-12) for each in heat])
    return maps.detach().float().cpu().numpy()


def _grid(model: Any, name: str, made: Any) -> tuple[int, ...] | None:
    """How many cells a layer's output has in each direction; None where it is no map."""
    if not isinstance(made, torch.Tensor) or made.ndim not in (3, 4, 5):
        return None
    if made.ndim == 3:
        grid = tuple(getattr(getattr(model, "patch_embed", None), "grid_size", ()))
        tokens = getattr(model, "num_prefix_tokens", None)
        return grid if len(grid) == 2 and tokens is not None and made.shape[1] == tokens + math.prod(grid) else None
    return tuple(made.shape[1:3]) if _channels_last(model, name, made.shape) else tuple(made.shape[2:])


def _as_map(model: Any, name: str, made: torch.Tensor) -> torch.Tensor:
    """A layer's output as [B, K, (t,) h, w]: patches of a ViT without its class token."""
    if made.ndim == 3:
        grid = _grid(model, name, made) or ()
        made = made[:, -math.prod(grid) :].transpose(1, 2).unflatten(2, grid)
    elif _channels_last(model, name, made.shape):
        made = made.movedim(3, 1)
    return made


def _channels_last(model: Any, name: str, shape: tuple[int, ...]) -> bool:
    """Whether a map is [B, h, w, K]: some of timm's networks say so, of others it says how many channels they have."""
    if len(shape) == 5:
        return False
    if "NHWC" in str(getattr(model, "output_fmt", "")):
        return True
    known = getattr(model, "feature_info", None)
    if not isinstance(known, list) or not known:
        return False
    channels = next((told for told in known if told.get("module") == name), known[-1]).get("num_chs")
    return channels is not None and shape[3] == channels != shape[1]
