"""What medtrain relies on of other libraries beyond what they promise: on a new release this file fails first.

Each test asks the real library, and names the module of medtrain that would break.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrain.core.deferred_imports import STAND_INS
from medtrain.tracking.backends.wandb import INTERNAL_SETTINGS

NETWORK = "test_resnet"  # the smallest of timm


def answer(code: str) -> list[str]:
    """The words that a fresh Python prints: what changes the state of its process is asked there."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# tyro


def test_tyro_prints_help_without_boxes_and_colours() -> None:
    """medtrain.cli.flags sets tyro's two experimental options, so that help in a pipe is plain text."""
    code = """
import tyro
assert {"utf8_boxes", "ansi_codes"} <= tyro._experimental_options.keys()
tyro._experimental_options["utf8_boxes"] = tyro._experimental_options["ansi_codes"] = False
def f(number: int = 1) -> None: ...
tyro.cli(f, args=["--help"])
"""
    words = " ".join(answer(code))
    assert "--number" in words and words.isascii() and "\x1b" not in words


# submitit


def test_submitit_writes_a_batch_script_with_a_command_of_ours(tmp_path: Path) -> None:
    """medtrain.slurm.sbatch has SlurmExecutor write the script of one command, which is no pickle, on a machine without
    Slurm too."""
    from submitit.slurm.slurm import SlurmExecutor

    class Executor(SlurmExecutor):
        @classmethod
        def affinity(cls) -> int:
            return 2

    made = Executor(folder=tmp_path)
    made.update_parameters(
        job_name="name", nodes=2, time=None, wckey=None, use_srun=False, stderr_to_stdout=True, signal_delay_s=120,
        additional_parameters={"requeue": True, "open-mode": "append"}, setup=["umask 077"],
    )  # fmt: skip
    assert made.parameters["job_name"] == "name"
    script = made._make_submission_file_text("exec medtrain", "")
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash" and lines.index("umask 077") < lines.index("exec medtrain")
    for option in ("nodes=2", "requeue", "open-mode=append", "signal=USR2@120"):
        assert f"#SBATCH --{option}" in lines, script
    assert not any(line.startswith(("#SBATCH --time", "#SBATCH --wckey", "#SBATCH --error")) for line in lines)
    assert [*inspect.signature(made._submit_command).parameters] == ["command"]


def test_submitit_has_two_errors_of_a_submission() -> None:
    """medtrain.slurm.sbatch catches them, and tells what Slurm said."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    assert issubclass(FailedJobError, Exception) and issubclass(FailedSubmissionError, Exception)


# wandb


def test_wandb_knows_the_settings_that_keep_the_machine_to_itself() -> None:
    """medtrain.tracking.backends.wandb passes on those of its internal settings that there are, so that a missing one
    would send what it withholds without a word."""
    import wandb

    assert INTERNAL_SETTINGS.keys() <= wandb.Settings.model_fields.keys()
    made = wandb.Settings(mode="offline", console="off", silent=True, host="-", disable_git=True, disable_code=True,
                          save_code=False, program="medtrain", **INTERNAL_SETTINGS)  # fmt: skip
    assert all(getattr(made, name) == value for name, value in INTERNAL_SETTINGS.items())
    assert "sync_file" in dir(made)
    assert hasattr(wandb.Run, "starting_step") and callable(wandb.teardown)


def test_wandb_tells_its_settings_and_starts_no_process() -> None:
    """medtrain.tracking.backends.wandb asks wandb.sdk.wandb_setup for the mode and the server."""
    code = """
