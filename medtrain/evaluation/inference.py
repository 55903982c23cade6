"""A run's model with its best weights, ready to score splits and new images or clips."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from medtrain import models, tasks
from medtrain.config import configfile
from medtrain.config.schema import Config, DataConfig
from medtrain.core import permissions
from medtrain.core.console import warn
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json
from medtrain.distributed import process_group
from medtrain.distributed.process_group import World
from medtrain.evaluation.evaluate import load_best
from medtrain.evaluation.export_folder import Export
from medtrain.evaluation.export_programs import Program, program_of
from medtrain.evaluation.inputs import clip_setup, in_channels, input_shape, pixels
from medtrain.imaging.video.clip_frames import Clip
from medtrain.imaging.video.clip_tiff import Frames, Shape
from medtrain.loading import transforms
from medtrain.loading.batch import Batch
from medtrain.loading.clip_sampling import fit_clip, window
from medtrain.models.skip_init import build_without_init
from medtrain.runs.checkpoint_manifest import newest_manifest
from medtrain.runs.run import Run
from medtrain.shards import mixture
from medtrain.shards.packed_dataset import CHANNELS, PackedDataset
from medtrain.tasks import Task


@dataclass(frozen=True)
class TrainedModel:
    """A run's model, ready to score."""

    run: Run
    config: Config
    classes: tuple[str, ...]
    world: World
    task: Task
    model: nn.Module
    own: DataConfig  # what it was trained on
    elsewhere: str = ""  # the name of a dataset that stands in for that

    def warn_of_seen(self, split: str) -> None:
        """Warn where images of the dataset that stands in are among those that the run was trained on."""
        try:
            times = mixture.seen(self.own, mixture.open_split(self.config.data, split).samples)
        except InputError as error:
            warn(f"whether the run was trained on images of {self.elsewhere} is unknown: {error.problem}")
        else:
            if times:
                warn(
                    f"{times:,} images of {self.elsewhere} are, byte for byte, among those that the run was trained on"
                )

    def predict(self, images: list[np.ndarray[Any, np.dtype[np.uint8]]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Scores float64 [N, K] for N images uint8 [h, w] or, in RGB, [h, w, 3] of any size, by the weights in the
        model."""
        most, found = self.config.data.eval_batch_size, [np.empty((0, self.task.outputs), np.float64)]
        for first in range(0, len(images), most):
            found.append(self._scores(self.inputs(images[first : first + most])))
        return np.concatenate(found)

    def predict_clips(self, clips: Iterable[Clip]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The same for clips: of each the mean over its windows."""
        each = [self._scores(self.windows(clip)).mean(0) for clip in clips]
        return np.array(each, np.float64).reshape(-1, self.task.outputs)

    def _scores(self, inputs: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
        with torch.inference_mode(), self.world.accelerator.autocast():
            return self.task.scores(self.model(inputs)).cpu().numpy()

    def decisions(self, scores: np.ndarray[Any, np.dtype[np.float64]]) -> list[dict[str, Any]]:
        """The task's verdict on each row of scores [N, K], with what each is the probability of."""
        task = self.task.with_tuning_of(self.tuning())
        if not task.outputs_probabilities:
            return [task.decide(row) for row in scores]
        learned = [name not in task.unlearned for name in task.output_names]
        rows = [[float(score) if known else None for score, known in zip(row, learned, strict=True)] for row in scores]
        return [
            {**task.decide(row), "probabilities": dict(zip(task.output_names, own, strict=True))}
            for row, own in zip(scores, rows, strict=True)
        ]

    def tuning(self) -> dict[str, Any]:
        """The report that holds what the validation chose; `{}` where there is none."""
        return read_json(self.run.report)

    def fitted(self, images: list[np.ndarray[Any, np.dtype[np.uint8]]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The images uint8 [N, H, W], in color [N, H, W, 3], at the model's size."""
        size = self.config.data.image_size
        made = np.empty((len(images), size, size, *((3,) if self.rgb else ())), np.uint8)
        transforms.fit([in_channels(image, self.rgb) for image in images], made)
        return made

    def inputs(self, images: list[np.ndarray[Any, np.dtype[np.uint8]]]) -> torch.Tensor:
        """What the model gets of them: float [N, C, H, W], normalised, on its device."""
        fitted = torch.from_numpy(self.fitted(images))
        return self._normalised(fitted.movedim(-1, 1) if self.rgb else fitted.unsqueeze(1))

    def windows(self, clip: Clip) -> torch.Tensor:
        """What the model gets of a clip's windows: float [windows, C, T, H, W], normalised, on its device."""
        return self.normalised(self.seen(clip, self.config.data.clips))

    def seen(self, clip: Clip, windows: int) -> Frames:
        """The frames of so many windows, evenly spread over a clip: uint8 [windows, T, side, side, channels]."""
        setup = clip_setup(self.config.data, self.shape, windows)
        side = self.config.data.image_size
        found = np.empty((windows, setup.frames, side, side, self.shape.channels), np.uint8)
        for number, out in enumerate(found):
            fit_clip(clip.frames[window(setup, len(clip.frames), clip.frame_ms, number)], out)
        return found

    def normalised(self, seen: Frames) -> torch.Tensor:
        """What the model gets of frames that are `seen`: float [windows, C, T, H, W] on its device."""
        return self._normalised(torch.from_numpy(seen).movedim(-1, 1))

    @cached_property
    def rgb(self) -> bool:
        """Whether images are read for it in color; the run's file says so."""
        return self.run.rgb

    @property
    def channels(self) -> int:
        """Of the pixels that are read for it: 3 of RGB."""
        return CHANNELS[self.config.data.color_mode] if self.config.data.frames else 3 if self.rgb else 1

    @cached_property
    def shape(self) -> Shape:
        """In which clips are read for it: as those that it was trained on were packed."""
        own = {"side": self.config.data.image_size, "channels": CHANNELS[self.config.data.color_mode]}
        return Shape(**{**own, **read_json(self.run.clips)})

    def _normalised(self, inputs: torch.Tensor) -> torch.Tensor:
        nothing = np.zeros(0, np.int64)
        batch = Batch(inputs, torch.empty(0), nothing, nothing)
        return pixels(batch, self.config.data, self.config.model.channels, self.world.device)


@dataclass(frozen=True)
class ExportedModel(TrainedModel):
    """A run's model, as its export has it: preprocessing of pixels and the last function are within the program."""

    program: Program = field(default_factory=nn.Identity)

    def _scores(self, inputs: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
        with torch.inference_mode():
            return np.asarray(self.program(inputs).numpy(), np.float64)

    def _normalised(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.float().contiguous()

    def tuning(self) -> dict[str, Any]:
        """What the export says of thresholds and temperature."""
        return self.run.tuning() if isinstance(self.run, Export) else {}

    @cached_property
    def shape(self) -> Shape:
        """In which clips are read for it, as the export says."""
        assert isinstance(self.run, Export)
        return Shape(**self.run.told["input"]["packed_as"])


def rebuild_model(run: Run, shards: Path | None = None) -> TrainedModel:
    """Build a run's model without its weights, for which its shards need not be there any more; `shards` stands in for
    the dataset it was trained on and must have the same classes."""
    config = configfile.load(run.config_file)
    permissions.apply(config.share)
    own = config.data
    counts = run.counts()
    if not counts:  # then the manifest alone names the classes
        mixture.ensure_same_shards(own, newest_manifest(run.checkpoints), run.name)
    classes = tuple(counts) or mixture.classes(own)
    if shards is not None:
        PackedDataset.open(shards).need_classes(classes)
        config = replace(config, data=replace(config.data, shards=str(shards), datasets=(), holdout=""))
    fits = config.precision != "fp16" or torch.cuda.is_available()
    world = process_group.init_distributed(config.precision if fits else "fp32")
    task = tasks.make(config, classes, counts)
    model = build_without_init(config.model, task.outputs)
    model.to(world.device).to(memory_format=models.channels_last(1 + len(input_shape(config))))
    return TrainedModel(run, config, classes, world, task, model, own, shards.resolve().name if shards else "")


def load_best_model(run: Run) -> TrainedModel:
    """A run's model with its best weights, in evaluation mode: ready to predict; or that of an export."""
    if isinstance(run, Export):
        return _load_export(run)
    opened = rebuild_model(run)
    load_best(run, opened.model, opened.world)
    opened.model.eval()
    return opened


def _load_export(export: Export) -> ExportedModel:
    export.verify()
    config, counts = configfile.load(export.config_file), export.counts()
    world = process_group.init_distributed("fp32")
    task = tasks.make(config, tuple(counts), counts)
    program = program_of(export, config, task.outputs, world.device)
    nothing = nn.Identity()  # the program has its own network
    return ExportedModel(export, config, tuple(counts), world, task, nothing, config.data, program=program)


def open_run(run: Run) -> TrainedModel:
    """As load_best_model, by its name in version 0.1, which left the weights out."""
    return load_best_model(run)
