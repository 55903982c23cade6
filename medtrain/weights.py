"""Weights from a local .safetensors file, for a backbone whose head and input channels may differ."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from medtrain.errors import InputError


def load_local(model: nn.Module, path: Path, first: str, head: str) -> None:
    """Take every tensor that fits; a head for other classes is left out, anything else missing is an error.

    `first` names the weight of the first convolution, which is summed over colours where the model has one channel;
    `head` is how the names of the classifier's tensors begin. Raises InputError.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(
            f"{path}: weights cannot be read: {error}", "give a .safetensors file of this backbone"
        ) from None
    own = model.state_dict()
    if first in tensors and own[first].shape[1] == 1 and tensors[first].shape[1] == 3:
        tensors[first] = tensors[first].sum(1, keepdim=True)
    fitting = {name: value for name, value in tensors.items() if name in own and own[name].shape == value.shape}
    left = [name for name in own if name not in fitting and not name.startswith(head)]
    if left:
        raise InputError(
            f"{path}: {len(left)} tensors are missing or of another shape (first: {left[0]})",
            "give weights of the same backbone",
        )
    with torch.no_grad():
        model.load_state_dict(fitting, strict=False)
