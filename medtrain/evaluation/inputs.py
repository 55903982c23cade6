"""What the model gets: the loaders of a run's splits, and their batches as normalised pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from medtrain.config.schema import AugmentConfig, Config, DataConfig
from medtrain.core.errors import InputError
from medtrain.datasets.labels import are_scores
from medtrain.distributed.process_group import World
from medtrain.imaging.video.clip_tiff import Shape
from medtrain.loading.batch import Batch
from medtrain.loading.clip_sampling import ClipSetup
from medtrain.loading.loader import LabelRule, Loader, RankShare
from medtrain.models import channels_last
from medtrain.shards import compatibility, mixture
from medtrain.shards.index import ShardIndex

# Mean and deviation of red, green and blue: of ImageNet, of Kinetics-400 (both as torchvision has them), and of the
# echocardiograms that public video quality models were trained on.
OF_COLOURS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "kinetics": ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
    "echo": ((0.11415933, 0.11010524, 0.11410355), (0.18819303, 0.18218430, 0.18510129)),
}


def open_loader(
    config: Config,
    world: World,
    split: str,
    global_batch: int = 1,
    augment: AugmentConfig | None = None,
    pieces: int = 0,
    training: bool = False,
    windows: int = 1,
) -> Loader:
    """This rank's loader of a split, as the config has it; of clips an evaluation sees so many `windows` of each.

    Only `training` has labels that policies settled, by which nothing is measured, and datasets drawn more often.
    """
    data, index = config.data, mixture.open_split(config.data, split)
    policies = {"uncertain": data.uncertain, "unmentioned": data.unmentioned} if training else {}
    return Loader(
        index,
        global_batch=global_batch,
        image_size=data.image_size,
        seed=config.seed,
        augment=augment,
        share=RankShare(world.rank, world.size, pieces),
        workers=data.workers,
        prefetch=data.prefetch,
        max_samples=data.max_samples,
        rule=LabelRule(**policies, scores=config.task == "score", score_threshold=data.score_threshold),
        times=mixture.times_of(data) if training else None,
        clip=_clips_of(config, index, windows),
    )


def _clips_of(config: Config, index: ShardIndex, windows: int) -> ClipSetup | None:
    """What is seen of a dataset's clips; None for images. InputError where the settings are for the other kind."""
    data = config.data
    if (data.frames == 0) != (index.clips is None):
        raise InputError(
            f"{index.folder} holds {'images' if data.frames else 'clips'}, and the settings are for the other kind",
            "clips want --frames 32 and a network of clips (recipe echo), images --frames 0",
        )
    compatibility.ensure_same_colors(index, data.color_mode)
    return None if index.clips is None else clip_setup(data, index.clips, windows)


def clip_setup(data: DataConfig, shape: Shape, windows: int) -> ClipSetup:
    """What the settings want to see of clips of some shape."""
    return ClipSetup(shape, data.frames, data.stride, data.fps, windows)


def in_channels(image: npt.NDArray[np.uint8], rgb: bool) -> npt.NDArray[np.uint8]:
    """An image [h, w] or [h, w, 3] as a run on color (`rgb`) or gray sees it: gray is repeated, color becomes gray by
    ITU-R BT.601."""
    if (image.ndim == 3) == rgb:
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if rgb else cv2.COLOR_RGB2GRAY))


def middle(labels: npt.NDArray[Any]) -> float:
    """What a network that knows nothing says best: the mean of scores, as Ouyang et al., Nature 2020, begin with it; 0
    for labels."""
    return float(np.nanmean(labels, dtype=np.float64)) if are_scores(labels) else 0.0


def input_shape(config: Config) -> tuple[int, ...]:
    """Of one sample, as the model takes it: (channels, H, W), of a clip (channels, T, H, W)."""
    data, sides = config.data, (config.data.image_size, config.data.image_size)
    return (config.model.channels, data.frames, *sides) if data.frames else (config.model.channels, *sides)


def pixels(batch: Batch, data: DataConfig, channels: int, device: torch.device) -> torch.Tensor:
    """The model's input: uint8 on the CPU -> normalised float [B, channels, H, W] on the device, channels last; of
    clips [B, channels, T, H, W]."""
    inputs = batch.inputs.to(device, non_blocking=True).float()
    places = inputs.ndim - 2
    if data.normalize == "image":
        deviation, mean = torch.std_mean(inputs, dim=tuple(range(1, inputs.ndim)), correction=0, keepdim=True)
        inputs = inputs.sub_(mean).div_(deviation.clamp(min=1))  # a black image stays black
    elif data.normalize == "fixed":
        inputs = inputs.mul_(1 / (255 * data.std)).sub_(data.mean / data.std)
    inputs = inputs.expand(-1, channels, *[-1] * places).contiguous(memory_format=channels_last(inputs.ndim))
    if data.normalize in OF_COLOURS:
        numbers = OF_COLOURS[data.normalize]
        mean, deviation = (255 * torch.tensor(each, device=device).view(1, 3, *[1] * places) for each in numbers)
        inputs = inputs.sub_(mean).div_(deviation)
    return inputs
