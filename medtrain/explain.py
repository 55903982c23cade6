"""The command explain: where in an image a run's best weights see what they say, by Grad-CAM."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tyro.conf import FlagCreatePairsOff, Positional, arg

from medtrain.console import say, say_json
from medtrain.errors import InputError, nearest
from medtrain.run import Run

NO_MAPS = ("this network keeps no maps [B, K, h, w] to explain by", "explain a convolutional one")
MOST = 3  # labels of an image, where none is named


def explain(
    name: Positional[Annotated[str, arg(metavar="RUN")]],
    images: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGE ...")]],
    labels: tuple[str, ...] = (),
    out: Path = Path("explain"),
    runs: Path = Path("runs"),
    json: FlagCreatePairsOff[bool] = False,
) -> None:
    """Draw where a run's best weights see what they say: a PNG for each image, with a heat map for each label.

    Args:
        name: Name of the run.
        images: Image files (JPEG, PNG, TIFF, DICOM).
        labels: Labels to explain (default: the three with the highest probability).
        out: Folder for the figures.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    found = explain_files(Run.find(runs, name), images, labels, out)
    if json:
        say_json(found)
    else:
        for each in found:
            said = ", ".join(f"{label} {probability:.3f}" for label, probability in each["labels"].items())
            say(f"{each['figure']}   {said}")


def explain_files(run: Run, images: tuple[Path, ...], labels: tuple[str, ...], out: Path) -> list[dict[str, Any]]:
    """`image`, `figure` and `labels` (label -> probability) of each image, whose figure is written into `out`."""
    from medtrain import figures, models
    from medtrain.openrun import open_best
    from medtrain.predict import need_images, read_image

    need_images(images)
    opened = open_best(run)
    unlearned = opened.task.unlearned
    for label in labels:
        if label not in opened.task.answers:
            near = nearest(label, list(opened.task.answers))
            raise InputError(
                f"run {run.name} knows no label {label!r}{near}", "choose " + ", ".join(opened.task.answers)
            )
        if label in unlearned:
            raise InputError(
                f"run {run.name} has learned nothing about {label}: no image of its training shows it", "leave it away"
            )
    pictures = [read_image(path, opened.config.data.image_size) for path in images]
    inputs, grey = opened.inputs(pictures), opened.fitted(pictures)
    probabilities = opened.predict(pictures)
    layer = models.last_map(opened.config.model, opened.model)
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InputError(f"{out} cannot be a folder for figures ({error.strerror})", "give --out DIR") from None
    own = {path.resolve() for path in images}
    found, stems = [], Counter(path.stem for path in images)  # CheXpert's files are all called view1_frontal.jpg
    for i, path in enumerate(images):
        likely = (opened.task.answers[k] for k in np.argsort(-probabilities[i], kind="stable"))
        shown = labels or tuple(islice((label for label in likely if label not in unlearned), MOST))
        places = [opened.task.answers.index(label) for label in shown]
        said = {label: float(probabilities[i, k]) for label, k in zip(shown, places, strict=True)}
        maps = grad_cam(opened.model, layer, inputs[i : i + 1], places)
        number = "" if stems[path.stem] == 1 else f"-{i + 1:03d}"
        figure = out / f"{path.stem}{number}-explained.png"
        if figure.resolve() in own:
            raise InputError(f"{figure} is one of the images and would be lost", "give another folder: --out DIR")
        spread = [cv2.resize(heat, grey[i].shape[::-1]) for heat in maps]  # bilinear, as the paper shows them
        titles = {f"{label} {said[label]:.3f}": heat for label, heat in zip(shown, spread, strict=True)}
        figures.explanation(grey[i], titles, figure)
        found.append({"image": str(path), "figure": str(figure), "labels": said})
    return found


def grad_cam(model: Any, layer: Any, inputs: Any, outputs: list[int]) -> NDArray[np.float32]:
    """Heat maps float32 [len(outputs), h, w] in 0..1 of one input [1, C, H, W], at the size of the layer's map.

    Grad-CAM (Selvaraju et al., ICCV 2017): the layer's channels, each weighted by the mean gradient of the logit,
    summed, and what speaks against the label left out; scaled by its highest value.
    """
    import torch

    kept: list[torch.Tensor] = []

    def keep(module: Any, given: Any, made: torch.Tensor) -> torch.Tensor:
        if not isinstance(made, torch.Tensor) or made.ndim != 4:
            raise InputError(*NO_MAPS)
        kept.append(made)
        return made.clone()  # the next layer may write over it

    hook = layer.register_forward_hook(keep)
    try:
        model.eval()
        with torch.enable_grad():
            logits = model(inputs.requires_grad_())
            if not kept:  # the layer is asked for what it holds, and never called
                raise InputError(*NO_MAPS)
            gradients = [torch.autograd.grad(logits[0, k], kept[0], retain_graph=True)[0] for k in outputs]
    finally:
        hook.remove()
    channels, places = (3, (1, 2)) if _channels_last(model, kept[0].shape) else (1, (2, 3))
    heat = [(each.mean(places, keepdim=True) * kept[0]).sum(channels)[0].relu() for each in gradients]
    maps = torch.stack([each / each.max().clamp(min=1e-12) for each in heat])
    return maps.detach().float().cpu().numpy()


def _channels_last(model: Any, shape: tuple[int, ...]) -> bool:
    """Whether a map is [B, h, w, K]: some of timm's networks say so, of others it says how many channels they have."""
    if "NHWC" in str(getattr(model, "output_fmt", "")):
        return True
    known = getattr(model, "feature_info", None)
    channels = known[-1].get("num_chs") if isinstance(known, list) and known else None
    return channels is not None and shape[3] == channels != shape[1]
