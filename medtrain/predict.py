"""What a run's best weights say of new images, studies and clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtrain import configfile, mixture
from medtrain.clipfile import Shape
from medtrain.clipframes import Clip, read_clip
from medtrain.decode import decode
from medtrain.errors import InputError, nearest
from medtrain.openrun import open_best
from medtrain.run import Run, read_json
from medtrain.rungroup import RunGroup


def predict_files(run: Run, images: tuple[Path, ...], study: bool = False) -> list[dict[str, Any]]:
    """What a run's best weights say of image or clip files: `image`, the task's verdict, all `probabilities` of each.

    As one `study` the images are judged together, by the mean of their probabilities: `image` then names all. Of a
    label that no training image shows the network has learned nothing, and None is said.
    """
    need_images(images)
    names = [str(path) for path in images]
    data = configfile.load(run.config_file).data
    if data.frames:
        opened = open_best(run)
        scores = opened.predict_clips(read_file(path, opened.shape) for path in images)
    else:
        pictures = [read_image(path, data.image_size) for path in images]  # before a model is built for nothing
        opened = open_best(run)
        scores = opened.predict(pictures)
    if study:
        scores, names = _together(scores), [", ".join(names)]
    return [{"image": name, **said} for name, said in zip(names, opened.says(scores), strict=True)]


def _together(scores: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of the images of one study: their mean, [1, K]."""
    return np.asarray(scores.mean(0, keepdims=True), np.float64)


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


class EchoPredictor:
    """A model of echocardiogram clips for use in a program: `EchoPredictor(run="echo").predict("clip.dcm")`.

    `run` is the name of a run in `runs`, or its folder. InputError where it is a run on images.
    """

    def __init__(self, run: str | Path, runs: str | Path = "runs") -> None:
        folder = Path(run)
        own = Run(folder) if (folder / "config.yaml").exists() else Run.find(runs, str(run))
        if not configfile.load(own.config_file).data.frames:
            raise InputError(f"run {own.name} judges images", "name a run that was trained on clips")
        self._opened = open_best(own)

    def predict(self, clip: str | Path) -> dict[str, Any]:
        """The task's verdict on a clip file, and its `probabilities`."""
        read = read_file(Path(clip), self._opened.shape)
        return self._opened.says(self._opened.predict_clips([read]))[0]


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


def read_file(path: Path, shape: Shape) -> Clip:
    """A clip file, as packing reads it for a model that sees clips of that shape; InputError where it is none."""
    try:
        return read_clip(path, shape)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read as a clip: {reason}", "give DICOM, MP4 or AVI files") from None
