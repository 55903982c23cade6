"""What a run's best weights say of new images, studies and clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtrain.config import configfile
from medtrain.core.errors import InputError
from medtrain.evaluation import preconditions
from medtrain.evaluation.export_folder import DESCRIPTION, run_or_export
from medtrain.evaluation.inference import TrainedModel, load_best_model
from medtrain.evaluation.prediction_table import unread
from medtrain.imaging.isolated_decode import apart
from medtrain.imaging.video.clip_frames import Clip, read_clip
from medtrain.imaging.video.clip_tiff import Shape
from medtrain.runs.run import Run


def predict_files(
    judges: Run | Sequence[Run], images: Sequence[Path], study: bool = False, opened: Sequence[TrainedModel] = ()
) -> list[dict[str, Any]]:
    """What the best weights of a run say of image or clip files, or those of several runs, by the mean of their scores:
    `image`, the task's verdict, all `probabilities` of each; `error` of a file that cannot be read, and nothing else.

    As one `study` the images are judged together, by the mean of their probabilities, and `images` names them all;
    InputError that names every one that cannot be read. Of a label that no training image shows the network has
    learned nothing, and None is said. `opened` are their models, where they were loaded before.
    """
    opened = list(opened)
    rows: list[dict[str, Any]] = []
    found = []
    for own, scores in _batches(judges, images, opened):
        rows += own
        found.append(scores)
    if not study:
        return rows
    if bad := [row for row in rows if "error" in row]:
        raise InputError(unread(bad), "a study is scored as a whole: replace them, or omit them")
    return [{"images": [row["image"] for row in rows], **opened[0].decisions(_together(np.concatenate(found)))[0]}]


def predict_each(judges: Run | Sequence[Run], images: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """As `predict_files` for any number of files, of which no more than a batch is held."""
    for rows, _ in _batches(judges, images, []):
        yield from rows


def _batches(
    judges: Run | Sequence[Run], images: Sequence[Path], opened: list[TrainedModel]
) -> Iterator[tuple[list[dict[str, Any]], np.ndarray[Any, np.dtype[np.float64]]]]:
    """Of some files at once the rows, and the scores of those that can be read; the models are `opened` for the first
    of these."""
    runs = [judges] if isinstance(judges, Run) else list(judges)
    data = configfile.load(runs[0].config_file).data
    at_once = 1 if data.frames else data.eval_batch_size  # a clip is large
    how = Shape(data.image_size, 3 if runs[0].rgb else 1)  # of images
    for first in range(0, len(images), at_once):
        paths = images[first : first + at_once]
        if data.frames and not opened:
            opened += [load_best_model(run) for run in runs]
        read = [_read(path, opened[0].shape if data.frames else how, bool(data.frames)) for path in paths]
        good = [pixels for pixels, _ in read if pixels is not None]
        if good and not opened:  # no model is built for nothing
            opened += [load_best_model(run) for run in runs]
        scores = _scores(opened, good) if good else np.empty((0, 0))
        said = iter(opened[0].decisions(scores) if good else [])
        yield (
            [
                {"image": str(path), **({"error": error} if error else next(said))}
                for path, (_, error) in zip(paths, read, strict=True)
            ],
            scores,
        )


def _read(path: Path, how: Shape, clip: bool) -> tuple[Any, str]:
    """The pixels of a file for a model of images or clips of that shape; or why there are none."""
    try:
        return (read_file(path, how) if clip else preconditions.read_image(path, how.side, how.channels == 3)), ""
    except InputError as error:
        return None, error.problem.removeprefix(f"{path}: ")


def _scores(opened: list[TrainedModel], pixels: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[N, K]: of several models their mean."""
    clips = opened[0].config.data.frames
    each = [one.predict_clips(pixels) if clips else one.predict(pixels) for one in opened]
    return np.asarray(np.mean(each, axis=0, dtype=np.float64))


