"""The clips that are judged wrongly, as a contact sheet: the surest false positives and false negatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.datasets.labels import ABSENT, PRESENT
from medtrain.imaging.video import clip_tiff
from medtrain.imaging.video.clip_tiff import Frames
from medtrain.reporting import plots
from medtrain.shards.index import ShardIndex
from medtrain.tasks import Task

MOST = 8  # of each kind
MOMENTS = 6  # of each clip


def draw_misclassified(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[Any], rows: npt.NDArray[Any], index: ShardIndex, task: Task,
    path: Path,
) -> None:  # fmt: skip
    """The figure of clips with scores [N, 1], labels [N, 1] and `rows` [N] of the index, each with its score and its
    key, by which the table of scores has it. Where nothing is judged wrongly there is no figure."""
    called = np.array([bool(task.decide(row)["present"]) for row in scores], bool)
    false_positive = np.flatnonzero(called & (labels[:, 0] == ABSENT))
    false_negative = np.flatnonzero(~called & (labels[:, 0] == PRESENT))
    surest = {
        "false positive": false_positive[np.argsort(-scores[false_positive, 0], kind="stable")],
        "false negative": false_negative[np.argsort(scores[false_negative, 0], kind="stable")],
    }
    shown = {
        f"{kind} {scores[i, 0]:.3f}\n{rows[i]['key'].decode()}": list(moments(rows[i], index))
        for kind, own in surest.items()
        for i in own[:MOST].tolist()
    }
    if shown:
        plots.sample_grid(shown, path)
    else:
        path.unlink(missing_ok=True)  # of an earlier evaluation


def moments(row: np.void, index: ShardIndex) -> Frames:
    """Evenly spread frames of a packed clip: uint8 [MOMENTS, side, side], in colour [MOMENTS, side, side, 3]."""
    count, shape = int(row["frames"]), index.clips
    if shape is None:
        raise ValueError("an index of images has no clips")
    which = np.linspace(0, count - 1, MOMENTS).round().astype(np.int64)
    with index.shard_path(int(row["shard"])).open("rb") as file:
        frames = clip_tiff.read(file.fileno(), int(row["offset"]), count, shape, which)
    return frames[..., 0] if shape.channels == 1 else frames
