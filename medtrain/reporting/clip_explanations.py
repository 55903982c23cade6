"""Where in clips a run's best weights see what they say: Grad-CAM over time, as a strip of moments and as a GIF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from medtrain import models
from medtrain.evaluation.gradcam import grad_cam, shown
from medtrain.evaluation.inference import TrainedModel
from medtrain.evaluation.predict import read_file
from medtrain.imaging.video.clip_tiff import Frames
from medtrain.loading.clip_sampling import FRAME_MS
from medtrain.reporting import clip_figures


def explain_clips(
    opened: TrainedModel, paths: tuple[Path, ...], labels: tuple[str, ...], out: Path
) -> list[dict[str, Any]]:
    """`image`, `figure`, `animations` and `labels` (label -> probability) of each clip.

    The figures are of the window in the clip's middle, and their names number the clips: a file's name may be that of
    a person.
    """
    layer = models.last_map(opened.config.model, opened.model)
    found = []
    for number, path in enumerate(paths, 1):
        clip = read_file(path, opened.shape)
        said = shown(opened.task, opened.predict_clips([clip])[0], labels)
        seen = opened.seen(clip, 1)
        places = [opened.task.output_names.index(label) for label in said.labels]
        maps = spread(grad_cam(opened.model, layer, opened.normalised(seen), places, said.against), seen[0])
        figure = out / f"clip-{number:03d}-explained.png"
        clip_figures.explained(seen[0], dict(zip(said.words, maps, strict=True)), figure)
        animations = [out / f"clip-{number:03d}-{label}.gif" for label in said.labels]
        for animation, heat in zip(animations, maps, strict=True):
            clip_figures.animation(seen[0], heat, (clip.frame_ms or FRAME_MS) * opened.config.data.stride, animation)
        found.append(
            {"image": str(path), "figure": str(figure), "animations": list(map(str, animations)), "labels": said.labels}
        )
    return found


def spread(maps: NDArray[np.float32], frames: Frames) -> NDArray[np.float32]:
    """Maps [L, t, h, w] spread over frames [T, H, W, C]: [L, T, H, W], linear in time and space."""
    wide = interpolate(torch.from_numpy(maps)[None], frames.shape[:3], mode="trilinear", align_corners=False)
    found: NDArray[np.float32] = wide[0].numpy()
    return found
