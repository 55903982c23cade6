"""A run's best weights on new images, and on whole splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from medtrain import configfile, distributed, mixture, models, tasks, transforms
from medtrain.config import Config, DataConfig
from medtrain.console import warn
from medtrain.decode import decode
from medtrain.distributed import World
from medtrain.errors import InputError, nearest
from medtrain.evaluate import evaluate_best, load_best
from medtrain.index import read_manifest
from medtrain.inputs import input_shape, pixels
from medtrain.loader import Batch
from medtrain.run import Run, read_json
from medtrain.rungroup import RunGroup
from medtrain.tasks import Task


@dataclass(frozen=True)
class OpenRun:
    """A run's model, ready to score."""

    run: Run
    config: Config
    classes: tuple[str, ...]
    world: World
    task: Task
    model: nn.Module
    own: DataConfig  # what it was trained on
    elsewhere: str = ""  # the name of a dataset that stands in for that

    def evaluate(self, split: str, say: Callable[[str], None]) -> dict[str, Any]:
        """Score a split of the packed dataset; writes and returns the report."""
        if self.elsewhere:
            self._warn_of_seen(split)
        return evaluate_best(
            self.run, self.config, self.task, self.model, self.world, split, say, elsewhere=self.elsewhere
        )

    def _warn_of_seen(self, split: str) -> None:
        try:
            times = mixture.seen(self.own, mixture.open_split(self.config.data, split).samples)
        except InputError as error:
            warn(f"whether the run was trained on images of {self.elsewhere} cannot be told: {error.problem}")
        else:
            if times:
                warn(
                    f"{times:,} images of {self.elsewhere} are, byte for byte, among those that the run was trained on"
                )

    def predict(self, images: list[np.ndarray[Any, np.dtype[np.uint8]]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Probabilities float32 [N, K] for N grey images uint8 [h, w] of any size, by the weights in the model."""
        most, found = self.config.data.eval_batch_size, [np.empty((0, self.task.outputs), np.float32)]
        with torch.inference_mode(), self.world.accelerator.autocast():
            for first in range(0, len(images), most):
                logits = self.model(self.inputs(images[first : first + most]))
                found.append(self.task.scores(logits).cpu().numpy())
        return np.concatenate(found)

    def says(self, scores: np.ndarray[Any, np.dtype[np.float32]]) -> list[dict[str, Any]]:
        """The task's verdict on each row of scores [N, K], with what each is the probability of."""
        task = self.task.chosen_in(read_json(self.run.report))
        learned = [name not in task.unlearned for name in task.answers]
        rows = [[float(score) if known else None for score, known in zip(row, learned, strict=True)] for row in scores]
        return [
            {**task.verdict(row), "probabilities": dict(zip(task.answers, own, strict=True))}
            for row, own in zip(scores, rows, strict=True)
        ]

    def fitted(self, images: list[np.ndarray[Any, np.dtype[np.uint8]]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The images uint8 [N, H, W] at the model's size."""
        size = self.config.data.image_size
        made = np.empty((len(images), size, size), np.uint8)
        transforms.fit(images, made)
        return made

    def inputs(self, images: list[np.ndarray[Any, np.dtype[np.uint8]]]) -> torch.Tensor:
        """What the model gets of them: float [N, C, H, W], normalised, on its device."""
        nothing = np.zeros(0, np.int64)
        batch = Batch(torch.from_numpy(self.fitted(images)[:, None]), torch.empty(0), nothing, nothing)
        return pixels(batch, self.config.data, self.config.model.channels, self.world.device)


def open_run(run: Run, shards: Path | None = None) -> OpenRun:
    """Build a run's model, for which its shards need not be there any more; `shards` stands in for the dataset it was
    trained on and must have the same classes."""
    config = configfile.load(run.config_file)
    own = config.data
    counts = run.counts()
    classes = tuple(counts) or mixture.classes(config.data)
    if shards is not None:
        others = tuple(read_manifest(shards)["classes"])
        if others != classes:
            raise InputError(f"{shards}: its classes are {', '.join(others)}; the run knows {', '.join(classes)}",
                             "give a dataset packed with the same classes")  # fmt: skip
        config = replace(config, data=replace(config.data, shards=str(shards), datasets=(), holdout=""))
    fits = config.precision != "fp16" or torch.cuda.is_available()
    world = distributed.join(config.precision if fits else "fp32")
    task = tasks.make(config, classes, counts)
    model = models.build(replace(config.model, weights=""), task.outputs)
    model.to(world.device).to(memory_format=models.channels_last(1 + len(input_shape(config))))
    return OpenRun(run, config, classes, world, task, model, own, shards.resolve().name if shards else "")


def open_best(run: Run) -> OpenRun:
    """The same with the run's best weights in place, ready to predict."""
    opened = open_run(run)
    load_best(run, opened.model, opened.world)
    opened.model.eval()
    return opened


def predict_files(run: Run, images: tuple[Path, ...], study: bool = False) -> list[dict[str, Any]]:
    """What a run's best weights say of image files: `image`, the task's verdict and all `probabilities` of each.

    As one `study` the images are judged together, by the mean of their probabilities: `image` then names all. Of a
    label that no training image shows the network has learned nothing, and None is said.
    """
    need_images(images)
    size = configfile.load(run.config_file).data.image_size
    pictures = [read_image(path, size) for path in images]
    opened = open_best(run)
    scores, names = opened.predict(pictures), [str(path) for path in images]
    if study:
        scores, names = _together(scores), [", ".join(names)]
    return [{"image": name, **said} for name, said in zip(names, opened.says(scores), strict=True)]


def _together(scores: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Of the images of one study: their mean, [1, K]."""
    return np.asarray(scores.mean(0, dtype=np.float64, keepdims=True), np.float32)


class MURAPredictor:
    """A model of MURA for use in a program: `MURAPredictor("XR_WRIST", run="wrist").predict("xray.png")`.

    `run` is the name of a run in `runs`, or its folder; of a group of runs, the one of that study type judges, or those
    of its ensemble together. InputError where none judges that study type; a run that was trained on all takes any.
    """

    def __init__(self, study_type: str, run: str | Path, runs: str | Path = "runs") -> None:
        self._opened = [open_best(one) for one in _judges(study_type, Path(run), Path(runs))]
        classes = self._opened[0].classes
        if study_type not in classes:
            raise InputError(
                f"there is no study type {study_type!r}{nearest(study_type, list(classes))}",
                "choose of " + ", ".join(classes),
            )

    def predict(self, images: str | Path | Sequence[str | Path]) -> dict[str, Any]:
        """`abnormal`, `confidence` and `probabilities` of an image file, or of several that are one study."""
        paths = tuple(map(Path, [images] if isinstance(images, str | Path) else images))
        need_images(paths)
        first = self._opened[0]
        pictures = [read_image(path, first.config.data.image_size) for path in paths]
        scores = np.concatenate([opened.predict(pictures) for opened in self._opened])
        return first.says(_together(scores))[0]


def _judges(study_type: str, run: Path, runs: Path) -> list[Run]:
    """The runs that judge a study type together; InputError where none does."""
    folder = run if run.is_dir() else runs / run
    group = RunGroup(folder)
    told = read_json(group.report).get("runs", {})
    found = [one for one in group.runs if told.get(one.name, {}).get("averaged")]
    if group.runs and not found:
        raise InputError(f"group {group.name} has no report yet", f"put it together: medtrain report {group.name}")
    members = found or [Run(folder) if (folder / "config.yaml").exists() else Run.find(runs, str(run))]
    configs = {one: configfile.load(one.config_file) for one in members}
    able = [one for one, own in configs.items() if own.data.study_type in (*mixture.TOGETHER, study_type)]
    if not able or any(own.task != "abnormality" for own in configs.values()):
        known = ", ".join(dict.fromkeys(own.data.study_type or own.task for own in configs.values()))
        raise InputError(f"run {run} judges {known}", "name a run of that study type")
    return able


def need_images(images: tuple[Path, ...]) -> None:
    """InputError where none is given."""
    if not images:
        raise InputError("no image is named", "give image files: JPEG, PNG, TIFF or DICOM")


def read_image(path: Path, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image file, as the loader reads it for a model of that size; InputError where it is none."""
    try:
        return decode(path.read_bytes(), at_least=size)  # as the loader does, so that scores are the same
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path}: cannot be read as an image: {reason}", "give JPEG, PNG, TIFF or DICOM files"
        ) from None
