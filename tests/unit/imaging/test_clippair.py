"""One clip in two versions: each part of the low quality by itself, and memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
from clip_files import beating, dicom_clip, save

from medtrain.imaging.video.degraded_pair import Degradation, Pair, write_pair

ALL = np.ones((64, 64), np.uint8)  # a mask that hides nothing
RNG = np.random.default_rng(0)


def test_blur() -> None:
    point = np.zeros((64, 64), np.uint8)
    point[30, 30] = 255
    weights = np.array([1, 4, 6, 4, 1]) / 16
    seen = Degradation(5, 1, 0).of(point, ALL, RNG)
    assert np.abs(seen[28:33, 28:33] - 255 * np.outer(weights, weights)).max() <= 0.5
    assert np.count_nonzero(seen) == np.count_nonzero(seen[28:33, 28:33])


def test_contrast() -> None:
    ramp = np.arange(4096).reshape(64, 64) // 16
    low = Degradation(1, 0.5, 0).of(ramp.astype(np.uint8), ALL, RNG)
    assert np.abs(low - (127.5 + (ramp - 127.5) / 2)).max() <= 0.5


def test_noise() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    noisy = Degradation(1, 1, 0.1).of(grey, ALL, RNG)
    assert (noisy == noisy[:, :, :1]).all()
    assert abs(noisy[..., 0].mean() - 128) < 2 and abs(noisy[..., 0].std() / 25.5 - 1) < 0.05
    assert not Degradation().of(grey, 0 * ALL, RNG).any(), "outside of the sector it stays black"


def test_a_long_clip_is_never_whole_in_memory(tmp_path: Path) -> None:
    long = dicom_clip(np.tile(beating(12, 240, 320), (10, 1, 1, 1)))
    save(long, tmp_path / "long.dcm")
    size = len(long.PixelData)
    del long
    tracemalloc.start()
    try:
        made = (tmp_path / "a.dcm", tmp_path / "b.dcm")
        assert write_pair(Pair(tmp_path / "long.dcm", made, Degradation(), (0, 2)), {}) == ""
        assert tracemalloc.get_traced_memory()[1] < size / 3
    finally:
        tracemalloc.stop()
        cv2.setNumThreads(-1)
