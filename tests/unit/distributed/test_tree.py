"""distributed.tree_sum: one order of additions, however many processes share the leaves."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from medtrain.core.even_split import share_of
from medtrain.distributed.tree_sum import TreeSum, own_nodes


def added(leaves: int, world: int, values: list[Any]) -> Any:
    """The root by way of `world` processes: each adds up its own, then all nodes from left to right."""
    whole = TreeSum(leaves)
    for rank in range(world):
        own = TreeSum(leaves)
        for leaf in share_of(leaves, rank, world):
            own.add((0, leaf), [values[leaf].clone()])
        assert list(own.nodes) == own_nodes(leaves, rank, world)
        for node, some in own.nodes.items():
            whole.add(node, some)
    return whole.root[0]


@pytest.mark.parametrize("leaves", [1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 16, 31, 64])
def test_the_sum_has_the_same_bits_for_any_number_of_processes(leaves: int) -> None:
    torch.manual_seed(leaves)
    values = [torch.randn(257) * 10 ** random.Random(leaf).uniform(-6, 6) for leaf in range(leaves)]
    alone = added(leaves, 1, values)
    assert torch.allclose(alone, torch.stack(values).double().sum(0).float(), rtol=1e-4, atol=1e-2)
    for world in range(2, leaves + 1):
        assert torch.equal(added(leaves, world, values), alone), world


def test_plain_sums_would_differ() -> None:
    """What the tree is for: partial sums of two and of four processes do not add up to the same bits."""
    torch.manual_seed(0)
    values = torch.randn(8, 1000)
    of_two = values[:4].sum(0) + values[4:].sum(0)
    in_a_row = values[0].clone()
    for value in values[1:]:
        in_a_row += value
    assert not torch.equal(of_two, in_a_row)


def test_a_process_with_an_aligned_share_sends_one_node() -> None:
    assert own_nodes(16, 1, 4) == [(2, 1)]
    assert all(len(own_nodes(64, rank, 8)) == 1 for rank in range(8))
    assert sum(len(own_nodes(13, rank, 3)) for rank in range(3)) < 13
