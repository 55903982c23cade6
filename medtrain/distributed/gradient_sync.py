"""How the gradients of one optimizer step come together: fast, or exact at any number of ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from medtrain.config.schema import Config
from medtrain.core.even_split import share_of
from medtrain.distributed.process_group import World, seed_step, wrap
from medtrain.distributed.tree_sum import Tensors, TreeSum, sum_over_ranks
from medtrain.loading.batch import Batch
from medtrain.models import channels_last
from medtrain.runs.checkpoint_manifest import TrainState

# What a rank tells of a step, summed over all: columns of one tensor.
LOSS, CORRECT, STOP, SAVE, BROKEN = range(5)
COLUMNS = 5
OF_SAMPLES = slice(LOSS, CORRECT + 1)  # what is a sum over samples, and not a question


class AllReduceSync:
    """DDP's all-reduce, under way while the backward pass still runs. The sums' last bits depend on the number of
    ranks; sample order, seeds and everything else do not."""

    def __init__(self, world: World, parallel: nn.Module, seed: int, batch_size: int) -> None:
        self._world, self._parallel, self._seed, self._batch_size = world, parallel, seed, batch_size
        self.scale = float(world.size)  # DDP takes the mean over ranks; the loss is made to be summed

    def micro_batches(self, batch: Batch) -> list[Batch]:
        """The batch in parts of the batch size."""
        return list(batch.split(self._batch_size))

    @contextmanager
    def micro(self, step: int, number: int, count: int, total: torch.Tensor) -> Iterator[None]:
        """Around the forward and backward pass of a micro-batch."""
        if number == 0:
            seed_step(self._seed, step, self._world.rank)
        if number == count - 1:
            yield
        else:
            with self._world.accelerator.no_sync(self._parallel):
                yield

    def reduce(self, total: torch.Tensor) -> None:
        """Nothing is left to do: DDP has reduced the gradients, and `total` is summed a step late."""


class FixedOrderSync:
    """Each micro-batch is a virtual rank, whose gradient is a leaf of one fixed tree (see tree_sum.py).

    Random numbers are keyed by virtual rank. Every virtual rank sees the same BatchNorm statistics and changes its own
    copy of them; their mean is what the step leaves.
    """

    def __init__(self, world: World, model: nn.Module, seed: int, global_batch: int, leaves: int) -> None:
        self.scale = 1.0
        self._world, self._seed, self._leaves = world, seed, leaves
        self._own = share_of(leaves, world.rank, world.size)
        self._samples = [share_of(global_batch, leaf, leaves) for leaf in self._own]
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # Those of a frozen layer stay: a mean of equal numbers may differ from them in the last bit.
        buffers = [own for layer in model.modules() if layer.training for own in layer.buffers(recurse=False)]
        self._statistics = [buffer for buffer in buffers if buffer.is_floating_point()]
        self._counters = [buffer for buffer in buffers if not buffer.is_floating_point()]
        self._before: Tensors = []
        self._counted: Tensors = []
        self._tree = TreeSum(leaves)

    def micro_batches(self, batch: Batch) -> list[Batch]:
        """The batch cut by virtual rank."""
        first = self._samples[0].start
        return [batch.part(slice(samples.start - first, samples.stop - first)) for samples in self._samples]

    @contextmanager
    def micro(self, step: int, number: int, count: int, total: torch.Tensor) -> Iterator[None]:
        """Around the forward and backward pass of a virtual rank, whose results it takes away as a leaf."""
        buffers = [*self._statistics, *self._counters]
        if number == 0:
            self._before = [buffer.clone() for buffer in buffers]
        seed_step(self._seed, step, self._own[number])
        yield
        if number == 0:
            self._counted = [buffer.clone() for buffer in self._counters]  # a step counts once
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self._parameters]
        statistics = [buffer.clone() for buffer in self._statistics]
        self._tree.add((0, self._own[number]), [*gradients, *statistics, total[OF_SAMPLES].clone()])
        for parameter in self._parameters:
            parameter.grad = None
        for buffer, before in zip(buffers, self._before, strict=True):
            buffer.copy_(before)
        total[OF_SAMPLES] = 0

    def reduce(self, total: torch.Tensor) -> None:
        """Put the summed gradients and the mean statistics in place; rank 0's `total` gets the summed loss."""
        *values, summed = sum_over_ranks(self._tree, self._leaves, self._world.rank, self._world.size)
        self._tree = TreeSum(self._leaves)
        for parameter, gradient in zip(self._parameters, values, strict=False):
            # In the parameter's own layout: the optimizer's loops round alike only over memory that lies alike.
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
        for buffer, statistic in zip(self._statistics, values[len(self._parameters) :], strict=True):
            buffer.copy_(statistic / self._leaves)
        for buffer, counted in zip(self._counters, self._counted, strict=True):
            buffer.copy_(counted)
        if self._world.main:
            total[OF_SAMPLES] = summed


def make_gradient_sync(
    config: Config, state: TrainState, world: World, model: nn.Module
) -> tuple[nn.Module, AllReduceSync | FixedOrderSync]:
    """What a batch passes through, and how this run sums the gradients of what trains now, which its first attempt has
    settled."""
    if state.virtual_ranks:
        return model, FixedOrderSync(world, model, config.seed, state.global_batch, state.virtual_ranks)
    parallel = wrap(world, model)
    return parallel, AllReduceSync(world, parallel, config.seed, config.data.batch_size)


def priming_passes(model: nn.Module, shape: tuple[int, ...], device: torch.device) -> None:
    """Forward and backward, twice, on zeros of `shape`, [B, C, H, W] or [B, C, T, H, W]; the model stays as it is."""
    inputs = torch.zeros(shape, device=device).contiguous(memory_format=channels_last(len(shape)))
    buffers = [buffer.clone() for buffer in model.buffers()]
    for _ in range(2):
        model(inputs).float().sum().backward()
        model.zero_grad()
    for buffer, kept in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(kept)