def _together(scores: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of the images of one study: their mean, [1, K]."""
    return np.asarray(scores.mean(0, dtype=np.float64, keepdims=True))


class Predictor:
    """The best weights of a run, of any task, for use in a program: `Predictor("first").predict("xray.png")`.

    `run` is the name of a run in `runs`, or its folder, or that of an export. `classes` are its labels. InputError
    where there is no such run, it has no best weights yet, or a file of an export is damaged.
    """

    def __init__(self, run: str | Path, runs: str | Path = "runs") -> None:
        self._run = find_run(run, runs)
        self._opened = [load_best_model(self._run)]
        self.classes = self._opened[0].classes

    def predict(self, files: str | Path | Sequence[str | Path]) -> Any:
        """What the run says of an image or clip file: `image`, the task's verdict, `probabilities`; a list of that for
        several files, where `error` stands in place of a verdict on one that cannot be read. InputError where a single
        file cannot be read."""
        single = isinstance(files, str | Path)
        paths = [Path(path) for path in ([files] if isinstance(files, str | Path) else files)]
        preconditions.require_images(paths)
        rows = predict_files(self._run, paths, opened=self._opened)
        if single and "error" in rows[0]:
            raise InputError(unread(rows), "give a JPEG, PNG, TIFF or DICOM file, or a clip where it is a run on clips")
        return rows[0] if single else rows

    def predict_study(self, files: Sequence[str | Path]) -> dict[str, Any]:
        """The verdict on the images of one study together, by the mean of their probabilities."""
        paths = [Path(path) for path in files]
        preconditions.require_images(paths)
        return predict_files(self._run, paths, study=True, opened=self._opened)[0]


def find_run(run: str | Path, runs: str | Path) -> Run:
    """The run of that name in `runs`, or the run or export in that folder."""
    folder = Path(run)
    there = any((folder / mark).exists() for mark in ("config.yaml", DESCRIPTION))
    return run_or_export(folder) if there else Run.find(runs, str(run))


class MURAPredictor:
    """A model of MURA for use in a program: `MURAPredictor("XR_WRIST", run="wrist").predict("xray.png")`.

    `run` is the name of a run in `runs`, or its folder; of a group of runs, the one of that study type judges, or those
    of its ensemble together. InputError where none judges that study type; a run that was trained on all takes any.
    """

    def __init__(self, study_type: str, run: str | Path = "", runs: str | Path = "runs") -> None:
        if not str(run):
            preconditions.ensure_run(study_type, runs)
        self._opened = [load_best_model(one) for one in preconditions.models_for(runs, run, study_type)]

    def predict(self, images: str | Path | Sequence[str | Path]) -> dict[str, Any]:
        """`abnormal`, `confidence` and `probabilities` of an image file, or of several that are one study."""
        paths = tuple(map(Path, [images] if isinstance(images, str | Path) else images))
        preconditions.require_images(paths)
        first = self._opened[0]
        size, rgb = first.config.data.image_size, first.rgb
        pictures = [preconditions.read_image(path, size, rgb) for path in paths]
        scores = np.concatenate([opened.predict(pictures) for opened in self._opened])
        return first.decisions(_together(scores))[0]


class EchoPredictor:
    """A model of echocardiogram clips for use in a program: `EchoPredictor(run="echo").predict("clip.dcm")`.

    `run` is the name of a run in `runs`, or its folder. InputError where it is a run on images.
    """

    def __init__(self, run: str | Path, runs: str | Path = "runs") -> None:
        own = find_run(run, runs)
        if not configfile.load(own.config_file).data.frames:
            raise InputError(f"run {own.name} is for images", "name a run that was trained on clips")
        self._opened = load_best_model(own)

    def predict(self, clip: str | Path) -> dict[str, Any]:
        """The task's verdict on a clip file, and its `probabilities`."""
        read = read_file(Path(clip), self._opened.shape)
        return self._opened.decisions(self._opened.predict_clips([read]))[0]


def read_file(path: Path, shape: Shape) -> Clip:
    """A clip file, as packing reads it for a model that sees clips of that shape; InputError where it is none."""
    try:
        return apart(read_clip, path, shape)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read as a clip: {reason}", "give DICOM, MP4 or AVI files") from None
