"""loading.clip_sampling: which frames of a clip are seen, and that all of them are changed alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medtrain.config.schema import AugmentConfig
from medtrain.imaging.video.clip_tiff import Shape
from medtrain.loading.clip_sampling import ClipSetup, Drawn, part_of_clip, positions, window

CLIP = ClipSetup(Shape(16, 1), frames=32, stride=2, fps=0.0, windows=1)
ALL = AugmentConfig(
    rotate_deg=5, rotate_p=1, zoom_min=0.95, zoom_max=1.05, zoom_p=1, shift=0.05, shift_p=1, brightness=0.1,
    contrast=0.1, brightness_contrast_p=1, speckle=0.02, speckle_p=1, crop_time_min=0.9, crop_time_p=1,
    mask_time=0.1, mask_time_p=1,
)  # fmt: skip


def drawn(config: AugmentConfig, count: int = 200) -> Drawn:
    return Drawn.of(config, 7, 3, np.arange(count))


def test_really_32_frames_at_stride_2() -> None:
    """63 frames of the clip are spanned; the public script took 16."""
    found = positions(CLIP, frames=100, frame_ms=20, start=0.0)
    assert found.tolist() == list(range(0, 64, 2))
    last = positions(CLIP, frames=100, frame_ms=20, start=np.nextafter(1, 0))
    assert last.tolist() == list(range(37, 100, 2))


@pytest.mark.parametrize("frames", [2, 5, 30, 62])
def test_a_short_clip_goes_round(frames: int) -> None:
    found = positions(CLIP, frames, frame_ms=0, start=0.0)
    assert found.tolist() == [i * 2 % frames for i in range(32)]
    assert positions(CLIP, frames, 0, start=0.999).min() >= 0


def test_frame_rates_are_brought_to_one() -> None:
    """At 30 fps every second frame of a clip of 60: the same moments of two clips of one heart."""
    clip = replace(CLIP, frames=8, stride=1, fps=30.0)
    assert positions(clip, 100, frame_ms=1000 / 60, start=0).tolist() == list(range(0, 16, 2))
    assert positions(clip, 100, frame_ms=1000 / 30, start=0).tolist() == list(range(8))
    assert positions(clip, 100, frame_ms=1000 / 20, start=0).tolist() == [0, 1, 1, 2, 3, 3, 4, 5]
    unknown = positions(clip, 100, frame_ms=0, start=0)
    assert unknown.tolist() == list(range(8)), "30 frames a second where nobody tells"


def test_windows_are_spread_evenly() -> None:
    clip = replace(CLIP, frames=10, stride=1, windows=5)
    starts = [int(window(clip, 50, 0, number)[0]) for number in range(5)]
    assert starts == [4, 12, 20, 28, 36]
    assert window(replace(clip, windows=1), 50, 0, 0)[0] == 20, "one is in the middle"


def test_temporal_crop() -> None:
    parts = [part_of_clip(ALL, 100, row) for row in drawn(ALL).time[:, 1:4]]
    counts = [count for _, count in parts]
    assert min(counts) >= 90 and max(counts) <= 100 and len(set(counts)) > 5
    assert all(first + count <= 100 for first, count in parts)
    never = replace(ALL, crop_time_p=0.0)
    assert {part_of_clip(never, 100, row) for row in drawn(never).time[:, 1:4]} == {(0, 100)}


def test_all_frames_are_changed_alike() -> None:
    """A clip of 20 equal frames: without noise and mask they are equal afterwards, and not what they were."""
    config = replace(ALL, speckle=0.0, mask_time=0.0)
    picture = np.random.default_rng(1).integers(0, 256, (48, 48, 3), np.uint8)
    frames, out = np.repeat(picture[None], 20, 0), np.empty((20, 32, 32, 3), np.uint8)
    drawn(config).change(4, frames, out)
    assert (out == out[0]).all() and out.std() > 10
    again = np.empty_like(out)
    drawn(config).change(4, frames, again)
    assert np.array_equal(out, again)
    drawn(config).change(5, frames, again)
    assert not np.array_equal(out, again)


def test_nothing_asked_changes_nothing() -> None:
    frames = np.random.default_rng(2).integers(0, 256, (6, 24, 24, 1), np.uint8)
    out = np.empty_like(frames)
    drawn(AugmentConfig()).change(0, frames, out)
    assert np.array_equal(out, frames)


def test_noise_and_mask() -> None:
    frames = np.full((20, 40, 40, 1), 200, np.uint8)
    noise, out = drawn(AugmentConfig(speckle=0.02, speckle_p=1)), np.empty_like(frames)
    deviations = []
    for i in range(30):
        noise.change(i, frames, out)
        deviations.append(out.std() / 200)
        assert abs(out.mean() - 200) < 1
    assert max(deviations) < 0.022 and min(deviations) < 0.008 < np.median(deviations)
    assert not np.array_equal(out[0], out[1]), "each frame has noise of its own"
    black = np.zeros_like(frames)
    noise.change(0, black, out)
    assert not out.any(), "speckle multiplies: what is black stays black"

    masks = drawn(AugmentConfig(mask_time=0.1, mask_time_p=1))
    firsts = set()
    for i in range(50):
        masks.change(i, frames, out)
        gone = np.flatnonzero(~out.any((1, 2, 3)))
        assert len(gone) == 2 and gone[1] == gone[0] + 1
        firsts.add(int(gone[0]))
    assert len(firsts) > 10


def test_probabilities() -> None:
    config = replace(ALL, mask_time_p=0.3, speckle_p=0.6)
    draws = drawn(config, 4000)
    assert np.mean(draws.time[:, 4] < config.mask_time_p) == pytest.approx(0.3, abs=0.03)
    assert np.mean(draws.speckle[:, 0] < config.speckle_p) == pytest.approx(0.6, abs=0.03)
