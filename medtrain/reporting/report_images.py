"""The images of a report's page: read from the shards, explained by the run's best weights."""

from __future__ import annotations

import os

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from medtrain import models
from medtrain.evaluation.gradcam import MapLayer, hires_cam, resolving_layer
from medtrain.evaluation.inference import TrainedModel, load_best_model
from medtrain.evaluation.score_table import read_scores
from medtrain.imaging.decode import decode
from medtrain.imaging.video import clip_tiff
from medtrain.imaging.video.clip_frames import Clip
from medtrain.reporting.clip_explanations import spread
from medtrain.reporting.heat_figures import PAPER, heated, in_colour
from medtrain.reporting.html_report.images_section import Gallery, Picture
from medtrain.reporting.html_report.run_facts import RunFacts
from medtrain.reporting.shown_cases import Case, cases_of
from medtrain.runs.checkpoint_manifest import newest_manifest
from medtrain.shards import mixture
from medtrain.shards.index import ShardIndex

SIDE = 176  # pixels of a picture
QUALITY = 80
BYTES = 2_500_000  # of all pictures: the page stays below 5 MB, in base64 and with its curves


def gallery_of(facts_of: RunFacts) -> Gallery:
    """The pictures of a run's page; InputError where its scores or its shards are not there any more."""
    run, table = facts_of.run, read_scores(facts_of.run.report.with_suffix(".csv"))
    opened = load_best_model(run)
    mixture.ensure_same_shards(opened.own, newest_manifest(run.checkpoints), run.name)
    index = mixture.open_split(opened.config.data, facts_of.split)
    places = {key.decode(): place for place, key in enumerate(index.samples["key"].tolist())}
    pictures = _Pictures(opened, index)
    groups: dict[str, list[Picture]] = {}
    left = 0
    for title, cases in cases_of(facts_of.task, table, facts_of.report).items():
        groups[title] = []
        for case in cases:
            place = places.get(str(table.images[case.row]))
            picture = None if place is None else pictures.of(case, index.samples[place])
            if picture is None:
                left += 1
            else:
                groups[title].append(picture)
    method = f"{PAPER} of {pictures.layer.words}" if pictures.layer else PAPER
    return Gallery(groups, method, left)


class _Pictures:
    """Draws one after the other, as long as there is room."""

    def __init__(self, opened: TrainedModel, index: ShardIndex) -> None:
        self.opened, self.index = opened, index
        self.layers = models.map_layers(opened.config.model, opened.model)
        self.layer: MapLayer | None = None
        self.room = BYTES

    def of(self, case: Case, row: np.void) -> Picture | None:
        """The picture of a row of the index; None where it cannot be read or there is no room for it."""
        try:
            frame, inputs = self._read(row)
        except (ValueError, OSError):
            return None
        self.layer = self.layer or resolving_layer(self.opened.model, self.layers, inputs)
        maps = hires_cam(self.opened.model, self.layer.module, inputs, [case.output], case.against)
        if maps.ndim == 4:  # of a clip the moment in its middle
            frames = np.broadcast_to(frame, (inputs.shape[2], *frame.shape))
            heat = spread(maps, frames)[0, len(frames) // 2]
        else:
            heat = cv2.resize(maps[0], frame.shape[1::-1])
        image, under = _jpeg(in_colour(frame)), _jpeg(heated(frame, heat))
        self.room -= len(image) + len(under)
        return Picture(case.words, image, under) if self.room >= 0 else None

    def _read(self, row: np.void) -> tuple[NDArray[np.uint8], torch.Tensor]:
        """A picture uint8 [H, W] or [H, W, C] as the network sees it, and what the network gets."""
        with self.index.shard_path(int(row["shard"])).open("rb") as file:
            if self.index.clips is None:
                data = os.pread(file.fileno(), int(row["size"]), int(row["offset"]))
                pixels = decode(data, colour=self.opened.rgb)
                return self.opened.fitted([pixels])[0], self.opened.inputs([pixels])
            count = int(row["frames"])
            frames = clip_tiff.read(file.fileno(), int(row["offset"]), count, self.index.clips, np.arange(count))
        seen = self.opened.seen(Clip(frames, float(row["frame_ms"])), 1)
        return seen[0, seen.shape[1] // 2], self.opened.normalised(seen)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    how = cv2.INTER_AREA if picture.shape[0] > SIDE else cv2.INTER_CUBIC
    sized = cv2.resize(np.ascontiguousarray(picture[..., ::-1]), (SIDE, SIDE), interpolation=how)
    grey = sized[..., 0] if (np.ptp(sized, axis=2) == 0).all() else sized
    return cv2.imencode(".jpg", grey, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].tobytes()
