"""Clips that cannot be used: each says why, none gives a frame that is not there, and no library writes to stderr."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pydicom
import pytest
import simplejpeg
from clip_files import (
    COMPRESSED,
    cut_short,
    decoded,
    dicom_clip,
    encoded_frames,
    gradients,
    reason,
    rubbish,
    save_compressed,
    save_encoded,
    save_video,
    wiped,
)
from dicom_files import as_bytes
from places import RECORDED
from pydicom.uid import (
    MPEG4HP41,
    JPEGBaseline8Bit,
)

from medtrain.imaging.video import reader


def unusable(tmp_path: Path) -> dict[str, tuple[bytes, str]]:
    """name -> a file, and why it cannot be used."""
    rgb = gradients(4)
    native = as_bytes(dicom_clip(rgb))
    jpeg = save_encoded(dicom_clip(rgb, "YBR_FULL_422"), tmp_path / "made.dcm",
                        [simplejpeg.encode_jpeg(frame) for frame in rgb], JPEGBaseline8Bit).read_bytes()  # fmt: skip
    rle = save_compressed(dicom_clip(rgb), tmp_path / "made.dcm", "RLE").read_bytes()
    mpeg = save_encoded(dicom_clip(rgb, "RGB"), tmp_path / "made.dcm", [b"\0" * 64], MPEG4HP41).read_bytes()
    without = dicom_clip(rgb)
    del without.PixelData
    text, png = b"frame,quality\n1,2\n" * 20, cv2.imencode(".png", rgb[0])[1].tobytes()
    still, more = "a still image of one frame, not a clip", "the header says 3 frames, and the data hold 4"
    few = "the header says 40 frames, and the data hold 4"
    return {
        "empty": (b"", "the file is empty"),
        "text": (text, "not a clip: neither DICOM, MP4 nor AVI"),
        "png": (png, "not a clip: neither DICOM, MP4 nor AVI"),
        "mark only": (b"\0" * 128 + b"DICM", "DICOM whose header cannot be read"),
        "cut in the header": (native[:300], "it has no pixel data"),
        "cut at the pixels": (jpeg[: jpeg.index(b"\xe0\x7f\x10\0OB") + 8], "DICOM whose header cannot be read"),
        "no pixels": (as_bytes(without), "it has no pixel data"),
        "one frame": (as_bytes(dicom_clip(rgb[:1])), still),
        "more, native": (as_bytes(dicom_clip(rgb, NumberOfFrames=3)), more),
        "fewer, native": (as_bytes(dicom_clip(rgb, NumberOfFrames=40)), few),
        "no number": (as_bytes(dicom_clip(rgb, NumberOfFrames=None)), "the header says 1 frames, and the data hold 4"),
        "negative": (as_bytes(dicom_clip(rgb, NumberOfFrames=-4)), "a clip of no pixels"),
        "no rows": (as_bytes(dicom_clip(rgb, Rows=0)), "a clip of no pixels"),
        "bits": (as_bytes(dicom_clip(rgb, BitsAllocated=32)), "RGB of 8 bits in 32 is not what can be read here"),
        "samples": (as_bytes(dicom_clip(rgb, SamplesPerPixel=1)), "1 samples per pixel of RGB are not what can be"),
        "colour": (as_bytes(dicom_clip(rgb, "CMYK")), "its photometric interpretation is not one that"),
        "more, JPEG": (jpeg.replace(b"IS\x02\x004 ", b"IS\x02\x003 "), more),
        "fewer, JPEG": (jpeg.replace(b"IS\x02\x004 ", b"IS\x02\x0040"), few),
        "fewer, RLE": (rle.replace(b"IS\x02\x004 ", b"IS\x02\x0040"), few),
        "no number at all": (jpeg.replace(b"IS\x02\x004 ", b"IS\x02\x001A"), "DICOM whose header cannot be read"),
        "cut, native": (native[:-9000], "truncated DICOM: the header says 4 frames, and the data hold 2"),
        "cut, JPEG": (jpeg[:-100], "truncated DICOM: the header says 4 frames, and the data hold 3"),
        "cut, RLE": (rle[:-100], "truncated DICOM: the header says 4 frames, and the data hold 3"),
        "MPEG-4": (mpeg, "its transfer syntax (MPEG-4 AVC/H.264 High Profile / Level 4.1) is not one that can be"),
        "video, cut": (b"\0\0\0\x18ftypisom" + b"\0" * 200, "truncated or damaged video: its index cannot be read"),
    }


def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    path = tmp_path / "DRAWN^NAME.bin"
    for name, (data, expected) in unusable(tmp_path).items():
        path.write_bytes(data)
        for read in (reader.header, lambda path: list(reader.frames(path))):
            with pytest.raises(ValueError) as caught:
                read(path)  # type: ignore[operator]
            assert str(caught.value).startswith(expected), name
            assert "DRAWN" not in str(caught.value) and "\n" not in str(caught.value), name


def test_a_video_of_an_unknown_codec(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes((RECORDED / "h264.mp4").read_bytes().replace(b"avc1", b"zzzz"))
    assert reason(path) == "a video of a codec that FFmpeg cannot decode"


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("damage", [cut_short, rubbish, wiped])
def test_a_damaged_frame_in_the_middle(name: str, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    made = dicom_clip(gradients())
    encoded = encoded_frames(save_compressed(made, tmp_path / "clip.dcm", name))
    syntax = pydicom.dcmread(tmp_path / "clip.dcm").file_meta.TransferSyntaxUID
    encoded[2] = damage(encoded[2])
    path = save_encoded(made, tmp_path / "clip.dcm", encoded, syntax)
    assert len(decoded(path, [0, 1, 3])) == 3
    assert reason(path) == "frame 3 of 4 is damaged"


def test_a_frame_of_another_size(tmp_path: Path) -> None:
    rgb = gradients()
    encoded = [simplejpeg.encode_jpeg(frame[:32] if n == 1 else frame) for n, frame in enumerate(rgb)]
    path = save_encoded(dicom_clip(rgb, "YBR_FULL_422"), tmp_path / "clip.dcm", encoded, JPEGBaseline8Bit)
    assert reason(path) == "frame 2 of 4 is damaged"


def test_nothing_is_written_to_stderr(tmp_path: Path) -> None:
    """By the C libraries too, so in a process of its own."""
    paths = []
    for name in COMPRESSED:
        made = dicom_clip(gradients())
        encoded = encoded_frames(save_compressed(made, tmp_path / "whole.dcm", name))
        syntax = pydicom.dcmread(tmp_path / "whole.dcm").file_meta.TransferSyntaxUID
        for damage in (cut_short, rubbish, wiped):
            path = tmp_path / f"{name} {damage.__name__}.dcm"
            paths.append(save_encoded(made, path, [*encoded[:2], damage(encoded[2]), encoded[3]], syntax))
    for name, codec in (("clip.mp4", "mp4v"), ("clip.avi", "MJPG"), ("other.avi", "XVID")):
        data = save_video(tmp_path / name, gradients(40, 64, 80), codec).read_bytes()
        paths += [tmp_path / f"cut {name}", tmp_path / f"wiped {name}"]
        paths[-2].write_bytes(data[: len(data) // 2])
        paths[-1].write_bytes(data[:6000] + bytes(9000) + data[15000:])
    code = (
        "import sys\nfrom pathlib import Path\nfrom medtrain.imaging.video import reader\n"
        "for path in sys.argv[1:]:\n    try:\n        list(reader.frames(Path(path)))\n"
        "    except ValueError:\n        print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    assert done.stdout.count("refused") > 15 and done.stderr == ""
