"""Image augmentation: all geometry in one warp, then light, then black rectangles; each draw keyed by the sample."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from medtrain.config.schema import AugmentConfig
from medtrain.core.counter_rng import uniform

Images = npt.NDArray[np.uint8]
WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def augment(
    config: AugmentConfig,
    seed: int,
    epoch: int,
    samples: npt.NDArray[np.int64],
    images: Sequence[Images],
    out: Images,
) -> None:
    """Fill `out` [B, H, W] with B images [h, w], changed by what `config` asks for and the samples' draws give. In RGB,
    here and below, all have three channels last."""
    moved = shifts(config, seed, epoch, samples) if config.shift else None
    warp(images, linear_maps(config, seed, epoch, samples), out, moved)
    if config.brightness or config.contrast:
        relight(config, uniform(seed, epoch, samples, 3, "light"), out)
    if config.coarse_dropout:
        coarse_dropout(config, uniform(seed, epoch, samples, 2 + 4 * config.coarse_dropout, "erase"), out)


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


def shifts(config: AugmentConfig, seed: int, epoch: int, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """[B, 2] shares of the side by which the picture moves to the right and down."""
    draw = uniform(seed, epoch, samples, 3, "shift")
    return config.shift * (2 * draw[:, :2] - 1) * (draw[:, 2:] < config.shift_p)


def warp(
    images: Sequence[Images],
    linear: npt.NDArray[np.float64],
    out: Images,
    moved: npt.NDArray[np.float64] | None = None,
) -> None:
    """Fill `out` [B, H, W] from B images [h, w], scaled to its size, turned about the centre by `linear` [B, 2, 2] and
    moved by `moved` [B, 2] (see `shifts`).

    Bilinear; beyond the border the edge pixel is repeated. An image more than twice as large as `out` is first
    shrunk by areas, because a bilinear warp would skip pixels.
    """
    height, width = out.shape[1:3]
    size = (width, height)
    shapes = np.array([image.shape[:2] for image in images]).reshape(-1, 2)
    if (shapes > (2 * height, 2 * width)).any():
        images = [_shrunk(image, height, width) for image in images]
        shapes = np.array([image.shape[:2] for image in images])
    matrices = warp_matrices(shapes, linear, moved, size)
    only_flip = (abs(linear) == np.eye(2)).all((1, 2)) & (linear[:, 1, 1] == 1)
    if moved is not None:
        only_flip &= (moved == 0).all(1)
    steps = (linear[:, 0, 0] * only_flip).astype(int).tolist()
    for image, matrix, step, pixels in zip(images, matrices, steps, out, strict=True):
        if step:  # the same pixels for a fraction of a warp
            _fit(image[:, ::step], pixels)
        else:
            cv2.warpAffine(image, matrix, size, pixels, WARP, cv2.BORDER_REPLICATE)


def warp_matrices(
    shapes: npt.NDArray[np.int64],
    linear: npt.NDArray[np.float64],
    moved: npt.NDArray[np.float64] | None,
    size: tuple[int, int],
) -> npt.NDArray[np.float64]:
    """[B, 2, 3] maps of pixels of the output, of `size` (width, height), to those of inputs of `shapes` [B, 2] (height,
    width), see `warp`."""
    sizes = shapes[:, ::-1]  # x before y, as OpenCV has it
    width, height = size
    matrices = np.empty((len(shapes), 2, 3))
    matrices[:, :, :2] = linear * (sizes / size)[:, :, None]
    if moved is None:
        matrices[:, :, 2] = (sizes - 1) / 2 - matrices[:, :, :2] @ ((width - 1) / 2, (height - 1) / 2)
    else:
        centres = ((width - 1) / 2, (height - 1) / 2) + moved * size
        matrices[:, :, 2] = (sizes - 1) / 2 - np.einsum("bij,bj->bi", matrices[:, :, :2], centres)
    return matrices


def relight(config: AugmentConfig, draw: npt.NDArray[np.float64], out: Images) -> None:
    """Change contrast about mid-grey and brightness of `out` [B, ...], by draws [B, 3]; what leaves 0..255 is cut."""
    gain = 1 + config.contrast * (2 * draw[:, 0] - 1)
    offset = 255 * config.brightness * (2 * draw[:, 1] - 1)
    for i in np.flatnonzero(draw[:, 2] < config.brightness_contrast_p):
        values = np.clip(np.rint(gain[i] * (np.arange(256) - 127.5) + 127.5 + offset[i]), 0, 255).astype(np.uint8)
        pixels = out[i].reshape(len(out[i]), -1)
        cv2.LUT(pixels, values, pixels)


def coarse_dropout(config: AugmentConfig, draw: npt.NDArray[np.float64], out: Images) -> None:
    """Blacken one to `coarse_dropout` rectangles of `out` [B, H, W], by draws [B, 2 + 4 * coarse_dropout] (DeVries
    and Taylor, 2017)."""
    height, width = out.shape[1:3]
    for i in np.flatnonzero(draw[:, 0] < config.coarse_dropout_p):
        for k in range(1 + int(draw[i, 1] * config.coarse_dropout)):
            y, x, tall, wide = draw[i, 2 + 4 * k : 6 + 4 * k]
            rows, columns = (max(1, round(config.coarse_dropout_side * side)) for side in (height * tall, width * wide))
            top, left = int(y * (height - rows + 1)), int(x * (width - columns + 1))
            out[i, top : top + rows, left : left + columns] = 0


def fit(images: Sequence[Images], out: Images) -> None:
    """Fill `out` [B, H, W] with B images [h, w]: what `warp` makes of those that are neither turned nor zoomed."""
    for image, pixels in zip(images, out, strict=True):
        _fit(image, pixels)


def _fit(image: Images, pixels: Images) -> None:
    if image.shape == pixels.shape:
        pixels[...] = image
    else:
        height, width = pixels.shape[:2]
        cv2.resize(_shrunk(image, height, width), (width, height), pixels, interpolation=cv2.INTER_LINEAR)


def _shrunk(image: Images, height: int, width: int) -> Images:
    if image.shape[0] <= 2 * height and image.shape[1] <= 2 * width:
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
