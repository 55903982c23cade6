"""A run's network as an ONNX file, which ONNX Runtime and other programs run without PyTorch."""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from medtrain.core.errors import InputError
from medtrain.evaluation.inference import TrainedModel
from medtrain.exporting.traced_program import example, traced

NEEDED = ("onnx", "onnxscript", "onnxruntime")
ONE_FILE = 1_900_000_000  # bytes of weights; protobuf cannot write a message of 2 GiB, and the graph needs some, too


def write_onnx(opened: TrainedModel, folder: Path, about: dict[str, Any]) -> str:
    """model.onnx: `pixels` of 0 to 255 in, `outputs` (probabilities or a score) out, for any number of samples.

    Each entry of `about` is a metadata property of the file, as JSON. Weights of 1.9 GB or more lie beside it, in
    model.onnx.data, as ONNX has it for large networks. InputError where the packages of the extra are missing.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(f"--to onnx needs {', '.join(missing)}", 'pip install "medtrain[onnx]"')
    program = traced(opened)
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch, about itself
        made = torch.onnx.export(
            program, (example(opened),), dynamo=True, input_names=["pixels"], output_names=["outputs"],
            verbose=False,
        )  # fmt: skip
    assert made is not None
    for node in made.model.graph.all_nodes():
        node.metadata_props.clear()  # names of parts of the network, and of files
    made.model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
    made.save(folder / "model.onnx", external_data=size >= ONE_FILE)
    return "model.onnx"
