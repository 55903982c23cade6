"""torch.compile of a network, a block at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from medtrain.core.errors import InputError, MachineError
from medtrain.slurm.environment import node_name

COMPILERS = ("c++", "g++", "clang++")
SHAPES = 8  # of which each block may be called: two sizes of micro-batch, training or not, and room


def compile_blocks(backbone: str, blocks: list[nn.Module]) -> None:
    """Compile blocks in place; the names of their tensors stay. Raises InputError or MachineError.

    By blocks and not as a whole: DDP then sends a block's gradients while those before it are still computed, and the
    kernels of one block serve all that are alike. Nothing is tuned by the clock and no shape is left open, so that a
    resumed run computes with the kernels, and so with the bits, of the one before.
    """
    from torch._dynamo import config as dynamo  # a second and more, which a run without it does not pay
    from torch._inductor import config as inductor

    if not hasattr(inductor, "deterministic"):
        raise InputError(
            f"PyTorch {torch.__version__} cannot promise the same compiled kernels to every attempt",
            "install a newer one, or give --compile none",
        )
    if not blocks:
        raise InputError(f"of {backbone} it is not known which blocks to compile", "give --compile none")
    if not any(map(shutil.which, COMPILERS)):
        raise MachineError(
            f"{node_name()}: no C++ compiler ({', '.join(COMPILERS)}), which torch.compile needs",
            "load one in the batch script (--setup 'module load gcc'), or in a new run give --compile none",
        )
    dynamo.recompile_limit = max(dynamo.recompile_limit, SHAPES * len(blocks))
    dynamo.accumulated_recompile_limit = max(dynamo.accumulated_recompile_limit, SHAPES * len(blocks))
    for block in blocks:
        block.compile(dynamic=False, options={"deterministic": True})


@contextmanager
def not_compiled() -> Iterator[None]:
    """Within, compiled blocks compute as written: what is measured once an epoch repays no compiling, and is the same
    whoever measures it."""
    with torch.compiler.set_stance("force_eager"):
        yield
