"""Weights from a local file, for a backbone whose head and input channels may differ."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medtrain.config.schema import PUBLISHED, ModelConfig
from medtrain.core.counts import are, counted
from medtrain.core.errors import InputError, MachineError

DAMAGED = (ValueError, RuntimeError, EOFError, LookupError, AttributeError, TypeError)  # what a damaged .pth raises
PICKLED = (".pt", ".pth")
NESTED = (
    "state_dict",
    "model_state_dict",
    "model",
)  # where a trainer's checkpoint has the weights, beside its own state
UNCOUNTED = "num_batches_tracked"  # files of old versions lack it, and nothing is computed with it


def file_of(config: ModelConfig, learned_from: str, kept: Callable[[str], Path | None]) -> Path:
    """The file that `config.weights` means. The published ones of this backbone are `learned_from` one data set, and
    `kept` finds them in the cache (None: they are not there).

    They are not downloaded here: a hundred ranks would ask for them at once, most where no network is.
    """
    if config.weights not in PUBLISHED:
        return Path(config.weights)
    ensure_published(config.backbone, config.weights, learned_from)
    found = kept(config.backbone)
    if found is None:
        raise MachineError(
            f"the published weights of {config.backbone} are not in the cache of this machine",
            f"fetch them into one that all nodes see (HF_HOME, TORCH_HOME): medtrain data weights {config.backbone}"
            "   or give --weights FILE.safetensors",
        )
    return found


def ensure_published(backbone: str, asked: str, learned_from: str) -> None:
    """InputError where the published weights of a backbone are of other data than requested."""
    if asked != learned_from:
        raise InputError(
            f"the published weights of {backbone} are of {learned_from}, and {asked} was requested",
            f"give --weights {learned_from}, or a local file",
        )


def in_hub(url: str) -> Path:
    """Where PyTorch's cache has, or would have, the file of an address."""
    return Path(torch.hub.get_dir(), "checkpoints", Path(url).name)


def kept_in_hub(url: str) -> Path | None:
    """The same, None where it is not there."""
    file = in_hub(url)
    return file if file.exists() else None


def download(url: str) -> Path:
    """The file of an address, now in PyTorch's cache; its name holds the beginning of its hash."""
    file = in_hub(url)
    file.parent.mkdir(parents=True, exist_ok=True)
    digits = file.stem.rpartition("-")[2]
    torch.hub.download_url_to_file(url, str(file), hash_prefix=digits, progress=sys.stderr.isatty())
    return file


def load_local(model: nn.Module, path: Path, first: str, head: str | tuple[str, ...]) -> None:
    """Take every tensor that fits; a head of another shape is left out, anything else missing is an error.

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
            f"{path}: {counted(len(left), 'tensors')} {are(len(left))} missing or of another shape (first: {left[0]})",
            "give weights of the same backbone",
        )
    with torch.no_grad():
        model.load_state_dict(fitting, strict=False)


def _as_today(name: str) -> str:
    """Old torchvision, and so the published DenseNets, said `norm.1` for `norm1`; DDP says `module.` before it all."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name.removeprefix("module."))


def _read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file, or of a .pt or .pth, of which no code is run."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix not in PICKLED:
            return load_file(path)
        found = _weights_in(torch.load(path, map_location="cpu", weights_only=True))
        if not isinstance(found, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
            raise ValueError("it holds other things than tensors by name")
        return found
    except (OSError, SafetensorError, pickle.UnpicklingError, *DAMAGED) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(
            f"{path}: weights cannot be read: {reason}", "give a .safetensors file of this backbone"
        ) from None


def _weights_in(found: Any) -> Any:
    """What is a state dict itself, or a trainer's checkpoint that holds one."""
    inner = [found[name] for name in NESTED if isinstance(found.get(name), dict)] if isinstance(found, dict) else []
    return inner[0] if inner else found
