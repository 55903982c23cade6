"""Stand-ins for what training never uses of PyTorch: the same bits without it, and it is there where it is wanted."""

from __future__ import annotations

import subprocess
import sys

import pytest
from snippets import Answer, in_forks

# Two steps of what a rank does: a network of torchvision, Accelerate, an optimizer, DDP in a group of one.
TRAINING = """
import os, sys
from medtrain.core import deferred_imports
if sys.argv[1] == "deferred":
    deferred_imports.install()
import timm, torch, torchvision, xxhash
import torch.distributed as dist
from accelerate import Accelerator
from torch.nn.parallel import DistributedDataParallel
torch.manual_seed(1)
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
accelerator = Accelerator(cpu=True)
networks = torchvision.models.densenet121(num_classes=8), timm.create_model("test_resnet", num_classes=3)
model = accelerator.prepare_model(torch.nn.ModuleList(networks), evaluation_mode=True)
model.forward = lambda inputs: torch.cat([network(inputs) for network in model], 1)
parallel = DistributedDataParallel(model)
average = timm.utils.ModelEmaV3(model, decay=0.9)
optimizer = accelerator.prepare_optimizer(torch.optim.AdamW(model.parameters(), 1e-3))
for _ in range(2):
    accelerator.backward(parallel(torch.rand(2, 3, 32, 32)).square().sum())
    accelerator.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    average.update(model)
with torch.compiler.set_stance("force_eager"):
    model.eval()(torch.rand(1, 3, 32, 32))
digest = xxhash.xxh3_128()
for tensor in [*model.state_dict().values(), *average.module.state_dict().values()]:
    digest.update(tensor.numpy().tobytes())
heavy = ("sympy", "torch._dynamo.eval_frame", "torch.distributed.fsdp", "wandb")
print(digest.hexdigest(), *[name for name in heavy if name in sys.modules])
dist.destroy_process_group()
"""
HEAVY = ["sympy", "torch._dynamo.eval_frame", "torch.distributed.fsdp", "wandb"]


def fresh(code: str, *arguments: str) -> list[str]:
    """What a fresh Python prints: what is imported is what is tested."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_training_computes_the_same_bits_without_what_it_does_not_use() -> None:
    deferred, *brought = fresh(TRAINING, "deferred")
    plain, *all_of_it = fresh(TRAINING, "plain")
    assert deferred == plain
    assert (brought, all_of_it) == ([], HEAVY)


WANTED = {
    "by_attribute": "print(torch._dynamo.config.__name__, torch._dynamo.eval_frame.__name__)",
    "by_submodule": "import torch._dynamo.eval_frame as it; print(it.optimize is torch._dynamo.optimize)",
    "by_name": "from torch._dynamo.utils import counters; print(counters is torch._dynamo.convert_frame.counters)",
    "as_a_class": "from torch.distributed.tensor import Replicate; print(Replicate().is_replicate())",
    "for_shapes": "print(torch.empty(2, device='meta').dot(torch.empty(2, device='meta')))",
    "of_datasets": "from torchvision.datasets import FakeData; print(len(FakeData(3)))",
    "in_the_middle": "from torch.export.dynamic_shapes import Dim; print(Dim('d'), torchvision.datasets.MNIST)",
    "of_timm": "import timm.data; from timm.data.dataset_factory import _TORCH_BASIC_DS as them; print(sorted(them))",
    "by_a_function": "from torchvision.ops import roi_align; print(roi_align(torch.ones(1, 1, 4, 4),"
    " torch.tensor([[0, 0, 0, 4, 4.]]), 1).item())",
}


STAND_INS = "from medtrain.core import deferred_imports; deferred_imports.install()\n"
IMPORTS = "import torch, torchvision\n"


@pytest.fixture(scope="module")
def plain() -> dict[str, Answer]:
    """What is said where nothing stands in."""
    return in_forks(IMPORTS + "import torch._dynamo, timm.data, torchvision.datasets", WANTED)


@pytest.fixture(scope="module")
def deferred() -> dict[str, Answer]:
    """What is said where each question is the first to ask for the real one."""
    return in_forks(STAND_INS + IMPORTS, WANTED)


@pytest.mark.parametrize("question", WANTED)
def test_whoever_asks_for_it_gets_the_real_one(
    question: str, plain: dict[str, Answer], deferred: dict[str, Answer]
) -> None:
    assert plain[question].code == 0 and plain[question].out
    assert deferred[question] == plain[question]


def test_what_a_stand_in_answers_is_what_the_real_one_would() -> None:
    said = fresh(
        "from medtrain.core import deferred_imports as d; d.install()\n"
        "import torch; mode = torch._dynamo.utils.get_optimize_ddp_mode()\n"
        "off = torch._dynamo.disable(lambda x: x + 1, True, wrapping=False); before = off(1)\n"
        "d.load('torch._dynamo'); print(mode, torch._dynamo.utils.get_optimize_ddp_mode(), before, off(1))"
    )
    assert said == ["ddp_optimizer", "ddp_optimizer", "2", "2"]


def test_it_is_too_late_where_they_are_imported() -> None:
    said = fresh(
        "import torch._dynamo; from medtrain.core import deferred_imports as d; import sys\n"
        "d.install(); print(d.FINDER in sys.meta_path, 'config' in vars(torch._dynamo))"
    )
    assert said == ["False", "True"]
