"""Sums over virtual ranks in one fixed binary tree, so that their bits do not depend on how many processes share them.

Floating-point addition is not associative: a ring all-reduce over 2, 4 or 8 ranks gives three different results. Here
leaf v of V is the gradient of virtual rank v; node (level, i) is the sum of the leaves i * 2^level up to the next
node; each process adds up the nodes that lie wholly in its range, and the rest of the tree is computed from those.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from medtrain.core.even_split import share_of

Node = tuple[int, int]  # level, index
Tensors = list[torch.Tensor]


class TreeSum:
    """The nodes that are known so far. Leaves and nodes are to be added from left to right."""

    def __init__(self, leaves: int) -> None:
        self._leaves = leaves
        self.nodes: dict[Node, Any] = {}

    def add(self, node: Node, values: Any) -> None:
        """Take a node in, and add it to its sibling where that is known; `values` are changed in place, or kept."""
        level, index = node
        while 1 << level < self._leaves:
            left = (level, index - 1)
            if index % 2 and left in self.nodes:
                values = _sum(self.nodes.pop(left), values)
            elif index % 2 or (index + 1) << level < self._leaves:
                break  # its sibling is another's, or comes later
            level, index = level + 1, index // 2
        self.nodes[level, index] = values

    @property
    def root(self) -> Any:
        """The sum of all leaves."""
        (root,) = self.nodes.values()
        return root


def own_nodes(leaves: int, rank: int, world: int) -> list[Node]:
    """The nodes that a process ends up with after adding all its leaves."""
    tree = TreeSum(leaves)
    for leaf in share_of(leaves, rank, world):
        tree.add((0, leaf), None)
    return list(tree.nodes)


def sum_over_ranks(tree: TreeSum, leaves: int, rank: int, world: int) -> Tensors:
    """The root, the same bits on every process and for any number of them.

    Each process gets its chunk of all nodes, finishes the tree for it, and hands the result round: as much traffic as
    an all-reduce.
    """
    if world == 1:
        return tree.root  # type: ignore[no-any-return]
    like: Tensors = next(iter(tree.nodes.values()))
    length = sum(tensor.numel() for tensor in like)
    chunk = -(-length // world)
    sent = like[0].new_zeros(len(tree.nodes), world * chunk)
    for row, values in zip(sent, tree.nodes.values(), strict=True):
        torch.cat([tensor.reshape(-1) for tensor in values], out=row[:length])
    everyone = [own_nodes(leaves, other, world) for other in range(world)]
    counts = [len(nodes) * chunk for nodes in everyone]
    received = sent.new_empty(sum(counts))
    parcels = sent.view(len(sent), world, chunk).transpose(0, 1).contiguous()
    dist.all_to_all_single(received, parcels.view(-1), counts, [counts[rank]] * world)
    whole = TreeSum(leaves)
    nodes = [node for some in everyone for node in some]
    for node, values in zip(nodes, received.view(-1, chunk), strict=True):
        whole.add(node, [values])
    flat = sent.new_empty(world, chunk)
    dist.all_gather(list(flat), whole.root[0])
    pieces = flat.view(-1)[:length].split([tensor.numel() for tensor in like])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, like, strict=True)]


def _sum(left: Any, right: Any) -> Any:
    """Left plus right, in the memory of left; None stands for values in `own_nodes`."""
    if left is not None:
        torch._foreach_add_(left, right)
    return left
