"""imaging.video.clip_tiff: a clip is a plain TIFF for everybody, and any frame is read alone and checked."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from medtrain.imaging.video import clip_tiff
from medtrain.imaging.video.clip_tiff import DamagedFrame, Shape


def drawn(count: int, shape: Shape) -> np.ndarray:
    """uint8 [count, side, side, channels]."""
    return np.random.default_rng(count).integers(0, 256, (count, shape.side, shape.side, shape.channels), np.uint8)


def written(path: Path, frames: np.ndarray, shape: Shape, before: bytes = b"") -> clip_tiff.Written:
    """A clip behind some other bytes, as in a tar."""
    with path.open("wb") as file:
        file.write(before)
        return clip_tiff.write(file, iter(frames), len(frames), shape)


@pytest.mark.parametrize("shape", [Shape(40, 1), Shape(33, 3)])
def test_other_programs_show_every_frame(tmp_path: Path, shape: Shape) -> None:
    frames = drawn(7, shape)
    told = written(tmp_path / "clip.tif", frames, shape)
    data = (tmp_path / "clip.tif").read_bytes()
    assert told.size == len(data) == shape.file_bytes(7)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 7
        for number, frame in enumerate(frames):
            image.seek(number)
            assert np.array_equal(np.asarray(image).reshape(frame.shape), frame)
    good, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert good and len(pages) == 7
    assert np.array_equal(pages[3].reshape(frames[3].shape)[:, :, ::-1], frames[3])


@pytest.mark.parametrize("shape", [Shape(16, 1), Shape(16, 3)])
def test_statistics(tmp_path: Path, shape: Shape) -> None:
    frames = drawn(5, shape)
    told = written(tmp_path / "clip.tif", frames, shape)
    each = frames.reshape(-1, shape.channels).astype(np.float64)
    times = 3 // shape.channels
    assert told.mean == pytest.approx(each.mean(0).tolist() * times)
    assert told.deviation == pytest.approx(each.std(0).tolist() * times)


def test_any_frames_alone(tmp_path: Path) -> None:
    shape = Shape(24, 3)
    frames, before = drawn(50, shape), b"x" * 777
    written(tmp_path / "some.tar", frames, shape, before)
    with (tmp_path / "some.tar").open("rb") as file:
        for which in ([0], [49], [10, 12, 14], [5, 6, 5, 6], [48, 0, 20]):
            found = clip_tiff.read(file.fileno(), len(before), 50, shape, np.array(which))
            assert np.array_equal(found, frames[which])


def test_damage_is_found_in_the_frames_that_are_asked_for(tmp_path: Path) -> None:
    shape = Shape(24, 1)
    frames = drawn(10, shape)
    written(tmp_path / "clip.tif", frames, shape)
    data = bytearray((tmp_path / "clip.tif").read_bytes())
    data[clip_tiff.HEADER_BYTES + 4 * shape.frame_bytes + 100] ^= 1
    (tmp_path / "clip.tif").write_bytes(data)
    with (tmp_path / "clip.tif").open("rb") as file:
        assert np.array_equal(clip_tiff.read(file.fileno(), 0, 10, shape, np.array([3, 5])), frames[[3, 5]])
        with pytest.raises(DamagedFrame, match="frame 4"):
            clip_tiff.read(file.fileno(), 0, 10, shape, np.array([3, 4]))
    (tmp_path / "clip.tif").write_bytes(data[:-1])
    with (tmp_path / "clip.tif").open("rb") as file, pytest.raises(DamagedFrame, match="cut off"):
        clip_tiff.read(file.fileno(), 0, 10, shape, np.array([9]))


@pytest.mark.parametrize(("told", "reason"), [(9, "there are 8 frames.*has 9"), (7, "more than the 7 frames")])
def test_a_wrong_number_of_frames(tmp_path: Path, told: int, reason: str) -> None:
    shape = Shape(16, 1)
    with (tmp_path / "clip.tif").open("wb") as file, pytest.raises(ValueError, match=reason):
        clip_tiff.write(file, iter(drawn(8, shape)), told, shape)


def test_more_than_a_tiff_can_hold(tmp_path: Path) -> None:
    with (tmp_path / "clip.tif").open("wb") as file, pytest.raises(ValueError, match="more than one TIFF"):
        clip_tiff.write(file, iter(()), 100_000, Shape(224, 3))
