"""medtrain.video: clips written here in every colour and transfer syntax, damaged ones, and a real one."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
import simplejpeg
from clip_files import (
    COMPRESSED,
    as_ybr,
    dicom_clip,
    encoded_frames,
    gradients,
    pairs_of_columns,
    region,
    save,
    save_compressed,
    save_encoded,
    save_video,
)
from dicom_files import as_bytes
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from medtrain import video

REAL = Path(get_testdata_file("examples_ybr_color.dcm"))
NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def decoded(path: Path, which: list[int] | None = None) -> np.ndarray:
    return np.stack(list(video.frames(path, which)))


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., None], 3, -1)


def reason(path: Path) -> str:
    """Why all frames of a file cannot be read."""
    with pytest.raises(ValueError) as caught:
        list(video.frames(path))
    return str(caught.value)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_native_pixels_come_as_they_are(syntax: Any, tmp_path: Path) -> None:
    rgb = gradients(3, 15, 17)  # of an odd number of bytes: in big endian words a frame begins in the midst of one
    path = save(dicom_clip(rgb, "RGB", syntax), tmp_path / "clip.dcm")
    np.testing.assert_array_equal(decoded(path), rgb)
    path = save(dicom_clip(rgb[..., 0], "MONOCHROME2", syntax), tmp_path / "clip.dcm")
    np.testing.assert_array_equal(decoded(path), grey(rgb[..., 0]))
    path = save(dicom_clip(rgb[..., 0], "MONOCHROME1", syntax), tmp_path / "clip.dcm")
    np.testing.assert_array_equal(decoded(path), grey(255 - rgb[..., 0]))
    deep = rgb[..., 0].astype(np.uint16) * 257
    path = save(dicom_clip(deep, "MONOCHROME2", syntax), tmp_path / "clip.dcm")
    np.testing.assert_array_equal(decoded(path), grey(rgb[..., 0]))


def test_big_endian_bytes_in_words(tmp_path: Path) -> None:
    """PS3.5 A.3: 8-bit pixels as OW, the two bytes of each word exchanged."""
    rgb = gradients(2, 15, 17)
    made = dicom_clip(rgb, "RGB", ExplicitVRBigEndian)
    made.PixelData = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
    made["PixelData"].VR = "OW"
    np.testing.assert_array_equal(decoded(save(made, tmp_path / "clip.dcm")), rgb)


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.name)
def test_ybr_without_compression_becomes_rgb_once(syntax: Any, tmp_path: Path) -> None:
    rgb = gradients(2)
    ybr = as_ybr(rgb)
    full = decoded(save(dicom_clip(ybr, "YBR_FULL", syntax), tmp_path / "full.dcm")).astype(int)
    assert np.abs(full - rgb).max() <= 2
    made = dicom_clip(ybr, "YBR_FULL_422", syntax)
    made.PixelData = b"".join(pairs_of_columns(ybr))
    half = decoded(save(made, tmp_path / "half.dcm")).astype(int)
    assert np.abs(half - rgb).max() <= 6, "two columns share their colour"


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("planar", [0, 1])
def test_every_compression_gives_the_same_colours(name: str, planar: int, tmp_path: Path) -> None:
    rgb = gradients()
    made = dicom_clip(rgb, PlanarConfiguration=planar)
    if planar:
        made.PixelData = np.ascontiguousarray(rgb.transpose(0, 3, 1, 2)).tobytes()
    np.testing.assert_array_equal(decoded(save(made, tmp_path / "clip.dcm")), rgb)
    path = save_compressed(made, tmp_path / "packed.dcm", name)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed, "else this tests nothing"
    assert np.abs(decoded(path).astype(int) - rgb).max() <= (12 if name == "JPEG baseline" else 0)


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("colour", ["MONOCHROME1", "MONOCHROME2"])
def test_every_compression_gives_the_same_greys(name: str, colour: str, tmp_path: Path) -> None:
    stored = gradients()[..., 1]
    shown = grey(stored if colour == "MONOCHROME2" else 255 - stored)
    path = save_compressed(dicom_clip(stored, colour), tmp_path / "packed.dcm", name)
    assert np.abs(decoded(path).astype(int) - shown).max() <= (4 if name == "JPEG baseline" else 0)
    if name != "JPEG baseline":  # which has 8 bits
        deep = dicom_clip(stored.astype(np.uint16) * 16, colour, BitsStored=12, HighBit=11)
        close = decoded(save_compressed(deep, tmp_path / "deep.dcm", name)).astype(int)
        assert np.abs(close - shown).max() <= 1


@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
@pytest.mark.parametrize("colour", ["YBR_FULL_422", "YBR_FULL", "RGB"])
def test_jpeg_is_turned_to_rgb_once(colour: str, subsampling: str, tmp_path: Path) -> None:
    """JFIF frames, which are YCbCr, whatever the header says."""
    rgb = gradients()
    encoded = [simplejpeg.encode_jpeg(frame, 95, "RGB", subsampling) for frame in rgb]
    path = save_encoded(dicom_clip(rgb, colour), tmp_path / "clip.dcm", encoded, JPEGBaseline8Bit)
    assert np.abs(decoded(path).astype(int) - rgb).max() <= 8


def test_jpeg_of_rgb_components_without_a_marker_is_rgb(tmp_path: Path) -> None:
    """Where the header says so: nothing in the frame tells."""
    rgb, encoded = gradients(), []
    for frame in rgb:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=95, keep_rgb=True)
        data = file.getvalue()
        assert data[2:4] == b"\xff\xee", "the marker that says RGB"
        encoded.append(data[:2] + data[18:].replace(b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0")
                       .replace(b"\x03R\0G\0B\0", b"\x03\1\0\2\0\3\0"))  # fmt: skip
    path = save_encoded(dicom_clip(rgb), tmp_path / "clip.dcm", encoded, JPEGBaseline8Bit)
    assert np.abs(decoded(path).astype(int) - rgb).max() <= 8


def test_subsampled_jpeg_is_ybr_though_the_header_says_rgb(tmp_path: Path) -> None:
    """As GDCM writes it, without any marker."""
    rgb = gradients()
    path = save_compressed(dicom_clip(rgb), tmp_path / "clip.dcm", "JPEG baseline")
    assert pydicom.dcmread(path).PhotometricInterpretation == "RGB"
    assert all(b"JFIF" not in frame and b"Adobe" not in frame for frame in encoded_frames(path))
    assert np.abs(decoded(path).astype(int) - rgb).max() <= 8


@pytest.mark.parametrize("irreversible", [False, True])
def test_jpeg_2000_of_ybr_components(irreversible: bool, tmp_path: Path) -> None:
    """YBR_RCT and YBR_ICT: the codec's own transform, which its decoder has undone (PS3.5 8.2.4)."""
    rgb, encoded = gradients(), []
    for frame in rgb:
        Image.fromarray(frame).save(
            tmp_path / "frame.j2k", irreversible=irreversible, quality_layers=[2 * irreversible], mct=1
        )
        encoded.append((tmp_path / "frame.j2k").read_bytes())
    made = dicom_clip(rgb, "YBR_ICT" if irreversible else "YBR_RCT")
    path = save_encoded(made, tmp_path / "clip.dcm", encoded, JPEG2000Lossless)
    assert np.abs(decoded(path).astype(int) - rgb).max() <= 4


