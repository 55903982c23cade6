"""The Accelerator, the check that the world is the one that was requested, and what ranks tell each other."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from medtrain.core.errors import MachineError
from medtrain.distributed.cpu_bf16 import has_right_gradients_of_clips
from medtrain.distributed.rank_environment import gpu_index, gpus_given
from medtrain.slurm.environment import node_name

# gloo and NCCL count the time in which a job is suspended, and would end it when it wakes. What hangs is found by the
# watchdog, which does not.
PATIENCE = timedelta(days=365)


@dataclass(frozen=True)
class World:
    """This rank's place, and the means to reach the others."""

    accelerator: Accelerator
    rank: int
    size: int
    precision: str
    precision_reason: str

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        return torch.device(self.accelerator.device)

    @property
    def main(self) -> bool:
        """Whether this rank writes files."""
        return self.rank == 0


def init_distributed(precision: str, trains_on_clips: bool = False) -> World:
    """Meet the other ranks (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT say where) and settle the arithmetic.

    Raises MachineError, naming the host, where fewer ranks meet than were started: Accelerate would otherwise let
    every rank train a model of its own.
    """
    expected = int(os.environ.get("WORLD_SIZE", "1"))
    on_cpu = not torch.cuda.is_available()
    if on_cpu and gpus_given():
        raise MachineError(
            f"{node_name()}: Slurm gave this job GPUs, but PyTorch can use none of them",
            "medtrain doctor   on that node says why; exclude it with sbatch --exclude",
        )
    if on_cpu:
        os.environ["ACCELERATE_USE_CPU"] = "1"
    if expected == 1:
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):  # one rank needs no process group
            os.environ.pop(name, None)
    if "LOCAL_RANK" in os.environ and torch.cuda.device_count():
        os.environ["LOCAL_RANK"] = str(gpu_index(torch.cuda.device_count()))  # Accelerate's word for the device
    # Newer PyTorch renames the setting below; the old name is the only one that 2.6 knows.
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
    chosen, reason = resolve_precision(precision, trains_on_clips)
    os.environ.setdefault("TORCH_NCCL_ENABLE_MONITORING", "0")  # of NCCL's own watchdog, by the clock as well
    accelerator = Accelerator(
        mixed_precision={"fp32": "no"}.get(chosen, chosen),
        cpu=on_cpu,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if accelerator.num_processes != expected:
        raise MachineError(
            f"{node_name()}: {expected} ranks were started, but this one sees {accelerator.num_processes}",
            "medtrain doctor   on that node shows whether its GPUs and network answer",
        )
    world = World(accelerator, accelerator.process_index, expected, chosen, reason)
    if any_rank(world, broadcast_object(world, chosen) != chosen):
        raise MachineError(
            f"{node_name()}: the ranks chose different precisions (this one {chosen}: {reason})",
            "give one that all nodes support: --precision",
        )
    return world


def wrap(world: World, model: nn.Module) -> nn.Module:
    """`model` in DDP, which sums the gradients of the parameters that require one now; the model itself on one rank."""
    if world.size == 1:
        return model
    devices = [world.device] if world.device.type == "cuda" else None
    # Only rank 0's BatchNorm statistics count; they are handed round before each evaluation, not before each forward.
    return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True)


def compute_deterministically() -> None:
    """Have a GPU add up in a fixed order; before anything touches it. A CPU with a fixed number of threads does so."""
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def resolve_precision(precision: str, trains_on_clips: bool = False) -> tuple[str, str]:
    """The arithmetic for this device and the reason for it: (bf16 | fp16 | fp32, words).

    MachineError where a precision is wanted that this device has not, or computes wrongly.
    """
    gpu = torch.cuda.is_available()
    if precision == "fp16" and not gpu:
        raise MachineError(
            f"{node_name()}: precision fp16 needs a GPU (its loss scaling is made for CUDA)",
            "a new run: --precision auto; a run that began in fp16: resume it on a GPU",
        )
    chosen, reason = (precision, "as configured") if precision != "auto" else _precision_of_device(gpu)
    if gpu or chosen != "bf16" or not trains_on_clips or has_right_gradients_of_clips():
        return chosen, reason
    if precision == "auto":
        return "fp32", "this version of PyTorch has wrong gradients of clips in bf16 on this CPU"
    raise MachineError(
        f"{node_name()}: this version of PyTorch computes wrong gradients of clips in bf16 on this CPU",
        "a new run: --precision fp32; a run that began in bf16 learned from them",
    )


def _precision_of_device(gpu: bool) -> tuple[str, str]:
    """The fastest arithmetic that this device has, and the reason for it."""
    if gpu and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16", "the GPU supports it"
    if gpu:
        return "fp16", "the GPU has no bf16"
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        return "bf16", "the CPU supports it"
    return "fp32", "the CPU has no bf16"


def seed_step(seed: int, step: int, rank: int) -> None:
    """Counter-based randomness (dropout): a function of (seed, step, rank), so no generator state needs saving."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) & (2**63 - 1)
    torch.default_generator.manual_seed(mixed)
    if torch.cuda.is_available():
        torch.cuda.default_generators[torch.cuda.current_device()].manual_seed(mixed)


class AsyncMetricReducer:
    """Sums a few numbers over all ranks once a step, and reads the sum one step late, so that no step waits for it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: tuple[int, torch.Tensor, Any] | None = None

    def send(self, step: int, values: torch.Tensor) -> None:
        """Start the sum of this step's `values` [K]."""
        if self._world.size == 1:
            ready = None
            if values.is_cuda:
                values = values.to("cpu", non_blocking=True)
                ready = torch.cuda.Event()
                ready.record()
            self._waiting = (step, values, ready)
        else:
            self._waiting = (step, values, dist.all_reduce(values, async_op=True))

    def receive(self) -> tuple[int, list[float]] | None:
        """The step sent last and its sums; None when nothing is under way."""
        if self._waiting is None:
            return None
        step, values, pending = self._waiting
        self._waiting = None
        if isinstance(pending, torch.cuda.Event):
            pending.synchronize()
        elif pending is not None:
            pending.wait()
        return step, values.tolist()


def shutdown(world: World) -> None:
    """Leave together: Slurm ends the other ranks as soon as one has gone. Only where every rank is well."""
    if world.size > 1:
        dist.barrier()
        dist.destroy_process_group()


def any_rank(world: World, flag: bool) -> bool:
    """Whether `flag` holds on any rank; every rank must ask."""
    if world.size == 1:
        return flag
    value = torch.tensor([float(flag)], device=world.device)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())


def broadcast_buffers(world: World, model: nn.Module) -> None:
    """Give every rank the buffers (BatchNorm statistics) of rank 0."""
    if world.size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def broadcast_object(world: World, value: Any) -> Any:
    """Rank 0's `value` on every rank, so that machines that round differently still decide alike."""
    if world.size == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, device=world.device)
    return box[0]


def all_gather_ragged(world: World, rows: torch.Tensor) -> torch.Tensor:
    """[sum of n, ...] from every rank's [n, ...], in rank order; n may differ."""
    if world.size == 1:
        return rows
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world.size)]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    longest = int(max(int(count) for count in counts))
    padded = rows.new_zeros((longest, *rows.shape[1:]))
    padded[: len(rows)] = rows
    pieces = [torch.empty_like(padded) for _ in range(world.size)]
    dist.all_gather(pieces, padded)
    return torch.cat([piece[: int(count)] for piece, count in zip(pieces, counts, strict=True)])
