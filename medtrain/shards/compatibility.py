"""Whether packed datasets fit the settings of a run: judged before its folder or a job exists, without torch."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.config import configfile
from medtrain.config.schema import Config, DataConfig
from medtrain.core.errors import InputError
from medtrain.datasets.labels import known, settle, task_of
from medtrain.shards import mixture
from medtrain.shards.index import ShardIndex, load_index, read_manifest

ALIKE = {"multiclass": "mednist", "multilabel": "chest", "abnormality": "mura"}  # task -> a recipe of it
MEANT = {
    "multiclass": "one of several classes",
    "multilabel": "several labels at once",
    "abnormality": "normal or abnormal, of several study types",
}


def refuse_unfit(config: Config) -> None:
    """InputError where the packed datasets are not what the settings train: of another task, clips for images, without
    a known label or enough samples to train on, or without what --sampling names."""
    mixture.classes(config.data)
    for folder in mixture.folders(config.data):
        refuse_task(config, folder)
    data = config.data
    if data.study_type == "all":  # a run for each, which is judged by itself
        data = replace(data, study_type="")
    index = mixture.open_split(data, "train")
    mixture.open_split(data, "val")
    drawn = _drawn(index, data)
    if config.task != "score" and not data.good_from:
        labels = settle(index.labels[: len(drawn)], data.uncertain, data.unmentioned)[drawn]
        if not known(labels).any():
            raise InputError(
                f"{data.shards}: no sample of the training split has a label",
                "look at the table and pack it again   (open states count with --uncertain, --unmentioned)",
            )


def refuse_task(config: Config, folder: Path) -> None:
    """InputError where a packed dataset is of another task than the settings, or holds clips where they want images."""
    manifest = read_manifest(folder)
    fix = f"a recipe that fits: medtrain train {recipe_for(manifest, folder)} --shards {shlex.quote(str(folder))}"
    if (config.data.frames > 0) != ("clips" in manifest):
        there, wanted = ("clips", "images") if "clips" in manifest else ("images", "clips")
        raise InputError(f"{folder}: holds {there}, and recipe {config.recipe} trains on {wanted}", fix)
    fits, task = _fits(config.task, manifest, folder), stated(manifest, folder)
    if not fits:
        raise InputError(
            f"{folder}: its labels are {MEANT[task]} ({task}), and the task of recipe {config.recipe} is {config.task}",
            fix,
        )


def stated(manifest: dict[str, Any], folder: Path) -> str:
    """The task that a manifest states; of an older one, what its labels look like."""
    return str(manifest.get("task") or task_of(_labels(manifest, folder)))


def recipe_for(manifest: dict[str, Any], folder: Path) -> str:
    """The recipe that fits a packed dataset: its own, or one of its task."""
    if manifest["dataset"] in configfile.recipe_names():
        return str(manifest["dataset"])
    return "echo" if "clips" in manifest else ALIKE[stated(manifest, folder)]


def _fits(task: str, manifest: dict[str, Any], folder: Path) -> bool:
    """Whether a task can be learned from the labels. What an older manifest's labels look like is a guess where they
    are few: then only a task is refused that would take labels for what they are not."""
    if told := manifest.get("task"):
        return task == told or ("clips" in manifest and {task, told} == {"multilabel", "score"})
    if task == "multiclass":
        return task_of(_labels(manifest, folder)) == "multiclass"
    if task == "abnormality":
        return bool((known(_labels(manifest, folder)).sum(1) <= 1).all())
    return True


def _labels(manifest: dict[str, Any], folder: Path) -> npt.NDArray[np.int8]:
    """Of all samples of all splits, [N, L]."""
    return np.concatenate([load_index(folder, split).labels for split in manifest["splits"]])


def _drawn(index: ShardIndex, data: DataConfig) -> npt.NDArray[np.bool_]:
    """Which samples training draws at all; InputError where --sampling names what is not there."""
    count = min(len(index), data.max_samples or len(index))
    of, often = mixture.parts_and_times(index.samples[:count], mixture.times_of(data))
    drawn: npt.NDArray[np.bool_] = np.array(often)[of] > 0
    return drawn