import os
from wandb.sdk import wandb_setup
settings = wandb_setup.singleton().settings
print(settings.mode, settings.base_url, len(open(f"/proc/self/task/{os.getpid()}/children").read().split()))
"""
    mode, address, children = answer(code)
    assert mode in ("online", "offline", "disabled") and address.startswith("http") and children == "0"


def test_wandb_says_where_the_faults_of_its_process_come_from() -> None:
    """medtrain.tracking.backends.wandb knows a dead process of W&B by the module of the exception."""
    faults = {
        "wandb.sdk.lib.service.service_token": ("WandbServiceConnectionError",),
        "wandb.sdk.lib.service.service_connection": ("WandbAttachFailedError",),
        "wandb.sdk.mailbox.mailbox": ("MailboxClosedError",),
        "wandb.sdk.mailbox.mailbox_handle": ("HandleAbandonedError",),
    }
    for module, names in faults.items():
        for name in names:
            fault = getattr(import_module(module), name)
            assert issubclass(fault, Exception) and fault.__module__ == module


def test_wandb_has_the_steps_of_its_file_as_records() -> None:
    """medtrain.tracking.backends.wandb_file reads W&B's file back, by its own message."""
    record = import_module("wandb.proto.wandb_internal_pb2").Record()
    record.history.item.add(key="loss", value_json="1.5")
    again = type(record).FromString(record.SerializeToString())
    assert again.WhichOneof("record_type") == "history" and again.history.item[0].key == "loss"


# timm


@pytest.fixture(scope="module")
def network() -> Any:
    from timm import create_model

    return create_model(NETWORK, pretrained=False, in_chans=1, num_classes=3, drop_rate=0.1)


def test_timm_tells_first_layer_head_and_stages(network: Any) -> None:
    """medtrain.models.families.timm takes weights, the last map and the stages by these names."""
    modules = dict(network.named_modules())
    assert network.pretrained_cfg["first_conv"] in modules and network.pretrained_cfg["classifier"] in modules
    assert [told["module"] in modules for told in network.feature_info] == [True] * len(network.feature_info)
    assert network.get_classifier().out_features == 3


def test_timm_says_which_layer_a_parameter_is_in(network: Any) -> None:
    """medtrain.training.optim gives each layer its learning rate by it."""
    from timm.models import group_parameters

    found = group_parameters(network, network.group_matcher(coarse=False), reverse=True)
    assert found.keys() == dict(network.named_parameters()).keys()
    assert found["conv1.0.weight"] == min(found.values()) < found["fc.weight"] == max(found.values())


def test_timm_averages_by_the_step_with_a_warm_up(network: Any) -> None:
    """medtrain.training.ema gives timm's ModelEmaV3 the number of the step, which a resumed run continues with."""
    from copy import deepcopy

    import torch
    from timm.utils.model_ema import ModelEmaV3

    rule, other = ModelEmaV3(network, decay=0.9, use_warmup=True), deepcopy(network)
    with torch.no_grad():
        other.fc.bias += 1
    rule.update(other, 8)
    moved = rule.module.fc.bias - network.fc.bias
    assert torch.allclose(moved, torch.full_like(moved, 1 - min(0.9, 1 - 8 ** (-2 / 3))))


def test_timm_names_what_is_published() -> None:
    """medtrain.models.families.timm finds a network's weights on Hugging Face by it, without a network."""
    from timm import get_pretrained_cfg, is_model, list_models, list_pretrained

    wide = "convnext_tiny.fb_in22k"
    assert is_model("convnext_tiny") and "convnext_tiny" in list_models() and wide in list_pretrained("convnext_tiny.*")
    assert get_pretrained_cfg(wide).hf_hub_id.startswith("timm/")


# accelerate


def test_accelerate_has_the_scaler_and_the_parts_of_prepare() -> None:
    """medtrain.distributed.process_group, training.network and training.loop use the parts, for DDP is wrapped here."""
    code = """
from accelerate import Accelerator
import inspect, torch
made = Accelerator(mixed_precision="no", cpu=True)
assert made.scaler is None and made.num_processes == 1 and made.process_index == 0
assert "evaluation_mode" in inspect.signature(made.prepare_model).parameters
model = made.prepare_model(torch.nn.Linear(2, 1), evaluation_mode=True)
optimizer = made.prepare_optimizer(torch.optim.SGD(model.parameters(), lr=0.1))
with made.no_sync(model), made.autocast():
    made.backward(model(torch.ones(1, 2)).sum())
made.clip_grad_norm_(model.parameters(), 1.0)
optimizer.step()
print(made.optimizer_step_was_skipped, made.device)
"""
    assert answer(code) == ["False", "cpu"]


