"""Image augmentation: all geometry composed into one affine map and applied in one warp."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from medtrain.config import AugmentConfig
from medtrain.order import uniform

Images = npt.NDArray[np.uint8]
WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def linear_maps(
    config: AugmentConfig, seed: int, epoch: int, samples: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """[B, 2, 2] maps from output to input directions (flip, rotation, zoom), one a sample, keyed by the sample."""
    draw = uniform(seed, epoch, samples, 5).T
    angle = np.deg2rad(config.rotate_deg) * (2 * draw[0] - 1) * (draw[1] < config.rotate_p)
    flip = np.where(draw[2] < config.flip_p, -1.0, 1.0)
    zoom = np.where(draw[3] < config.zoom_p, config.zoom_min + (config.zoom_max - config.zoom_min) * draw[4], 1.0)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    maps = np.empty((len(samples), 2, 2))
    maps[:, 0, 0], maps[:, 0, 1] = cos * flip, -sin
    maps[:, 1, 0], maps[:, 1, 1] = sin * flip, cos
    return maps


def warp(images: Sequence[Images], linear: npt.NDArray[np.float64], out: Images) -> None:
    """Fill `out` [B, H, W] from B images [h, w], scaled to its size, turned about the centre by `linear` [B, 2, 2].

    Bilinear; beyond the border the edge pixel is repeated. An image more than twice as large as `out` is first
    shrunk by areas, because a bilinear warp would skip pixels.
    """
    height, width = out.shape[1:]
    size = (width, height)
    shapes = np.array([image.shape for image in images]).reshape(-1, 2)
    if (shapes > (2 * height, 2 * width)).any():
        images = [_shrunk(image, height, width) for image in images]
        shapes = np.array([image.shape for image in images])
    sizes = shapes[:, ::-1]  # x before y, as OpenCV has it
    matrices = np.empty((len(images), 2, 3))
    matrices[:, :, :2] = linear * (sizes / size)[:, :, None]
    matrices[:, :, 2] = (sizes - 1) / 2 - matrices[:, :, :2] @ ((width - 1) / 2, (height - 1) / 2)
    only_flip = (abs(linear) == np.eye(2)).all((1, 2)) & (linear[:, 1, 1] == 1)
    steps = (linear[:, 0, 0] * only_flip).astype(int).tolist()
    for image, matrix, step, pixels in zip(images, matrices, steps, out, strict=True):
        if step:  # the same pixels for a fraction of a warp
            _fit(image[:, ::step], pixels)
        else:
            cv2.warpAffine(image, matrix, size, pixels, WARP, cv2.BORDER_REPLICATE)


def fit(images: Sequence[Images], out: Images) -> None:
    """Fill `out` [B, H, W] with B images [h, w]: what `warp` makes of those that are neither turned nor zoomed."""
    for image, pixels in zip(images, out, strict=True):
        _fit(image, pixels)


def _fit(image: Images, pixels: Images) -> None:
    if image.shape == pixels.shape:
        pixels[...] = image
    else:
        cv2.resize(_shrunk(image, *pixels.shape), pixels.shape[::-1], pixels, interpolation=cv2.INTER_LINEAR)


def _shrunk(image: Images, height: int, width: int) -> Images:
    if image.shape[0] <= 2 * height and image.shape[1] <= 2 * width:
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
