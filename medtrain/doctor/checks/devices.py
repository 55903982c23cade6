"""Checks of GPUs and the CPU by real computation, in a process of their own: a broken driver may hang or crash it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib.util import find_spec
from typing import Any

from medtrain.core import processes
from medtrain.doctor.checks import Finding, ask, fail, ok, warn

SECONDS = 300.0
SIZE = 512


def gpus() -> Finding:
    """What torch sees, and whether each GPU computes what the CPU computes."""
    seen = _look("gpus")
    if isinstance(seen, Finding):
        return seen
    if not seen["gpus"]:
        return _no_gpu(seen["cuda"], seen["torch"])
    names = [f"{gpu['name']} ({gpu['gb']:.0f} GB, {gpu['free']:.0%} free)" for gpu in seen["gpus"]]
    text = f"torch {seen['torch']} sees {len(names)}: {', '.join(sorted(set(names)))}"
    wrong = [f"GPU {number}: {gpu['fault']}" for number, gpu in enumerate(seen["gpus"]) if gpu["fault"]]
    if wrong:
        return fail(
            f"{text}; {'; '.join(wrong)}",
            "ask your administrator; exclude the node: --constraint, or sbatch -x NODE",
        )
    if len(names) > 1 and not seen["nccl"]:
        return fail(f"{text}, but torch has no NCCL to join them", "install the CUDA build of torch (pytorch.org)")
    full = [number for number, gpu in enumerate(seen["gpus"]) if gpu["free"] < 0.2]
    if full:
        return warn(f"{text}; GPU {', '.join(map(str, full))} is in use by somebody", "nvidia-smi shows by whom")
    slow = [number for number, gpu in enumerate(seen["gpus"]) if not gpu["bf16"]]
    return ok(f"{text}; each computes right; " + ("no bf16: precision auto is fp16" if slow else "bf16 works"))


def cpu() -> Finding:
    """Whether the CPU computes right, in bf16 too."""
    seen = _look("cpu")
    if isinstance(seen, Finding):
        return seen
    if seen["fault"]:
        return fail(f"torch on the CPU: {seen['fault']}", "install torch again (pytorch.org)")
    return ok(f"{seen['cores']} cores, {seen['threads']} threads in torch; bf16 works{_bf16_hardware()}")


def _look(what: str) -> dict[str, Any] | Finding:
    if find_spec("torch") is None:
        raise ModuleNotFoundError(name="torch")
    answer = ask(*processes.command("medtrain.doctor.checks.devices", what), seconds=SECONDS)
    if answer.code != 0:
        return fail(
            f"torch could not inspect the {what} ({answer.reason})",
            "install torch again (pytorch.org); nvidia-smi shows the driver",
        )
    return json.loads(answer.out.splitlines()[-1])  # type: ignore[no-any-return]


def _no_gpu(cuda: str | None, version: str) -> Finding:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1"):
        return ok(f"none: CUDA_VISIBLE_DEVICES={visible!r} hides them; training runs on the CPU")
    driver = ask("nvidia-smi", "-L") if shutil.which("nvidia-smi") else None
    if driver is None or driver.code != 0 or "GPU 0" not in driver.out:
        return ok("none on this machine; training runs on the CPU")
    count = driver.out.count("GPU ")
    why = f"it is built for CUDA {cuda}: newer than the driver?" if cuda else "it is a build for CPUs only"
    return fail(
        f"nvidia-smi sees {count}, torch {version} none ({why})",
        "install the build of torch for your driver (pytorch.org)",
    )


def _bf16_hardware() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            flags = file.read()
    except OSError:
        return ""
    return "" if "bf16" in flags else " (slowly: this CPU has no instructions for it)"


def look_at_gpus() -> dict[str, Any]:
    """Names, memory and faults of all GPUs that torch sees."""
    import torch

    found = [_gpu(number) for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    nccl = torch.distributed.is_available() and torch.distributed.is_nccl_available()
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "nccl": nccl, "gpus": found}


def look_at_cpu() -> dict[str, Any]:
    """Faults of the CPU."""
    import torch

    fault = computes("cpu", "float32", 1e-4) or computes("cpu", "bfloat16", 0.05)
    return {"cores": len(os.sched_getaffinity(0)), "threads": torch.get_num_threads(), "fault": fault}


def _gpu(number: int) -> dict[str, Any]:
    import torch

    device = torch.cuda.get_device_properties(number)
    about = {"name": device.name, "gb": device.total_memory / 1e9, "free": 0.0, "bf16": False, "fault": ""}
    try:
        free, total = torch.cuda.mem_get_info(number)
        about["free"] = free / total
        about["bf16"] = device.major >= 8  # below Ampere it is emulated
        about["fault"] = computes(f"cuda:{number}", "float32", 1e-2)  # TF32 keeps 10 bits
        if about["bf16"]:
            about["fault"] = about["fault"] or computes(f"cuda:{number}", "bfloat16", 0.05)
    except RuntimeError as error:
        about["fault"] = " ".join(str(error).split())[:200]
    return about


def computes(device: str, precision: str, tolerance: float) -> str:
    """Multiply matrices and convolve on `device`, compare with the CPU in float64; what is wrong, or nothing."""
    import torch
    import torch.nn.functional as F

    random = torch.Generator().manual_seed(0)
    a, b = (torch.randn(SIZE, SIZE, generator=random, dtype=torch.float64) for _ in range(2))
    image, kernel = a.reshape(1, 4, SIZE // 4, SIZE), b[:8, :36].reshape(8, 4, 3, 3)
    dtype = getattr(torch, precision)
    for what, right, got in (
        ("a matrix product", a @ b, a.to(device, dtype) @ b.to(device, dtype)),
        ("a convolution", F.conv2d(image, kernel), F.conv2d(image.to(device, dtype), kernel.to(device, dtype))),
    ):
        error = float((got.cpu().double() - right).abs().max() / right.abs().max())
        if not error <= tolerance:  # NaN too
            return f"{what} in {precision} is off by {error:.2g} of its largest value"
    return ""


if __name__ == "__main__":
    print(json.dumps({"gpus": look_at_gpus, "cpu": look_at_cpu}[sys.argv[1]]()))
