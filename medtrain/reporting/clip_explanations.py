"""Where in clips a run's best weights see what they say: HiResCAM over time, as a strip of moments and as a GIF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from medtrain import models
from medtrain.core.console import in_line
from medtrain.evaluation.gradcam import hires_cam, resolving_layer, shown
from medtrain.evaluation.inference import TrainedModel
from medtrain.evaluation.predict import read_file
from medtrain.imaging.video.clip_tiff import Frames
from medtrain.loading.clip_sampling import FRAME_MS
from medtrain.reporting import clip_figures
from medtrain.reporting.figure_files import new_files, written
from medtrain.reporting.heat_figures import PAPER


def explain_clips(
    opened: TrainedModel, paths: tuple[Path, ...], labels: tuple[str, ...], out: Path, named: bool
) -> list[dict[str, Any]]:
    """`image`, `figure`, `animations` and `labels` (label -> probability) of each clip.

    The figures are of the window in the clip's middle. Their names number the clips; the title has the name of the file
    where it may (`named`).
    """
    layers, layer = models.map_layers(opened.config.model, opened.model), None
    found = []
    for number, path in enumerate(paths, 1):
        clip = read_file(path, opened.shape)
        between = (clip.frame_ms or FRAME_MS) * opened.config.data.stride
        said = shown(opened.task, opened.predict_clips([clip])[0], labels)
        seen = opened.seen(clip, 1)
        inputs = opened.normalised(seen)
        layer = layer or resolving_layer(opened.model, layers, inputs)
        places = [opened.task.output_names.index(label) for label in said.labels]
        maps = spread(hires_cam(opened.model, layer.module, inputs, places, said.against), seen[0])
        names = [f"clip-{number:03d}-explained.png", *(f"clip-{number:03d}-{label}.gif" for label in said.labels)]
        about = f"{in_line(path.name) if named else f'clip {number}'}, run {opened.run.name}"
        with new_files(out, names) as (figure, *animations):
            titles = dict(zip(said.words, maps, strict=True))
            clip_figures.explained(seen[0], titles, figure, about, f"{PAPER} of {layer.words} (time first)")
            for animation, heat in zip(animations, maps, strict=True):
                clip_figures.animation(seen[0], heat, between, animation)
        found.append(
            {"image": str(path), **written(figure), "animations": list(map(str, animations)), "labels": said.labels,
             "layer": layer.name}
        )  # fmt: skip
    return found


def spread(maps: NDArray[np.float32], frames: Frames) -> NDArray[np.float32]:
    """Maps [L, t, h, w] spread over frames [T, H, W, C]: [L, T, H, W], linear in time and space."""
    wide = interpolate(torch.from_numpy(maps)[None], frames.shape[:3], mode="trilinear", align_corners=False)
    found: NDArray[np.float32] = wide[0].numpy()
    return found
