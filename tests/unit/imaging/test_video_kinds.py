"""Videos as ffmpeg writes them: interlaced, coloured by any matrix and range, of more bits, turned, of uneven times.

The truth is what was drawn, the formulas of ITU-T H.273 in floating point, and what Debian's ffmpeg itself decodes.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from clip_files import beating, decoded, reason

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.datasets.record import Record
from medtrain.imaging.video import media_file, reader
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions

HEIGHT, WIDTH, FRAMES = 48, 64, 18
pytestmark = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="!!! ffmpeg is not installed: apt-get install it"
)


def ffmpeg(*arguments: object, pixels: bytes = b"") -> bytes:
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=pixels, capture_output=True, check=True).stdout


def encode(path: Path, clip: np.ndarray, *codec: object, given: str = "rgb24", about: tuple[object, ...] = ()) -> Path:
    """A video of frames [T, H, W, ...] of the pixel format `given`, 25 a second."""
    size = f"{WIDTH}x{HEIGHT}"
    source = ["-f", "rawvideo", "-pix_fmt", given, *about, "-s", size, "-r", 25, "-i", "-"]
    ffmpeg(*source, *codec, *about, path, pixels=clip.tobytes())
    return path


def by_ffmpeg(path: Path, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """All frames in RGB, as the ffmpeg of the system decodes and turns them."""
    by_field = ("-vf", "scale=interl=-1")  # the colours of a frame of two fields from the lines of each
    raw = ffmpeg("-i", path, "-fps_mode", "passthrough", *by_field, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def moving_bar(frames: int = FRAMES) -> np.ndarray:
    """uint8 [T, H, W, 3]: a white bar goes 3 pixels to the right from frame to frame, over colours."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    ground = np.stack([40 + x, 30 + 2 * y, 120 - x], 2).astype(np.uint8)
    clip = np.repeat(ground[None], frames, 0)
    for t, frame in enumerate(clip):
        frame[:, 3 * t : 3 * t + 8] = 255
    return clip


