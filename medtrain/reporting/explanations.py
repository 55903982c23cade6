"""The command explain: where in an image a run's best weights see what they say, by Grad-CAM."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2

from medtrain.core.errors import InputError
from medtrain.evaluation import preconditions
from medtrain.runs.run import Run


def explain_files(run: Run, images: tuple[Path, ...], labels: tuple[str, ...], out: Path) -> list[dict[str, Any]]:
    """`image`, `figure` and `labels` (label -> probability) of each image, whose figure is written into `out`."""
    from medtrain import models
    from medtrain.evaluation.gradcam import grad_cam, shown
    from medtrain.evaluation.inference import load_best_model
    from medtrain.reporting import plots
    from medtrain.reporting.clip_explanations import explain_clips

    opened = load_best_model(run)
    if opened.config.data.frames:
        return explain_clips(opened, images, labels, out)
    pictures = [preconditions.read_image(path, opened.config.data.image_size) for path in images]
    inputs, grey = opened.inputs(pictures), opened.fitted(pictures)
    probabilities = opened.predict(pictures)
    layer = models.last_map(opened.config.model, opened.model)
    own = {path.resolve() for path in images}
    found, stems = [], Counter(path.stem for path in images)  # CheXpert's files are all called view1_frontal.jpg
    for i, path in enumerate(images):
        said = shown(opened.task, probabilities[i], labels)
        places = [opened.task.output_names.index(label) for label in said.labels]
        maps = grad_cam(opened.model, layer, inputs[i : i + 1], places, said.against)
        number = "" if stems[path.stem] == 1 else f"-{i + 1:03d}"
        figure = out / f"{path.stem}{number}-explained.png"
        if figure.resolve() in own:
            raise InputError(f"{figure} is one of the images and would be lost", "give another folder: --out DIR")
        spread = [cv2.resize(heat, grey[i].shape[::-1]) for heat in maps]  # bilinear, as the paper shows them
        titles = dict(zip(said.words, spread, strict=True))
        plots.explanation(grey[i], titles, figure)
        found.append({"image": str(path), "figure": str(figure), "labels": said.labels})
    return found
