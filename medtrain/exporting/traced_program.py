"""A run's network as one traced program, whose input is pixels and whose output is probabilities or a score."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.export import ExportedProgram

from medtrain.evaluation.inference import TrainedModel
from medtrain.evaluation.pixel_network import PixelNetwork
from medtrain.models import ExactLinear


def traced(opened: TrainedModel) -> ExportedProgram:
    """`PixelNetwork` of a run for any number of samples; its input is called `pixels`."""
    network = PixelNetwork(plain_network(opened), opened.config).eval()
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(network, (example(opened),), dynamic_shapes={"pixels": {0: batch}})
    return _without_places(program)


def plain_network(opened: TrainedModel) -> nn.Module:
    """The run's network in float32 on the CPU, of the classes of its own library alone."""
    network = copy.deepcopy(opened.model).cpu().float().eval()
    for layer in network.modules():
        if type(layer) is ExactLinear:
            layer.__class__ = nn.Linear  # type: ignore[assignment]
    return network.to(memory_format=torch.contiguous_format)


def example(opened: TrainedModel, batch: int = 2) -> torch.Tensor:
    """An input of the right shape."""
    data = opened.config.data
    sides = (data.frames, data.image_size, data.image_size) if data.frames else (data.image_size, data.image_size)
    return torch.zeros(batch, opened.channels, *sides)


def _without_places(program: ExportedProgram) -> ExportedProgram:
    """Each node would tell the files of the code that it is from, and with them the folders of whoever exports."""
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program
