"""The network of a run on its device, compiled, frozen and wrapped as the settings want it, with its optimizer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from medtrain import models
from medtrain.checkpoints.format import Checkpoint
from medtrain.config.schema import Config
from medtrain.distributed.gradient_sync import AllReduceSync, FixedOrderSync, make_gradient_sync
from medtrain.distributed.process_group import World
from medtrain.evaluation.inputs import input_shape
from medtrain.models.compile import compile_blocks
from medtrain.models.freezing import Freezing
from medtrain.models.skip_init import build_without_init
from medtrain.runs.checkpoint_manifest import TrainState
from medtrain.training.optim import make_optimizer


class Network(NamedTuple):
    """A model with what trains it."""

    model: nn.Module
    parallel: nn.Module
    freezing: Freezing
    optimizer: Optimizer
    gradient_sync: AllReduceSync | FixedOrderSync


def build_network(
    config: Config, world: World, state: TrainState, found: Checkpoint | None, outputs: int, bias: float
) -> Network:
    """The model on its device, compiled, frozen and wrapped as the settings want it, and its optimizer. Where a
    checkpoint was `found` its tensors come later, and no weights are drawn or read for nothing."""
    torch.manual_seed(config.seed)
    shape = input_shape(config)
    model = build_without_init(config.model, outputs) if found else models.build(config.model, outputs, shape, bias)
    model = model.to(world.device).to(memory_format=models.channels_last(1 + len(shape)))
    if config.model.compile == "blocks":
        compile_blocks(config.model.backbone, models.blocks(config.model.backbone, model))
    optimizer = make_optimizer(config.optim, model)  # of all parameters, also of those that are frozen at first
    freezing = Freezing(config, model)
    freezing.begin(state.epoch)
    model = world.accelerator.prepare_model(model, evaluation_mode=True)  # precision; DDP may come more than once
    parallel, gradient_sync = make_gradient_sync(config, state, world, model)
    return Network(model, parallel, freezing, world.accelerator.prepare_optimizer(optimizer), gradient_sync)
