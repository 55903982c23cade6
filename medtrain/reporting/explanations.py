"""Where in images a run's best weights see what they predict, by HiResCAM: figures for `medtrain explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from medtrain.core.console import in_line, warn
from medtrain.core.permissions import Share
from medtrain.evaluation import preconditions
from medtrain.reporting.figure_files import new_files, written
from medtrain.runs.run import Run


def explain_files(run: Run, images: tuple[Path, ...], labels: tuple[str, ...], out: Path) -> list[dict[str, Any]]:
    """`image`, `figure` and `labels` (label -> probability) of each image, whose figure is written into `out`.

    Names of files may be those of persons: they are in names and titles of figures only where nobody else can look into
    the folder.
    """
    from medtrain import models
    from medtrain.evaluation.gradcam import hires_cam, resolving_layer, shown
    from medtrain.evaluation.inference import load_best_model
    from medtrain.reporting.clip_explanations import explain_clips
    from medtrain.reporting.heat_figures import PAPER, explanation

    opened = load_best_model(run)
    named = nobody_else_sees(out, opened.config.share)
    if opened.config.data.frames:
        return explain_clips(opened, images, labels, out, named)
    pictures = [preconditions.read_image(path, opened.config.data.image_size, opened.rgb) for path in images]
    inputs, seen = opened.inputs(pictures), opened.fitted(pictures)
    probabilities = opened.predict(pictures)
    layer = resolving_layer(opened.model, models.map_layers(opened.config.model, opened.model), inputs[:1])
    found = []
    for i, path in enumerate(images):
        said = shown(opened.task, probabilities[i], labels)
        places = [opened.task.output_names.index(label) for label in said.labels]
        maps = hires_cam(opened.model, layer.module, inputs[i : i + 1], places, said.against)
        spread = [cv2.resize(heat, seen[i].shape[1::-1]) for heat in maps]  # bilinear, as the paper shows them
        titles = dict(zip(said.words, spread, strict=True))
        stem, about = (path.stem, in_line(path.name)) if named else (f"image-{i + 1:03d}", f"image {i + 1}")
        with new_files(out, [f"{stem}-explained.png"]) as (figure,):
            explanation(seen[i], titles, figure, f"{about}, run {run.name}", f"{PAPER} of {layer.words}")
        found.append({"image": str(path), **written(figure), "labels": said.labels, "layer": layer.name})
    return found


def nobody_else_sees(out: Path, share: Share) -> bool:
    """Whether names of files may stand in a folder and in its figures; else it is said that they do not."""
    if share == "private" and not out.stat().st_mode & 0o077:
        return True
    warn(f"others can look into {out}: its figures are numbered, and do not have the names of the files")
    return False