# torch


def test_torch_works_on_lists_of_tensors() -> None:
    """medtrain.checkpoints.writer, checkpoints.finite and distributed.tree_sum call its private functions of lists."""
    import torch

    ones, twos = [torch.ones(2), torch.ones(3)], [torch.full((2,), 2.0), torch.full((3,), 2.0)]
    torch._foreach_add_(ones, twos)
    assert [tensor.tolist() for tensor in ones] == [[3.0] * 2, [3.0] * 3]
    torch._foreach_copy_(twos, ones)
    assert torch.equal(twos[1], ones[1])
    twos[0][1] = -torch.inf
    assert [float(norm) for norm in torch._foreach_norm(twos, torch.inf)] == [torch.inf, 3.0]


def test_torch_tells_what_the_processor_can_do() -> None:
    """medtrain.distributed.process_group chooses bf16 on a CPU by two private functions."""
    import torch

    assert {type(torch.cpu._is_avx512_bf16_supported()), type(torch.cpu._is_amx_tile_supported())} == {bool}
    assert isinstance(torch.default_generator, torch.Generator)


def test_torch_compiles_as_configured() -> None:
    """medtrain.models.compile raises two limits of torch._dynamo and asks torch._inductor to be deterministic."""
    code = """
from torch._dynamo import config as dynamo
from torch._inductor import config as inductor
import inspect, torch
print(dynamo.recompile_limit, dynamo.accumulated_recompile_limit, inductor.deterministic)
assert {"dynamic", "options"} <= inspect.signature(torch.compile).parameters.keys()
with torch.compiler.set_stance("force_eager"):
    pass
"""
    low, high, deterministic = answer(code)
    assert 0 < int(low) <= int(high) and deterministic == "False"


def test_stand_ins_answer_for_names_that_are_there() -> None:
    """medtrain.core.deferred_imports answers in place of private modules of torch, torchvision and timm."""
    names = {module: [*answers] for module, answers in STAND_INS.items()}
    code = f"""
import contextlib, importlib, io
for module, names in {names!r}.items():
    real = importlib.import_module(module)
    missing = [name for name in names if not hasattr(real, name)]
    assert not missing, f"{{module}} has no {{missing}}"
from torch._dynamo.utils import get_optimize_ddp_mode
print(get_optimize_ddp_mode())
"""
    assert answer(code) == ["ddp_optimizer"], "its default, which the stand-in answers with"


# Decoders, and webdataset


def test_simplejpeg_takes_its_settings_by_position() -> None:
    """medtrain.imaging.decode gives them so, because names cost time at small images."""
    import simplejpeg

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8)
    data = simplejpeg.encode_jpeg(noise, 95, "GRAY")
    height, width, samples = simplejpeg.decode_jpeg(data, "GRAY", False, False, 20, 20, 2).shape
    assert 20 <= height == width <= 32 and samples == 1
    with pytest.raises(ValueError, match="Premature end"):
        simplejpeg.decode_jpeg(data[: len(data) // 2], "GRAY")


def test_opencv_has_its_logging_where_it_is_looked_for() -> None:
    """medtrain.imaging.decode silences OpenCV by one of two names, and knows its lack of memory by a number."""
    import cv2

    assert hasattr(cv2, "setLogLevel") or hasattr(cv2.utils.logging, "LOG_LEVEL_SILENT")
    assert cv2.Error.STS_NO_MEM == -4


def test_webdataset_groups_the_files_of_a_key(demo_shards: Path) -> None:
    """examples/read_shards_with_webdataset.py and tests/unit/shards/test_shards.py read medtrain's shards with it."""
    import webdataset

    tars = sorted(map(str, demo_shards.glob("val-*.tar")))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert len(samples) == 12 and all({"__key__", "jpg", "json"} <= sample.keys() for sample in samples)
