"""imaging.video: headers, frames asked for, containers, memory; and a real clip."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
import simplejpeg
from clip_files import (
    decoded,
    dicom_clip,
    encoded_frames,
    gradients,
    grey,
    reason,
    region,
    save,
    save_compressed,
    save_encoded,
    save_video,
)
from dicom_files import as_bytes
from places import RECORDED
from pydicom.data import get_testdata_file
from pydicom.uid import (
    JPEGBaseline8Bit,
    RLELossless,
)

from medtrain.imaging.video import reader

REAL = Path(get_testdata_file("examples_ybr_color.dcm"))


def test_the_real_clip() -> None:
    header = reader.header(REAL)
    assert (header.frames, header.height, header.width) == (30, 240, 320)
    assert header.frame_ms == pytest.approx(33.333)
    assert header.colour == "YBR_FULL_422" and header.regions == (reader.Region(84, 31, 595, 414, 1, 1),)
    assert header.patient and header.study
    frames = decoded(REAL)
    assert frames.shape == (30, 240, 320, 3) and frames.dtype == np.uint8
    means = frames.mean((0, 1, 2))
    assert np.ptp(means) < 1 and 9 < means.min() < 12, "grey on black; of YBR two means are 128"
    reference = pydicom.dcmread(REAL).pixel_array.astype(int)
    assert np.abs(frames - reference).mean() < 0.5, "another inverse transform, the same colours"


def test_only_the_frames_asked_for_are_decoded(tmp_path: Path) -> None:
    """The others are rubbish, which decoding would find."""
    rgb = gradients(6)
    encoded = [simplejpeg.encode_jpeg(frame, 95) if n in (1, 4) else b"\xff\xd8 rubbish \xff\xd9"
               for n, frame in enumerate(rgb)]  # fmt: skip
    path = save_encoded(dicom_clip(rgb, "YBR_FULL_422"), tmp_path / "clip.dcm", encoded, JPEGBaseline8Bit)
    assert np.abs(decoded(path, [1, 4]).astype(int) - rgb[[1, 4]]).max() <= 8
    assert list(reader.frames(path, [])) == []
    assert reason(path) == "frame 1 of 6 is damaged"


TIMES: list[tuple[dict[str, Any], float]] = [
    ({"FrameTime": "33.333"}, 33.333),
    ({"FrameTime": None, "FrameTimeVector": [0, 20, 21, 20, 90], "FrameIncrementPointer": 0x00181065}, 20.5),
    ({"FrameTime": "50", "FrameTimeVector": [0, 20, 20], "FrameIncrementPointer": 0x00181065}, 20),
    ({"FrameTime": "50", "FrameTimeVector": [0, 20, 20]}, 50),
    ({"FrameTime": "0", "CineRate": "50"}, 20),
    ({"FrameTime": None, "FrameIncrementPointer": None, "RecommendedDisplayFrameRate": "25"}, 40),
    ({"FrameTime": "0"}, 0),
    ({"FrameTime": "-33"}, 0),
    ({"FrameTime": "0.03"}, 0),  # in seconds
    ({"FrameTime": "33333"}, 0),  # in microseconds
    ({"FrameTime": "2000", "CineRate": "0", "RecommendedDisplayFrameRate": "0"}, 0),
    ({"FrameTime": None, "FrameTimeVector": [0], "FrameIncrementPointer": 0x00181065}, 0),
]


@pytest.mark.parametrize(("told", "expected"), TIMES)
def test_frame_times(told: dict[str, Any], expected: float, tmp_path: Path) -> None:
    made = dicom_clip(gradients(5))
    for name, value in told.items():
        setattr(made, name, value)
    assert reader.header(save(made, tmp_path / "clip.dcm")).frame_ms == pytest.approx(expected)


def test_an_unreadable_frame_time_counts_as_not_told(tmp_path: Path) -> None:
    data = as_bytes(dicom_clip(gradients(), FrameTime="40"))
    path = tmp_path / "clip.dcm"
    for wrong in (b"xx", b"na"):
        path.write_bytes(data.replace(b"DS\x02\x0040", b"DS\x02\x00" + wrong))
        assert reader.header(path).frame_ms == 0


def test_the_header_tells_who_and_where(tmp_path: Path) -> None:
    regions = [region(3, 2, 30, 20), region(1, 1, 2, 2, 3, 2), pydicom.Dataset()]
    header = reader.header(save(dicom_clip(gradients(), SequenceOfUltrasoundRegions=regions), tmp_path / "clip.dcm"))
    assert header.regions == (reader.Region(3, 2, 30, 20, 1, 1), reader.Region(1, 1, 2, 2, 3, 2))
    assert (header.patient, header.study) == ("DRAWN-ID", "1.2.3.4")
    anonymous = dicom_clip(gradients())
    del anonymous.PatientID, anonymous.StudyInstanceUID
    header = reader.header(save(anonymous, tmp_path / "clip.dcm"))
    assert (header.patient, header.study, header.regions) == ("", "", ())


VIDEOS = [("clip.mp4", "mp4v"), ("clip.mp4", "vp09"), ("clip.avi", "MJPG"), ("clip.avi", "XVID"), ("clip.avi", "FFV1")]


@pytest.mark.parametrize(("name", "codec"), VIDEOS)
def test_videos(name: str, codec: str, tmp_path: Path) -> None:
    clip = gradients(40, 64, 80)
    path = save_video(tmp_path / name, clip, codec)
    header = reader.header(path)
    assert (header.frames, header.height, header.width) == (40, 64, 80)
    assert header.frame_ms == pytest.approx(40) and header.colour
    assert (header.patient, header.study, header.regions) == ("", "", ())
    frames = decoded(path)
    assert frames.shape == clip.shape and np.abs(frames.astype(int) - clip).mean() < 4
    np.testing.assert_array_equal(decoded(path, [0, 7, 39]), frames[[0, 7, 39]])


@pytest.mark.parametrize("name", ["h264.mp4", "h265.mp4"])
def test_codecs_of_other_encoders(name: str) -> None:
    """`gradients(40, 64, 80)` by libx264 and libx265, with frames that are stored in another order than they are seen;
    OpenCV has no such encoders."""
    clip, path = gradients(40, 64, 80), RECORDED / name
    assert (reader.header(path).frames, reader.header(path).frame_ms) == (40, pytest.approx(40))
    frames = decoded(path).astype(int)
    assert max(np.abs(frame - drawn).mean() for frame, drawn in zip(frames, clip, strict=True)) < 2.5
    np.testing.assert_array_equal(decoded(path, [0, 7, 39]), frames[[0, 7, 39]])


def test_grey_and_odd_rates(tmp_path: Path) -> None:
    clip = grey(gradients(12, 64, 80)[..., 0])
    path = save_video(tmp_path / "clip.avi", clip, "MJPG", 0.5)
    assert reader.header(path).frame_ms == 0, "two seconds"
    frames = decoded(path)
    assert np.abs(frames.astype(int) - clip).mean() < 2 and np.ptp(frames, 3).max() <= 4


@pytest.mark.parametrize("codec", ["MJPG", "XVID", "FFV1"])
def test_a_truncated_avi_says_how_many_frames_it_has(codec: str, tmp_path: Path) -> None:
    """Its header stands first and stays."""
    path = save_video(tmp_path / "clip.avi", gradients(40, 128, 160), codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert reader.header(path).frames == 40
    found = re.fullmatch(r"truncated or damaged video: (\d+) of 40 frames can be decoded", reason(path))
    assert found and 10 < int(found.group(1)) < 35


def test_a_truncated_mp4_cannot_be_opened(tmp_path: Path) -> None:
    """Its index stands last."""
    path = save_video(tmp_path / "clip.mp4", gradients(40, 64, 80), "mp4v")
    path.write_bytes(path.read_bytes()[:-2000])
    assert reason(path) == "truncated or damaged video: its index cannot be read"


def test_a_damaged_frame_of_motion_jpeg(tmp_path: Path) -> None:
    path = save_video(tmp_path / "clip.avi", gradients(40, 64, 80), "MJPG")
    data = bytearray(path.read_bytes())
    at = data.find(b"\xff\xd8", len(data) // 2)
    data[at + 700 : at + 760] = bytes(60)
    path.write_bytes(data)
    assert reason(path).endswith(" of 40 is damaged")


def test_an_edit_list_hides_no_frame(tmp_path: Path) -> None:
    path = save_video(tmp_path / "clip.mp4", gradients(40, 64, 80), "mp4v")
    data = bytearray(path.read_bytes())
    at, clock = data.index(b"elst"), data.index(b"mdhd")
    (a_second,) = struct.unpack(">I", data[clock + 16 : clock + 20])
    data[at + 16 : at + 20] = struct.pack(">i", a_second // 25 * 10)  # it begins with the eleventh frame
    path.write_bytes(data)
    assert len(decoded(path)) == 40


def test_a_video_of_one_frame_or_none(tmp_path: Path) -> None:
    path = save_video(tmp_path / "clip.mp4", gradients(1, 64, 80), "mp4v")
    assert reason(path) == "a still image of one frame, not a clip"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25, (80, 64))
    writer.release()
    assert "video" in reason(path)


@pytest.mark.parametrize("kind", ["native", "RLE"])
def test_one_frame_at_a_time_is_in_memory(kind: str, tmp_path: Path) -> None:
    """2,000 frames of 480 x 640 in colour, 1.8 GB (the file is sparse); and noise in RLE, 55 MB."""
    frame, count = 480 * 640 * 3, 2000 if kind == "native" else 60
    made = dicom_clip(np.zeros((1, 480, 640, 3), np.uint8), NumberOfFrames=count)
    path = tmp_path / "clip.dcm"
    if kind == "native":
        data = as_bytes(made)[: -frame - 4] + struct.pack("<L", frame * count)
        path.write_bytes(data)
        os.truncate(path, len(data) + frame * count)
    else:
        noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
        one = save_compressed(dicom_clip(np.stack([noise, noise])), tmp_path / "two.dcm", "RLE")
        save_encoded(made, path, [encoded_frames(one)[0]] * count, RLELossless)
    code = (
        "import re, sys\nfrom pathlib import Path\nfrom medtrain.imaging.video import reader\n"
        "def most(): return re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text()).group(1)\n"
        "path = Path(sys.argv[1])\nnext(reader.frames(path))\nbefore = most()\n"
        "print(sum(1 for _ in reader.frames(path, range(0, reader.header(path).frames, 10))), before, most())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    read, before, after = map(int, done.stdout.split())
    assert read == count / 10 and before < 200_000 and after - before < 12_000, f"{before} kB, {after} kB"
