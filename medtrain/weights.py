"""Weights from a local file, for a backbone whose head and input channels may differ."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from torch import nn

from medtrain.config import ModelConfig
from medtrain.errors import InputError, MachineError

DAMAGED = (ValueError, RuntimeError, EOFError, LookupError, AttributeError, TypeError)  # what a damaged .pth raises
UNCOUNTED = "num_batches_tracked"  # files of old versions lack it, and nothing is computed with it


def file_of(config: ModelConfig, kept: Path | None) -> Path:
    """The file that `config.weights` means; `kept` is the published one in the cache, None where it is not there.

    It is not downloaded here: a hundred ranks would ask for it at once, most where no network is.
    """
    if config.weights != "imagenet":
        return Path(config.weights)
    if kept is None:
        raise MachineError(
            f"the published weights of {config.backbone} are not in the cache of this machine",
            f"fetch them into one that all nodes see (HF_HOME, TORCH_HOME): medtrain data weights {config.backbone}"
            "   or give --weights FILE.safetensors",
        )
    return kept


def load_local(model: nn.Module, path: Path, first: str, head: str | tuple[str, ...]) -> None:
    """Take every tensor that fits; a head for other classes is left out, anything else missing is an error.

    `first` names the weight of the first convolution, which is summed over colours where the model has one channel;
    `head` is how the names of a classifier's tensors begin, or of several. Raises InputError.
    """
    tensors = {_as_today(name): tensor for name, tensor in _read(path).items()}
    own = model.state_dict()
    if first in tensors and own[first].shape[1] == 1 and tensors[first].shape[1] == 3:
        tensors[first] = tensors[first].sum(1, keepdim=True)
    fitting = {name: value for name, value in tensors.items() if name in own and own[name].shape == value.shape}
    left = [name for name in own if name not in fitting and not name.startswith(head) and not name.endswith(UNCOUNTED)]
    if left:
        raise InputError(
            f"{path}: {len(left)} tensors are missing or of another shape (first: {left[0]})",
            "give weights of the same backbone",
        )
    with torch.no_grad():
        model.load_state_dict(fitting, strict=False)


def _as_today(name: str) -> str:
    """The published DenseNets say `norm.1` for `norm1`, as old versions of torchvision did."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)


def _read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file, or of a .pth as torchvision publishes it, of which no code is run."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix != ".pth":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
            raise ValueError("it holds other things than tensors by name")
        return found
    except (OSError, SafetensorError, pickle.UnpicklingError, *DAMAGED) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(
            f"{path}: weights cannot be read: {reason}", "give a .safetensors file of this backbone"
        ) from None
