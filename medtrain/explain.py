"""The command explain: where in an image a run's best weights see what they say, by Grad-CAM."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import cv2
from tyro.conf import FlagCreatePairsOff, Positional, arg

from medtrain import asked
from medtrain.console import in_line, say, say_json
from medtrain.errors import InputError
from medtrain.run import Run


def explain(
    name: Positional[Annotated[str, arg(metavar="RUN")]],
    images: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGE ...")]],
    labels: tuple[str, ...] = (),
    out: Path = Path("explain"),
    runs: Path = Path("runs"),
    json: FlagCreatePairsOff[bool] = False,
) -> None:
    """Draw where a run's best weights see what they say: a PNG for each image, with a heat map for each label.

    Of a clip, called clip-001 and so on, the PNG shows moments of it, and a GIF for each label moves.

    Args:
        name: Name of the run.
        images: Image files (JPEG, PNG, TIFF, DICOM), or clips (DICOM, MP4, AVI).
        labels: Labels to explain (default: the three with the highest score).
        out: Folder for the figures.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    run, images = Run.find(runs, name), asked.files(images)
    asked.need_checkpoint(run)
    asked.need_labels(run, labels)
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InputError(f"{out} cannot be a folder for figures ({error.strerror})", "give --out DIR") from None
    found = explain_files(run, images, labels, out)
    if json:
        say_json(found)
    else:
        for each in found:
            figures = "   ".join([each["figure"], *each.get("animations", ())])
            said = ", ".join(f"{label} {probability:.3f}" for label, probability in each["labels"].items())
            say(in_line(f"{figures}   {said}"))


def explain_files(run: Run, images: tuple[Path, ...], labels: tuple[str, ...], out: Path) -> list[dict[str, Any]]:
    """`image`, `figure` and `labels` (label -> probability) of each image, whose figure is written into `out`."""
    from medtrain import figures, models
    from medtrain.clipexplain import explain_clips
    from medtrain.gradcam import grad_cam, shown
    from medtrain.openrun import open_best

    opened = open_best(run)
    if opened.config.data.frames:
        return explain_clips(opened, images, labels, out)
    pictures = [asked.read_image(path, opened.config.data.image_size) for path in images]
    inputs, grey = opened.inputs(pictures), opened.fitted(pictures)
    probabilities = opened.predict(pictures)
    layer = models.last_map(opened.config.model, opened.model)
    own = {path.resolve() for path in images}
    found, stems = [], Counter(path.stem for path in images)  # CheXpert's files are all called view1_frontal.jpg
    for i, path in enumerate(images):
        said = shown(opened.task, probabilities[i], labels)
        places = [opened.task.answers.index(label) for label in said.labels]
        maps = grad_cam(opened.model, layer, inputs[i : i + 1], places, said.against)
        number = "" if stems[path.stem] == 1 else f"-{i + 1:03d}"
        figure = out / f"{path.stem}{number}-explained.png"
        if figure.resolve() in own:
            raise InputError(f"{figure} is one of the images and would be lost", "give another folder: --out DIR")
        spread = [cv2.resize(heat, grey[i].shape[::-1]) for heat in maps]  # bilinear, as the paper shows them
        titles = dict(zip(said.words, spread, strict=True))
        figures.explanation(grey[i], titles, figure)
        found.append({"image": str(path), "figure": str(figure), "labels": said.labels})
    return found
