"""imaging.video.sector: burned-in text of every kind never survives, and the heart always does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from clip_files import beating, dicom_clip, fan, region, save, save_encoded, save_video, write
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGBaseline8Bit

from medtrain.imaging.video import reader
from medtrain.imaging.video.sector import Sector, find_sector

NAMES = [("DRAWN^NAME 1970-01-01", 0.02, 0.06), ("DRAWN HOSPITAL", 0.02, 0.12), ("ID 12345", 0.02, 0.97)]
MARGINS = [("DRAWN^NAME", 0.78, 0.1 + 0.05 * line) for line in range(8)]
MARGINS += [("DRAWN HOSPITAL", 0.01, 0.18 + 0.04 * line) for line in range(4)]
CLOCKS = [("", 0.66, 0.2), ("HR", 0.74, 0.02), ("", 0.05, 0.4), ("", 0.4, 0.99)]


def as_native(clip: np.ndarray, folder: Path) -> Path:
    return save(dicom_clip(clip), folder / "clip.dcm")


def as_jpeg(clip: np.ndarray, folder: Path) -> Path:
    encoded = [simplejpeg.encode_jpeg(frame, 60, "RGB", "422") for frame in clip]
    return save_encoded(dicom_clip(clip, "YBR_FULL_422"), folder / "clip.dcm", encoded, JPEGBaseline8Bit)


def as_mp4(clip: np.ndarray, folder: Path) -> Path:
    return save_video(folder / "clip.mp4", clip, "mp4v")


def as_avi(clip: np.ndarray, folder: Path) -> Path:
    return save_video(folder / "clip.avi", clip, "MJPG")


def found(path: Path) -> tuple[Sector, np.ndarray]:
    """The sector, and as bool [H, W] of the frame."""
    header = reader.header(path)
    sector = find_sector(path, header)
    x0, y0, x1, y1 = sector.box
    assert sector.mask.shape == (y1 - y0 + 1, x1 - x0 + 1) and set(np.unique(sector.mask)) <= {0, 1}
    inside = np.zeros((header.height, header.width), bool)
    inside[y0 : y1 + 1, x0 : x1 + 1] = sector.mask
    return sector, inside


def kept(inside: np.ndarray, of: np.ndarray) -> float:
    """The share of an area that lies in the sector."""
    return float((inside & of).sum() / of.sum())


@pytest.mark.parametrize("stored", [as_native, as_jpeg, as_mp4, as_avi])
@pytest.mark.parametrize(
    "kind",
    [{}, {"brightest": 30}, {"noise": 2.0}, {"noise": 5.0, "brightest": 80}, {"doppler": True},
     {"height": 480, "width": 640, "frames": 12}],
    ids=["plain", "dark", "noise", "dark and noise", "colour Doppler", "large"],
)  # fmt: skip
def test_the_heart_stays_and_text_goes(kind: dict[str, Any], stored: Callable[[np.ndarray, Path], Path],
                                       tmp_path: Path) -> None:  # fmt: skip
    clip = beating(**kind)
    ink = write(clip, NAMES + MARGINS) | write(clip, CLOCKS, running=True)
    assert not (ink & fan(*clip.shape[1:3])).any(), "else this asks too much"
    sector, inside = found(stored(clip, tmp_path))
    assert not (inside & ink).any(), f"{(inside & ink).sum()} pixels of text"
    heart = fan(*clip.shape[1:3])
    assert kept(inside, heart) > 0.97 and (inside & ~heart).sum() < 0.15 * heart.sum()
    x0, y0, x1, y1 = sector.box
    frame = clip[3]
    cut = sector.cut(frame)
    assert cut.dtype == np.uint8 and cut.shape == (y1 - y0 + 1, x1 - x0 + 1, 3)
    assert not cut[sector.mask == 0].any()
    np.testing.assert_array_equal(cut[sector.mask == 1], frame[y0 : y1 + 1, x0 : x1 + 1][sector.mask == 1])


def trace(clip: np.ndarray) -> np.ndarray:
    """An ECG that scrolls below the sector; bool [H, W], where it was."""
    count, height, width = clip.shape[:3]
    band = np.zeros((height, width), bool)
    for t in range(count):
        phase = (np.arange(width) - 3 * t) % (width // 4)
        rows = (0.96 * height - np.where(phase < 6, 0.03 * height * (1 - abs(phase - 3) / 3), 0)).astype(int)
        for across, row in enumerate(rows):
            clip[t, row - 1 : row + 1, across] = (0, 255, 0)
            band[row - 1 : row + 1, across] = True
    return band


@pytest.mark.parametrize("stored", [as_native, as_mp4])
def test_an_ecg_is_not_tied_to_the_heart(stored: Callable[[np.ndarray, Path], Path], tmp_path: Path) -> None:
    clip = beating()
    band = trace(clip)
    corners = write(clip, [("DRAWN^NAME", 0.01, 0.88), ("1970-01-01", 0.78, 0.88)])
    _, inside = found(stored(clip, tmp_path))
    assert kept(inside, band) < 0.02 and not (inside & corners).any()
    assert kept(inside, fan(*clip.shape[1:3])) > 0.97


def test_text_inside_the_region_goes_too(tmp_path: Path) -> None:
    """The region's box holds the sector's empty corners."""
    clip = beating()
    ink = write(clip, [("DRAWN^NAME", 0.12, 0.2)]) | write(clip, [("", 0.68, 0.25)], running=True)
    made = dicom_clip(clip, SequenceOfUltrasoundRegions=[region(30, 15, 290, 225)])
    _, inside = found(save(made, tmp_path / "clip.dcm"))
    assert not (inside & ink).any() and kept(inside, fan(240, 320)) > 0.97


def test_what_moves_outside_of_the_region_does_not_count(tmp_path: Path) -> None:
    """A second heart, the larger one, beside the region; and regions of other kinds say nothing."""
    clip = np.concatenate([beating(height=120, width=160), np.zeros((24, 120, 200, 3), np.uint8)], 2)
    clip = np.concatenate([clip, np.concatenate([np.zeros((24, 240, 40, 3), np.uint8), beating()], 2)], 1)
    others = [region(0, 120, 359, 359, data_type=3), region(0, 120, 359, 359, spatial_format=3)]
    made = dicom_clip(clip, SequenceOfUltrasoundRegions=[*others, region(0, 0, 159, 119)])
    sector, _ = found(save(made, tmp_path / "clip.dcm"))
    assert sector.box[2] < 160 and sector.box[3] < 120
    del made.SequenceOfUltrasoundRegions
    sector, _ = found(save(made, tmp_path / "clip.dcm"))
    assert sector.box[1] >= 120, "the largest of all"


def test_of_two_planes_the_larger_is_taken(tmp_path: Path) -> None:
    """Biplane: their regions touch, and so do the sectors; the first region does not move at all."""
    clip = np.concatenate([beating(height=200, width=160), beating(height=240, width=320)[:, 40:]], 2)
    regions = [region(0, 0, 3, 3), region(0, 0, 159, 199), region(160, 0, 479, 199)]
    sector, inside = found(save(dicom_clip(clip, SequenceOfUltrasoundRegions=regions), tmp_path / "clip.dcm"))
    assert sector.box[0] >= 160 and kept(inside[:, 160:], fan(240, 320)[40:]) > 0.95


@pytest.mark.parametrize("box", [(84, 31, 595, 414), (300, 20, 40, 200), (100, 50, 100, 200), (0, 0, 320, 239)])
def test_a_region_that_does_not_fit_is_ignored(box: tuple[int, int, int, int], tmp_path: Path) -> None:
    clip = beating()
    free, _ = found(as_native(clip, tmp_path))
    bound, _ = found(save(dicom_clip(clip, SequenceOfUltrasoundRegions=[region(*box)]), tmp_path / "clip.dcm"))
    assert bound.box == free.box and (bound.mask == free.mask).all()


@pytest.mark.parametrize("size", [(112, 112), (64, 80)])
def test_small_clips(size: tuple[int, int], tmp_path: Path) -> None:
    """Of EchoNet's size, already cut to the sector."""
    _, inside = found(as_avi(beating(24, *size), tmp_path))
    assert kept(inside, fan(*size)) > 0.97