@pytest.mark.parametrize(("bits", "scale"), [(8, 1), (16, 257), (16, 1)])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian], ids=["little", "big"])
def test_a_palette_is_applied(bits: int, scale: int, syntax: Any, tmp_path: Path) -> None:
    """Of 8 bits, of 16, and of 8 in 16."""
    stored = gradients()[..., 0]
    ramp = np.arange(256)
    palette = np.stack([255 - ramp, ramp // 2, ramp], 1)
    made = dicom_clip(stored, "PALETTE COLOR", syntax)
    kind = np.dtype(np.uint8 if bits == 8 else np.uint16).newbyteorder("<" if syntax.is_little_endian else ">")
    for name, entries in zip(("Red", "Green", "Blue"), palette.T, strict=True):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(made, f"{name}PaletteColorLookupTableData", (entries * scale).astype(kind).tobytes())
    np.testing.assert_array_equal(decoded(save(made, tmp_path / "clip.dcm")), palette[stored])


def test_a_window_and_few_bits_are_the_same_for_all_frames(tmp_path: Path) -> None:
    stored = np.stack([np.full((8, 8), value, np.uint16) for value in (0, 1000, 2000, 4095)])
    made = dicom_clip(stored, "MONOCHROME2", BitsStored=12, HighBit=11)
    assert decoded(save(made, tmp_path / "clip.dcm"))[:, 0, 0, 0].tolist() == [0, 62, 125, 255]
    made.WindowCenter, made.WindowWidth = "1500.5", "1001"
    assert decoded(save(made, tmp_path / "clip.dcm"))[:, 0, 0, 0].tolist() == [0, 0, 255, 255]
    made.PixelRepresentation, made.WindowCenter, made.WindowWidth = 1, None, None
    made.PixelData = (stored.astype(int) - 2048).clip(-2048, 2047).astype(np.int16).tobytes()
    assert decoded(save(made, tmp_path / "clip.dcm"))[:, 0, 0, 0].tolist() == [0, 62, 125, 255]


def test_colours_of_16_bits(tmp_path: Path) -> None:
    rgb = gradients()
    path = save(dicom_clip(rgb.astype(np.uint16) * 257), tmp_path / "clip.dcm")
    np.testing.assert_array_equal(decoded(path), rgb)


def test_the_real_clip() -> None:
    header = video.header(REAL)
    assert (header.frames, header.height, header.width) == (30, 240, 320)
    assert header.frame_ms == pytest.approx(33.333)
    assert header.colour == "YBR_FULL_422" and header.regions == (video.Region(84, 31, 595, 414, 1, 1),)
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
    assert list(video.frames(path, [])) == []
    assert reason(path) == "frame 1 of 6 is damaged"


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("fragments", [1, 3])
def test_frames_in_several_fragments(table: bool, fragments: int, tmp_path: Path) -> None:
    """With the basic offset table and without: then a frame ends where an image does."""
    rgb = gradients(5)
    encoded = [simplejpeg.encode_jpeg(frame, 95) for frame in rgb]
    path = save_encoded(dicom_clip(rgb, "YBR_FULL_422"), tmp_path / "clip.dcm", encoded, JPEGBaseline8Bit,
                        fragments_per_frame=fragments, has_bot=table)  # fmt: skip
    assert np.abs(decoded(path).astype(int) - rgb).max() <= 8
    assert np.abs(decoded(path, [3]).astype(int) - rgb[3]).max() <= 8


def test_an_extended_offset_table(tmp_path: Path) -> None:
    """PS3.3 C.7.6.3.1.8; and it wins where the header tells another number of frames."""
    rgb = gradients(5)
    made = dicom_clip(rgb, "YBR_FULL_422")
    encoded = [simplejpeg.encode_jpeg(frame, 95) for frame in rgb]
    made.PixelData, made.ExtendedOffsetTable, made.ExtendedOffsetTableLengths = pydicom.encaps.encapsulate_extended(
        encoded
    )
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    made["PixelData"].is_undefined_length = True
    assert np.abs(decoded(save(made, tmp_path / "clip.dcm")).astype(int) - rgb).max() <= 8
    made.NumberOfFrames = 4
    assert reason(save(made, tmp_path / "clip.dcm")) == "the header says 4 frames, and the data hold 5"


def test_a_wrong_offset_table_is_ignored(tmp_path: Path) -> None:
    """32 bits were too few for the file, or it was edited."""
    rgb = gradients(5)
    encoded = [simplejpeg.encode_jpeg(frame, 95) for frame in rgb]
    path = save_encoded(dicom_clip(rgb, "YBR_FULL_422"), tmp_path / "clip.dcm", encoded, JPEGBaseline8Bit,
                        fragments_per_frame=2)  # fmt: skip
    data = path.read_bytes()
    at = data.index(b"\xfe\xff\x00\xe0\x14\0\0\0") + 8
    path.write_bytes(data[:at] + struct.pack("<5L", 0, 11, 22, 33, 44) + data[at + 20 :])
    assert np.abs(decoded(path).astype(int) - rgb).max() <= 8


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
    assert video.header(save(made, tmp_path / "clip.dcm")).frame_ms == pytest.approx(expected)


def test_an_unreadable_frame_time_counts_as_not_told(tmp_path: Path) -> None:
    data = as_bytes(dicom_clip(gradients(), FrameTime="40"))
    path = tmp_path / "clip.dcm"
    for wrong in (b"xx", b"na"):
        path.write_bytes(data.replace(b"DS\x02\x0040", b"DS\x02\x00" + wrong))
        assert video.header(path).frame_ms == 0


def test_the_header_tells_who_and_where(tmp_path: Path) -> None:
    regions = [region(3, 2, 30, 20), region(1, 1, 2, 2, 3, 2), pydicom.Dataset()]
    header = video.header(save(dicom_clip(gradients(), SequenceOfUltrasoundRegions=regions), tmp_path / "clip.dcm"))
    assert header.regions == (video.Region(3, 2, 30, 20, 1, 1), video.Region(1, 1, 2, 2, 3, 2))
    assert (header.patient, header.study) == ("DRAWN-ID", "1.2.3.4")
    anonymous = dicom_clip(gradients())
    del anonymous.PatientID, anonymous.StudyInstanceUID
    header = video.header(save(anonymous, tmp_path / "clip.dcm"))
    assert (header.patient, header.study, header.regions) == ("", "", ())


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
        "colour": (as_bytes(dicom_clip(rgb, "CMYK")), "3 samples per pixel of CMYK are not what can be read here"),
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
        for read in (video.header, lambda path: list(video.frames(path))):
            with pytest.raises(ValueError) as caught:
                read(path)  # type: ignore[operator]
            assert str(caught.value).startswith(expected), name
            assert "DRAWN" not in str(caught.value) and "\n" not in str(caught.value), name


def cut_short(frame: bytes) -> bytes:
    return frame[: len(frame) // 2]


def rubbish(frame: bytes) -> bytes:
    return b"rubbish " * (len(frame) // 8)


def wiped(frame: bytes) -> bytes:
    return frame[: len(frame) // 2] + bytes(len(frame) // 4) + frame[len(frame) // 2 + len(frame) // 4 :]


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
        "import sys\nfrom pathlib import Path\nfrom medtrain import video\n"
        "for path in sys.argv[1:]:\n    try:\n        list(video.frames(Path(path)))\n"
        "    except ValueError:\n        print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    assert done.stdout.count("refused") > 15 and done.stderr == ""


VIDEOS = [("clip.mp4", "mp4v"), ("clip.mp4", "vp09"), ("clip.avi", "MJPG"), ("clip.avi", "XVID"), ("clip.avi", "FFV1")]


@pytest.mark.parametrize(("name", "codec"), VIDEOS)
def test_videos(name: str, codec: str, tmp_path: Path) -> None:
    clip = gradients(40, 64, 80)
    path = save_video(tmp_path / name, clip, codec)
    header = video.header(path)
    assert (header.frames, header.height, header.width) == (40, 64, 80)
    assert header.frame_ms == pytest.approx(40) and header.colour
    assert (header.patient, header.study, header.regions) == ("", "", ())
    frames = decoded(path)
    assert frames.shape == clip.shape and np.abs(frames.astype(int) - clip).mean() < 4
    np.testing.assert_array_equal(decoded(path, [0, 7, 39]), frames[[0, 7, 39]])


def test_grey_and_odd_rates(tmp_path: Path) -> None:
    clip = grey(gradients(12, 64, 80)[..., 0])
    path = save_video(tmp_path / "clip.avi", clip, "MJPG", 0.5)
    assert video.header(path).frame_ms == 0, "two seconds"
    frames = decoded(path)
    assert np.abs(frames.astype(int) - clip).mean() < 2 and np.ptp(frames, 3).max() <= 4


@pytest.mark.parametrize("codec", ["MJPG", "XVID", "FFV1"])
def test_a_truncated_avi_says_how_many_frames_it_has(codec: str, tmp_path: Path) -> None:
    """Its header stands first and stays."""
    path = save_video(tmp_path / "clip.avi", gradients(40, 128, 160), codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert video.header(path).frames == 40
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
        "import re, sys\nfrom pathlib import Path\nfrom medtrain import video\n"
        "def most(): return re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text()).group(1)\n"
        "path = Path(sys.argv[1])\nnext(video.frames(path))\nbefore = most()\n"
        "print(sum(1 for _ in video.frames(path, range(0, video.header(path).frames, 10))), before, most())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    read, before, after = map(int, done.stdout.split())
    assert read == count / 10 and before < 200_000 and after - before < 12_000, f"{before} kB, {after} kB"