FIELDS = ("-flags", "+ildct+ilme")
KINDS = {
    "H.264": ("mp4", "libx264", ("-pix_fmt", "yuv420p")),
    "H.264 interlaced": ("mp4", "libx264", (*FIELDS, "-x264-params", "tff=1", "-pix_fmt", "yuv420p")),
    "H.264 interlaced, bottom field first": ("mp4", "libx264", (*FIELDS, "-x264-params", "bff=1")),
    "H.265": ("mp4", "libx265", ("-x265-params", "log-level=none")),
    "MPEG-2 interlaced in MP4": ("mp4", "mpeg2video", (*FIELDS, "-q:v", 2)),
    "MPEG-2 interlaced in AVI": ("avi", "mpeg2video", (*FIELDS, "-q:v", 2)),
    "MPEG-4 interlaced in MP4": ("mp4", "mpeg4", (*FIELDS, "-q:v", 2)),
    # Without frames coded from both sides: of those ffmpeg 5.1.9 decodes one wrongly, PyAV's 8.1.2 as it was drawn.
    "MPEG-4 interlaced in AVI": ("avi", "mpeg4", (*FIELDS, "-q:v", 2)),
    "VP9": ("mp4", "libvpx-vp9", ()),
    "HuffYUV": ("avi", "huffyuv", ("-pix_fmt", "yuv422p")),
    "FFV1": ("avi", "ffv1", ("-pix_fmt", "yuv444p")),
    "uncompressed": ("avi", "rawvideo", ("-pix_fmt", "bgr24")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_the_one_that_was_drawn_however_its_lines_are_coded(kind: str, tmp_path: Path) -> None:
    suffix, codec, options = KINDS[kind]
    clip = moving_bar()
    path = encode(tmp_path / f"clip.{suffix}", clip, "-c:v", codec, *options)
    told = reader.header(path)
    assert (told.frames, told.height, told.width, told.frame_ms) == (FRAMES, HEIGHT, WIDTH, pytest.approx(40))
    frames = decoded(path)
    bars = [int((frame[HEIGHT // 2].min(1) > 200).argmax()) for frame in frames]
    assert bars == [3 * t for t in range(FRAMES)], "where the bar begins"
    assert np.abs(frames.astype(int) - by_ffmpeg(path)).max() <= 1
    np.testing.assert_array_equal(decoded(path, [0, 5, 11]), frames[[0, 5, 11]])


def test_dv_is_read_as_it_is_stored(tmp_path: Path) -> None:
    """Always interlaced, 720 x 576."""
    path = tmp_path / "clip.avi"
    source = ["-f", "lavfi", "-i", "testsrc2=size=720x576:rate=25:duration=0.4"]
    ffmpeg(*source, "-c:v", "dvvideo", "-pix_fmt", "yuv420p", path)
    frames = decoded(path)
    assert np.abs(frames.astype(int) - by_ffmpeg(path, 576, 720)).max() <= 1 and len(frames) == 10
    assert all((one != other).any() for one, other in pairwise(frames)), "none is shown twice"


# Red and blue weights of ITU-T H.273, table 4; without a matrix BT.601, as ffmpeg has it.
MATRICES = {"bt470bg": (0.299, 0.114), "smpte170m": (0.299, 0.114), "bt709": (0.2126, 0.0722), "fcc": (0.30, 0.11),
            "smpte240m": (0.212, 0.087), "bt2020nc": (0.2627, 0.0593), "": (0.299, 0.114)}  # fmt: skip


def yuv_of(rgb: np.ndarray, weights: tuple[float, float], full: bool, bits: int) -> np.ndarray:
    """[T, 3, H, W] of `bits`, by equations 38 to 43 of ITU-T H.273 (V4)."""
    red, blue = weights
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    planes = np.stack([y, (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))], 1)
    scale, base = 2 ** (bits - 8), np.reshape([0 if full else 16, 128, 128], (3, 1, 1))
    spans = np.reshape(
        [(2**bits - 1) / scale if full else 219, *[(2**bits - 1) / scale if full else 224] * 2], (3, 1, 1)
    )
    return np.rint((planes * spans + base) * scale).clip(0, 2**bits - 1)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_colours_by_the_matrix_and_range_that_the_stream_states(
    matrix: str, full: bool, bits: int, tmp_path: Path
) -> None:
    """Flat squares, stored without loss and without subsampling: right to a rounding of each conversion."""
    squares = np.random.default_rng(0).integers(0, 256, (3, HEIGHT // 8, WIDTH // 8, 3))
    rgb = np.repeat(np.repeat(squares, 8, 1), 8, 2)
    stored = yuv_of(rgb, MATRICES[matrix], full, bits).astype(np.uint8 if bits == 8 else "<u2")
    about = ("-color_range", "pc" if full else "tv", *(("-colorspace", matrix) if matrix else ()))
    given = "yuv444p" if bits == 8 else "yuv444p10le"
    path = encode(
        tmp_path / "clip.mp4", stored, "-c:v", "libx264", "-qp", 0, "-pix_fmt", given, given=given, about=about
    )
    assert np.abs(decoded(path).astype(int) - rgb).max() <= 3


def test_a_matrix_that_is_not_known_is_refused(tmp_path: Path) -> None:
    """YCgCo, which swscale would read as BT.601 without a word."""
    codec = ("-c:v", "libx264", "-x264-params", "colormatrix=YCgCo")
    path = encode(tmp_path / "clip.mp4", moving_bar(), *codec)
    assert reason(path) == "its colours are coded by a matrix that cannot be read here"


# The first two rows of a display matrix (ISO 14496-12, 8.3.2), and what a player shows of a frame [H, W].
TURNS = {
    "as it is": ((1, 0, 0, 1), lambda frame: frame),
    "a right angle": ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
    "half a turn": ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
    "to the left": ((0, -1, 1, 0), lambda frame: np.rot90(frame, 1)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside down": ((1, 0, 0, -1), np.flipud),
    "rows for columns": ((0, 1, 1, 0), lambda frame: frame.transpose(1, 0, 2)),
}


def with_matrix(path: Path, matrix: tuple[float, ...]) -> Path:
    """The same video with another matrix in its track header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: of 84 bytes the matrix begins at 40
    a, b, c, d = (round(65536 * value) for value in matrix)
    data[at : at + 20] = struct.pack(">5i", a, b, 0, c, d)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("turn", "codec"), [*((turn, "libx264") for turn in TURNS), ("a right angle", "mjpeg")])
def test_frames_stand_as_a_player_shows_them(turn: str, codec: str, tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", moving_bar(), "-c:v", codec, "-q:v", 2)
    stored = decoded(path)
    matrix, shown = TURNS[turn]
    with_matrix(path, matrix)
    expected = np.stack([shown(frame) for frame in stored])
    np.testing.assert_array_equal(decoded(path), expected)
    told = reader.header(path)
    assert (told.height, told.width) == expected.shape[1:3]
    tolerance = 1 if codec != "mjpeg" else 40  # libjpeg-turbo smooths the colours that swscale repeats
    assert np.abs(by_ffmpeg(path, *expected.shape[1:3]).astype(int) - expected).max() <= tolerance


def test_a_slanted_display_matrix_is_refused(tmp_path: Path) -> None:
    path = with_matrix(encode(tmp_path / "clip.mp4", moving_bar(), "-c:v", "libx264"), (0.7, 0.7, -0.7, 0.7))
    assert reason(path) == "its display matrix does more than to turn it by right angles"


def test_of_uneven_times_the_median_counts(tmp_path: Path) -> None:
    """25 frames a second, of which the last third come three times as slowly; as of a DICOM FrameTimeVector."""
    slow = f"setpts=PTS+gte(N\\,{FRAMES - 6})*(N-{FRAMES - 6})*2/25/TB"
    codec = ("-vf", slow, "-fps_mode", "vfr", "-bf", 0, "-c:v", "libx264")
    path = encode(tmp_path / "clip.mp4", moving_bar(), *codec)
    assert reader.header(path).frame_ms == pytest.approx(40) and len(decoded(path)) == FRAMES


DAMAGED = ["H.264", "H.264 interlaced", "MPEG-2 interlaced in AVI", "MPEG-4 interlaced in AVI", "VP9"]


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_inside_a_frame_is_no_picture(kind: str, tmp_path: Path) -> None:
    """FFmpeg paints over it where nobody asks for an error. These codecs have no checksum: some damage is a picture."""
    suffix, codec, options = KINDS[kind]
    path = encode(tmp_path / f"clip.{suffix}", moving_bar(), "-c:v", codec, *options, "-g", 6)
    whole = path.read_bytes()
    first = whole.index(b"mdat") + 800 if suffix == "mp4" else whole.index(b"movi") + 100
    refused = 0
    for seed in range(8):
        rng, data = np.random.default_rng(seed), bytearray(whole)
        at = first + int(rng.integers(0, (len(whole) - first) // 3))
        data[at : at + 80] = rng.integers(0, 256, 80, np.uint8).tobytes()
        path.write_bytes(data)
        try:
            assert len(list(reader.frames(path))) == FRAMES
        except ValueError:
            refused += 1
    assert refused >= 6


def test_half_a_dataset_is_never_packed_by_another_decoder(tmp_path: Path) -> None:
    clip = beating(12, HEIGHT, WIDTH)
    path = encode(tmp_path / "clip.mp4", clip, "-c:v", "libx264")
    records = [Record("drawn", "one", path, {"a": 1}, raw={"quality_score": 1.0})]
    options = PackOptions(encoding="tiff", size=32, color_mode="gray", clips=True)
    packed = pack(records, ("a",), tmp_path / "out", options, 1)
    versions = media_file.versions()
    assert packed["decoder"] == f"PyAV {versions['PyAV']}, FFmpeg {versions['FFmpeg']}" and packed["rejects"] == 0
    claim = read_json(tmp_path / "out" / "plan.json")
    write_json(tmp_path / "out" / "plan.json", claim | {"decoder": "PyAV 1.0, FFmpeg 1.0"})
    with pytest.raises(InputError, match=r"was begun with PyAV 1\.0, FFmpeg 1\.0, and here is PyAV"):
        pack(records, ("a",), tmp_path / "out", options, 1)
    del claim["decoder"]  # of an older medtrain
    write_json(tmp_path / "out" / "plan.json", claim)
    assert pack(records, ("a",), tmp_path / "out", options, 1) == packed
