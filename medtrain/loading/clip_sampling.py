"""Which frames of a clip the network sees, and how a training clip is changed: all of its frames alike."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from medtrain.config.schema import AugmentConfig
from medtrain.core.counter_rng import uniform
from medtrain.imaging.video.clip_tiff import Frames, Shape
from medtrain.loading.transforms import WARP, linear_maps, relight, shifts, warp_matrices

Floats = npt.NDArray[np.float64]
FRAME_MS = 1000 / 30  # where a clip does not tell
NOISE_PLACES = 128  # in each direction that the noise of a frame is taken from


@dataclass(frozen=True)
class ClipSetup:
    """What all clips of a loader have in common: how they lie in the shards, and what the network sees of them."""

    shape: Shape
    frames: int
    stride: int
    fps: float
    windows: int  # of each clip, in an evaluation


def positions(
    clip: ClipSetup, frames: int, frame_ms: float, start: float, part: tuple[int, int] | None = None
) -> npt.NDArray[np.int64]:
    """Which of a clip's `frames` are seen, [clip.frames] and always so many: every `stride`-th, of those that there
    would be at `fps` frames a second. `start` in 0..1 places them in the clip, or in `part` (its first frame and its
    number of frames); where they do not fit they go round, beginning at `start`.
    """
    first, count = part or (0, frames)
    step = float(clip.stride)
    if clip.fps:
        step *= 1000 / clip.fps / (frame_ms or FRAME_MS)
    steps = np.rint(np.arange(clip.frames) * step).astype(np.int64)
    free = count - int(steps[-1])
    begin = int(start * (free if free > 0 else count))
    found: npt.NDArray[np.int64] = first + (begin + steps) % count
    return found


def window(clip: ClipSetup, frames: int, frame_ms: float, number: int) -> npt.NDArray[np.int64]:
    """The frames of one of an evaluation's evenly spread windows, as `positions`; a single one is in the middle."""
    return positions(clip, frames, frame_ms, (number + 0.5) / clip.windows)


def part_of_clip(config: AugmentConfig, frames: int, draw: Floats) -> tuple[int, int]:
    """The temporal crop of a clip by draws [3]: its first frame and its number of frames."""
    if draw[0] >= config.crop_time_p:
        return 0, frames
    share = config.crop_time_min + (1 - config.crop_time_min) * draw[1]
    count = max(1, round(share * frames))
    return int(draw[2] * (frames - count + 1)), count


@dataclass(frozen=True)
class Drawn:
    """The draws of some training clips, each keyed by (seed, epoch, draw of the clip)."""

    config: AugmentConfig
    linear: Floats
    moved: Floats
    light: Floats
    time: Floats
    speckle: Floats

    @classmethod
    def of(cls, config: AugmentConfig, seed: int, epoch: int, draws: npt.NDArray[np.int64]) -> Drawn:
        """Those of the clips `draws` [n]."""
        return cls(
            config,
            linear_maps(config, seed, epoch, draws),
            shifts(config, seed, epoch, draws),
            uniform(seed, epoch, draws, 3, "light"),
            uniform(seed, epoch, draws, 6, "time"),
            uniform(seed, epoch, draws, 3, "speckle"),
        )

    def positions(self, i: int, clip: ClipSetup, frames: int, frame_ms: float) -> npt.NDArray[np.int64]:
        """The frames that are seen of the i-th clip."""
        part = part_of_clip(self.config, frames, self.time[i, 1:4])
        return positions(clip, frames, frame_ms, self.time[i, 0], part)

    def change(self, i: int, frames: Frames, out: Frames) -> None:
        """Fill `out` [T, H, W, C] with the i-th clip's frames [T, h, w, C], changed."""
        warp_clip(frames, self.linear[i], self.moved[i], out)
        if self.config.brightness or self.config.contrast:
            relight(self.config, self.light[i : i + 1], out[None])
        if self.speckle[i, 0] < self.config.speckle_p:
            speckle(self.config.speckle * self.speckle[i, 1], self.speckle[i, 2], out)
        if self.time[i, 4] < self.config.mask_time_p:
            mask_time(self.config.mask_time, self.time[i, 5], out)


def warp_clip(frames: Frames, linear: Floats, moved: Floats, out: Frames) -> None:
    """One warp for all frames [T, h, w, C]: `linear` [2, 2] and `moved` [2] as in transforms.warp."""
    size = out.shape[2:0:-1]
    if not moved.any() and np.array_equal(linear, np.eye(2)):
        fit_clip(frames, out)
        return
    matrix = warp_matrices(np.array([frames.shape[1:3]]), linear[None], moved[None], size)[0]
    for frame, pixels in zip(frames, out, strict=True):
        cv2.warpAffine(frame, matrix, size, _flat(pixels), WARP)  # black beyond the border, as outside the sector


def fit_clip(frames: Frames, out: Frames) -> None:
    """Fill `out` [T, H, W, C] with frames [T, h, w, C], scaled where they are larger or smaller."""
    if frames.shape == out.shape:
        out[...] = frames
        return
    how = cv2.INTER_AREA if frames.shape[1] > out.shape[1] else cv2.INTER_LINEAR
    for frame, pixels in zip(frames, out, strict=True):
        cv2.resize(frame, out.shape[2:0:-1], _flat(pixels), interpolation=how)


def _flat(pixels: Frames) -> Frames:
    """[H, W, 1] as OpenCV writes to it: [H, W]."""
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def speckle(deviation: float, place: float, out: Frames) -> None:
    """Multiply each frame of `out` [T, H, W, C] by noise around 1, as ultrasound has it."""
    if not deviation:
        return
    height, width, channels = out.shape[1:]
    noise = _noise(height + NOISE_PLACES, width + NOISE_PLACES)
    places = np.random.default_rng(int(place * 2**53)).integers(0, NOISE_PLACES, (len(out), 2)).tolist()
    for frame, (top, left) in zip(out, places, strict=True):
        gain = 1 + np.float32(deviation) * noise[top : top + height, left : left + width]
        cv2.multiply(frame, cv2.merge([gain] * channels), _flat(frame), dtype=cv2.CV_8U)


@functools.lru_cache(maxsize=2)
def _noise(height: int, width: int) -> npt.NDArray[np.float32]:
    """Standard normal, from which each frame takes another place: drawing anew would cost more than all the rest."""
    return np.random.default_rng(0).standard_normal((height, width), np.float32)


def mask_time(share: float, place: float, out: Frames) -> None:
    """Blacken `share` of the frames of `out` [T, H, W, C], one behind the other."""
    count = round(share * len(out))
    first = int(place * (len(out) - count + 1))
    out[first : first + count] = 0
