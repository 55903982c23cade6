"""The network of an export, ready to be called: pixels of 0 to 255 in, probabilities or scores out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import torch

from medtrain import models
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.evaluation.export_folder import AGAIN, Export
from medtrain.evaluation.pixel_network import PixelNetwork

Program = Callable[[torch.Tensor], torch.Tensor]


def program_of(export: Export, config: Config, outputs: int, device: torch.device) -> Program:
    """What an export's file computes, loaded by the file's own means. InputError where it cannot be loaded."""
    path, kind = export.folder / export.told["file"], str(export.told["format"])
    try:
        return LOADERS[kind](path, config, outputs, device)
    except (OSError, RuntimeError, ValueError, KeyError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{path} cannot be loaded: {reason}", AGAIN) from None


def _torch_export(path: Path, config: Config, outputs: int, device: torch.device) -> Program:
    network: Program = torch.export.load(path).module()
    return lambda pixels: network(pixels.cpu())


def _onnx(path: Path, config: Config, outputs: int, device: torch.device) -> Program:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"{path} needs onnxruntime", 'pip install "medtrain[onnx]"') from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda pixels: torch.from_numpy(session.run(["outputs"], {"pixels": pixels.cpu().numpy()})[0])


def _tensors(path: Path, config: Config, outputs: int, device: torch.device) -> Program:
    """Of a file that holds nothing but tensors."""
    from safetensors.torch import load_file

    network = models.build(config.model, outputs)
    found = torch.load(path, map_location="cpu", weights_only=True) if path.suffix == ".pt" else load_file(path)
    network.load_state_dict(found)
    whole = PixelNetwork(network, config).eval().to(device)
    return lambda pixels: whole(pixels.to(device)).cpu()


LOADERS: dict[str, Callable[[Path, Config, int, torch.device], Program]] = {
    **dict.fromkeys(("hf", "monai_bundle", "safetensors", "timm"), _tensors),
    "onnx": _onnx,
    "torch_export": _torch_export,
}
