"""Image augmentation: all geometry composed into one affine map and applied in one warp."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from medtrain.config import AugmentConfig
from medtrain.order import uniform

Images = npt.NDArray[np.uint8]


def linear_maps(
    config: AugmentConfig, seed: int, epoch: int, samples: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """[B, 2, 2] maps from output to input directions (flip, rotation, zoom), one a sample, keyed by the sample."""
    draw = uniform(seed, epoch, samples, 5).T
    angle = np.deg2rad(config.rotate_deg) * (2 * draw[0] - 1) * (draw[1] < config.rotate_p)
    flip = np.where(draw[2] < config.flip_p, -1.0, 1.0)
    zoom = np.where(draw[3] < config.zoom_p, config.zoom_min + (config.zoom_max - config.zoom_min) * draw[4], 1.0)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    return np.stack([np.stack([cos * flip, -sin], -1), np.stack([sin * flip, cos], -1)], -2)


def warp(image: Images, linear: list[list[float]], out: Images) -> None:
    """Fill `out` [H, W] from `image` [h, w], scaled to its size, turned about the centre by `linear` [2, 2].

    Bilinear; beyond the border the edge pixel is repeated. An image more than twice as large as `out` is first
    shrunk by areas, because a bilinear warp would skip pixels.
    """
    height, width = out.shape
    (a, b), (c, d) = linear
    if image.shape[0] > 2 * height or image.shape[1] > 2 * width:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if b == c == 0 and abs(a) == d == 1:  # at most a flip: the same pixels for a fraction of a warp
        if image.shape != out.shape:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
        out[...] = image[:, :: int(a)]
        return
    rows, columns = image.shape
    sx, sy = columns / width, rows / height
    x, y = (width - 1) / 2, (height - 1) / 2
    matrix = np.array(
        [
            [sx * a, sx * b, (columns - 1) / 2 - sx * (a * x + b * y)],
            [sy * c, sy * d, (rows - 1) / 2 - sy * (c * x + d * y)],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(image, matrix, (width, height), dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def fit(image: Images, out: Images) -> None:
    """Fill `out` [H, W] with `image` [h, w], resized by areas where it shrinks and bilinearly where it grows."""
    if image.shape == out.shape:
        out[...] = image
        return
    shrinks = image.shape[0] >= out.shape[0] and image.shape[1] >= out.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    cv2.resize(image, out.shape[::-1], dst=out, interpolation=interpolation)
