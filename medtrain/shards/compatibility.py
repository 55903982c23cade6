"""Whether packed datasets fit the settings of a run: judged before its folder or a job exists, without torch."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medtrain.config import configfile
from medtrain.config.schema import Config, DataConfig
from medtrain.core.errors import InputError
from medtrain.datasets.labels import known, resolve_policy, task_of
from medtrain.shards import mixture
from medtrain.shards.index import ShardIndex, load_index
from medtrain.shards.packed_dataset import CHANNELS, PackedDataset
from medtrain.shards.unpacked_folder import relative

# task -> a recipe of it, with what makes it one
ALIKE = {
    "multiclass": "mednist",
    "multilabel": "chest",
    "abnormality": "mura",
    "score": "mednist --task score --monitor mae",
}
IN_COLOR = " --color_mode rgb --channels 3"
OF_CLIPS = {
    "multiclass": "echo --task multiclass --monitor accuracy",
    "multilabel": "echo",
    "score": "echo --task score --monitor mae",
}
# Below it, the network of these recipes is a small one: of ConvNeXt-Large an image takes 20 times as long.
FEW = 5_000
OF_FEW = {"chest": " --backbone resnet18"}
MEANT = {
    "multiclass": "one of several classes",
    "multilabel": "several labels at once",
    "abnormality": "normal or abnormal, of several study types",
    "score": "a score",
}


def ensure_fits(config: Config) -> None:
    """InputError where the packed datasets are not what the settings train: of another task, clips for images, without
    a known label or enough samples to train on, or without what --sampling names."""
    mixture.classes(config.data)
    # The one held out too: else it would be refused at the end of the training.
    mixture.ensure_one_color_mode(
        {folder: PackedDataset.open(folder).channels for folder in mixture.folders(config.data)}
    )
    for folder in mixture.folders(config.data):
        ensure_task_fits(config, folder)
    data = config.data
    if data.study_type == "all":  # a run for each, which is judged by itself
        data = replace(data, study_type="")
    index = mixture.open_split(data, "train")
    ensure_same_colors(index, data.color_mode)
    _ensure_validation(data)
    drawn = _drawn(index, data)
    if config.task != "score" and not data.score_threshold:
        labels = resolve_policy(index.labels[: len(drawn)], data.uncertain, data.unmentioned)[drawn]
        if not known(labels).any():
            raise InputError(
                f"{data.shards}: no sample of the training split has a label",
                "check the table and pack it again   (open states count with --uncertain, --unmentioned)",
            )


def _ensure_validation(data: DataConfig) -> None:
    """InputError where there is nothing to validate on, which says how there would be."""
    try:
        mixture.open_split(data, "val")
    except InputError as error:
        if any("val" in PackedDataset.open(folder).splits for folder in mixture.folders(data)):
            raise
        fix = (
            "training needs it: pack images of more patients, or say what it is (folders train and val; --split COLUMN)"
        )
        raise InputError(error.problem, fix) from None


def ensure_task_fits(config: Config, folder: Path) -> None:
    """InputError where a packed dataset is of another task than the settings, or holds clips where they want images."""
    packed = PackedDataset.open(folder)
    fix = f"a recipe that fits: medtrain train {recipe_for(packed)} --shards {shlex.quote(str(relative(folder)))}"
    if (config.data.frames > 0) != bool(packed.clips):
        there, wanted = ("clips", "images") if packed.clips else ("images", "clips")
        raise InputError(f"{folder}: holds {there}, and recipe {config.recipe} trains on {wanted}", fix)
    if not packed.clips and CHANNELS[config.data.color_mode] > packed.channels:
        raise InputError(
            f"{folder}: holds images in gray, and color_mode is rgb",
            "omit --color_mode, or pack them in color: the same medtrain shard with --color_mode rgb --out NEW",
        )
    fits, task = _fits(config.task, packed), stated(packed)
    if not fits:
        raise InputError(
            f"{folder}: its labels are {MEANT[task]} ({task}), and the task of recipe {config.recipe} is {config.task}",
            fix,
        )


def ensure_same_colors(index: ShardIndex, color_mode: str) -> None:
    """InputError where samples are packed in color and the settings are for gray, or clips the other way. Images in
    gray are read as they are, as all were before there were images in color."""
    if index.channels == CHANNELS[color_mode] or (index.channels == 1 and index.clips is None):
        return
    told, kind = "rgb" if index.channels == 3 else "gray", "clips" if index.clips else "images"
    problem = f"{index.folder} holds {kind} in {told}, and color_mode is {color_mode}"
    raise InputError(problem, f"give{IN_COLOR}" if told == "rgb" else "give --color_mode gray")


def stated(packed: PackedDataset) -> str:
    """The task that a manifest states; of an older one, what its labels look like."""
    return str(packed.manifest.get("task") or task_of(_labels(packed)))


def recipe_for(packed: PackedDataset) -> str:
    """The recipe that fits a packed dataset: its own, or one of its task."""
    clips, rgb = packed.clips is not None, packed.channels == 3
    return recipe_of(packed.name, lambda: stated(packed), clips, packed.samples, rgb)


def recipe_of(dataset: str, task: Callable[[], str], clips: bool, samples: int, rgb: bool) -> str:
    """The recipe of a dataset's own name, else one of its task, which may have to be read from its labels, with the
    settings that make it one; of few samples a network that a machine without a GPU trains."""
    color = IN_COLOR if rgb else ""
    if dataset in configfile.recipe_names():
        return dataset + color
    found = (OF_CLIPS if clips else ALIKE)[task()]
    return found + (OF_FEW.get(found, "") if samples < FEW else "") + color


def _fits(task: str, packed: PackedDataset) -> bool:
    """Whether a task can be learned from the labels. What an older manifest's labels look like is a guess where they
    are few: then only a task is refused that would take labels for what they are not."""
    if told := packed.manifest.get("task"):
        return task == told or (packed.clips is not None and {task, told} == {"multilabel", "score"})
    if task == "multiclass":
        return task_of(_labels(packed)) == "multiclass"
    if task == "abnormality":
        return bool((known(_labels(packed)).sum(1) <= 1).all())
    return True


def _labels(packed: PackedDataset) -> npt.NDArray[np.int8]:
    """Of all samples of all splits, [N, L]."""
    return np.concatenate([load_index(packed.folder, split).labels for split in packed.splits])


def _drawn(index: ShardIndex, data: DataConfig) -> npt.NDArray[np.bool_]:
    """Which samples training draws at all; InputError where --sampling names what is not there."""
    count = min(len(index), data.max_samples or len(index))
    of, often = mixture.parts_and_times(index.samples[:count], mixture.times_of(data))
    drawn: npt.NDArray[np.bool_] = np.array(often)[of] > 0
    return drawn