def test_a_clip_that_is_all_sector(tmp_path: Path) -> None:
    """As a linear probe gives it: nothing stands still."""
    clip = np.ascontiguousarray(beating()[:, 120:200, 120:200])
    _, inside = found(as_avi(clip, tmp_path))
    assert inside.mean() > 0.9


@pytest.mark.parametrize("stored", [as_native, as_jpeg, as_mp4])
def test_nothing_moves(stored: Callable[[np.ndarray, Path], Path], tmp_path: Path) -> None:
    """Frozen, but for a clock: the clock is not the sector."""
    clip = np.repeat(beating(1), 20, 0)
    write(clip, NAMES)
    write(clip, CLOCKS, running=True)
    path = stored(clip, tmp_path)
    with pytest.raises(ValueError, match="nothing moves in it"):
        find_sector(path, reader.header(path))


def test_a_long_clip_is_seen_to_its_end(tmp_path: Path) -> None:
    """It moves in its last third alone, and 64 of its frames are looked at."""
    beats = beating(20, 120, 160)
    clip = np.concatenate([np.repeat(beats[:1], 180, 0), *[beats] * 4])
    _, inside = found(as_avi(clip, tmp_path))
    assert kept(inside, fan(120, 160)) > 0.95


def test_the_real_clip() -> None:
    """Its region does not fit; it moves in rows 22 to 201 and columns 47 to 303, faintly at its sides and its top."""
    path = Path(get_testdata_file("examples_ybr_color.dcm"))
    sector, inside = found(path)
    x0, y0, x1, y1 = sector.box
    assert 40 <= x0 < 80 and 20 <= y0 < 45 and 260 < x1 <= 305 and 195 < y1 <= 205
    frames = np.stack(list(reader.frames(path)))
    still = (np.ptp(frames, 0).max(-1) == 0) & (frames[0].max(-1) > 60)  # the letters round it
    assert still.sum() > 500 and kept(inside, still) < 0.02
    bright = np.ptp(frames, 0).max(-1) > 20
    assert kept(inside, bright) > 0.97
