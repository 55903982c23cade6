"""Flags as people know them from other programs: read as ours where they mean the same, else told what they mean."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from medtrain.core.console import note
from medtrain.core.errors import InputError, most_alike

# In another program's words -> the setting that is the same thing.
SAME = {
    "learning_rate": "lr", "batch": "batch_size", "bs": "batch_size", "per_device_train_batch_size": "batch_size",
    "max_epochs": "epochs", "num_epochs": "epochs", "num_train_epochs": "epochs", "imgsz": "image_size",
    "img_size": "image_size", "num_workers": "workers", "wd": "weight_decay", "model": "backbone", "arch": "backbone",
    "ntasks_per_node": "tasks_per_node", "gradient_accumulation_steps": "grad_accumulation",
    "accumulate_grad_batches": "grad_accumulation", "experiment": "run", "job_name": "run", "name": "run",
    "label_smooth": "label_smoothing", "clip_grad": "clip_norm", "max_grad_norm": "clip_norm", "opt": "optimizer",
    "drop": "dropout", "mixed_precision": "precision",
}  # fmt: skip
# What is another thing here: what to do instead.
MEANT = {
    "mem": "memory of each node is --mem_gb N",
    "data": "what is trained on is packed first (medtrain shard folder --root DIR), and is --shards DIR",
    "data_dir": "what is trained on is packed first (medtrain shard folder --root DIR), and is --shards DIR",
    "root": "what is trained on is packed first (medtrain shard folder --root DIR), and is --shards DIR",
    "output_dir": "runs are folders in --runs DIR, and --run NAME is one of them",
    "out": "runs are folders in --runs DIR, and --run NAME is one of them",
    "pretrained": "--weights imagenet, or a file; an empty one is none",
    "checkpoint": "continue a run: medtrain resume RUN; weights to begin with: --weights FILE",
    "resume": "continue a run: medtrain resume RUN",
    "ckpt": "continue a run: medtrain resume RUN; weights to begin with: --weights FILE",
    "num_classes": "the classes are those of the shards",
    "split": "the split is decided when the images are packed",
    "fp16": "write --precision fp16",
    "bf16": "write --precision bf16",
    "wandb": "write --tracker wandb",
    "distributed": "with Slurm: medtrain submit ... --nodes N --gpus_per_node N; here ranks are --tasks_per_node N",
    "nproc_per_node": "ranks are --tasks_per_node N (0: one a GPU)",
}
# What other programs call the folder of raw files.
FOLDERS = (
    "data",
    "data_dir",
    "data_path",
    "dataset_dir",
    "dir",
    "folder",
    "images",
    "image_dir",
    "input",
    "path",
    "source",
)
DEVICE = re.compile(r"(?:cuda:?|gpu:?)?(\d+(?:,\d+)*)?|auto", re.IGNORECASE)


def with_our_names(command: str, words: list[str]) -> list[str]:
    """The words of a command that takes settings, by the names of here, with a note of those that had others."""
    found: list[str] = []
    told: dict[str, str] = {}
    waiting = False  # for the value of --device
    for word in words:
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_") if flag.startswith("--") else ""
        if waiting or (name == "device" and equals):
            _choose_device(command, word if waiting else value)
            waiting = False
        elif name == "device":
            waiting = True
        elif name in SAME:
            told[flag] = f"--{SAME[name]}"
            found.append(f"--{SAME[name]}{equals}{value}")
        else:
            found.append(word)
    if told:
        note(f"medtrain {command}: " + ", ".join(f"{other} is read as {own}" for other, own in told.items()))
    return found


def suggestion(flag: str, known: Sequence[str]) -> str:
    """What to write in place of a flag that is not among the `known` ones, in brackets after a blank; empty where
    nothing is like it. What other programs call a setting counts, and so does a misspelling of that."""
    name = flag.lstrip("-").replace("-", "_")
    ours = {other.lstrip("-").replace("-", "_"): other for other in known}
    elsewhere = {other: ours[own] for other, own in SAME.items() if own in ours}
    meant = MEANT if "run" in ours or "shards" in ours else {}
    if "root" in ours and not meant:
        meant = dict.fromkeys(FOLDERS, "the folder of the raw files is --root DIR")
    if "runs" in ours and "run" not in ours:
        meant = meant | {"run": "a run is named without a flag, and --runs is the folder that holds the runs"}
    if told := meant.get(name):
        return f" ({told})"
    found = most_alike(name, [*ours, *elsewhere, *meant])
    if found in ours:
        return f" (did you mean {ours[found]}?)"
    if found in elsewhere:
        return f" (did you mean {elsewhere[found]}, also read as --{found}?)"
    return f" (did you mean --{found}? {meant[found]})" if found else ""


def _choose_device(command: str, value: str) -> None:
    """`--device cpu`, `--device 0`: which GPUs this process and its ranks see."""
    if command not in ("train", "resume"):
        problem = f"medtrain {command}: a job's device is what Slurm gives it"
        raise InputError(problem, "omit --device, or give --gpus_per_node 0")
    if value.lower() == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif (chosen := DEVICE.fullmatch(value)) is None:
        raise InputError(f"there is no device {value!r}", "write --device cpu, or the number of a GPU: --device 0")
    elif chosen[1]:
        os.environ["CUDA_VISIBLE_DEVICES"] = chosen[1]
