"""Grad-CAM: which places of an image, or of the frames of a clip, speak for what a network says."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medtrain.core.errors import InputError
from medtrain.tasks import Task

NO_MAPS = ("this network keeps no maps [B, K, h, w] to explain by", "explain a convolutional one")
MOST = 3  # labels of an image, where none is named


@dataclass(frozen=True)
class Shown:
    """Labels with their probabilities. Of a question with one answer that is rather no, what speaks for the no: its
    `words` are "not good"."""

    labels: dict[str, float]
    against: bool

    @property
    def words(self) -> list[str]:
        """Each label with its probability, as a title."""
        return [
            f"not {label} {1 - share:.3f}" if self.against else f"{label} {share:.3f}"
            for label, share in self.labels.items()
        ]


def shown(task: Task, probabilities: NDArray[np.float64], labels: tuple[str, ...]) -> Shown:
    """What is explained of a sample with probabilities [K]: the labels asked for, or the most likely of those that were
    learned."""
    likely = (task.output_names[k] for k in np.argsort(-probabilities, kind="stable"))
    names = labels or tuple(islice((label for label in likely if label not in task.unlearned), MOST))
    found = {label: float(probabilities[task.output_names.index(label)]) for label in names}
    return Shown(found, task.outputs_probabilities and task.outputs == 1 and min(found.values(), default=1) < 0.5)


def grad_cam(model: Any, layer: Any, inputs: Any, outputs: list[int], against: bool = False) -> NDArray[np.float32]:
    """Heat maps float32 [len(outputs), h, w] in 0..1 of one input [1, C, H, W], at the size of the layer's map; of a
    clip [1, C, T, H, W] maps [len(outputs), t, h, w].

    Grad-CAM (Selvaraju et al., ICCV 2017): the layer's channels, each weighted by the mean gradient of the logit,
    summed, and what speaks against the label left out (with `against` what speaks for it); scaled by its maximum.
    """
    kept: list[torch.Tensor] = []

    def keep(module: Any, given: Any, made: torch.Tensor) -> torch.Tensor:
        if not isinstance(made, torch.Tensor) or made.ndim not in (4, 5):
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
    channels, places = (3, (1, 2)) if _channels_last(model, kept[0].shape) else (1, tuple(range(2, kept[0].ndim)))
    heat = [(each.mean(places, keepdim=True) * kept[0]).sum(channels)[0].relu() for each in gradients]
    maps = torch.stack([each / each.max().clamp(min=1e-12) for each in heat])
    return maps.detach().float().cpu().numpy()


def _channels_last(model: Any, shape: tuple[int, ...]) -> bool:
    """Whether a map is [B, h, w, K]: some of timm's networks say so, of others it says how many channels they have."""
    if len(shape) == 5:
        return False
    if "NHWC" in str(getattr(model, "output_fmt", "")):
        return True
    known = getattr(model, "feature_info", None)
    channels = known[-1].get("num_chs") if isinstance(known, list) and known else None
    return channels is not None and shape[3] == channels != shape[1]
