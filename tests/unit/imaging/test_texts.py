"""imaging.strip_metadata: nothing that an image file says in words is left, and its picture is the same to the bit."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image, PngImagePlugin, TiffImagePlugin

from medtrain.imaging.decode import decode
from medtrain.imaging.strip_metadata import strip_metadata

NAME = b"DOE^JANE"
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)


def saved(kind: str, mode: str = "L", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, kind, **options)
    return file.getvalue()


def exif() -> Image.Exif:
    made = Image.Exif()
    made[270], made[274] = NAME.decode(), 6
    return made


def png_with_everything() -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("PatientName", NAME.decode())
    notes.add_text("Long", NAME.decode() * 50, zip=True)
    notes.add_itxt("Name", NAME.decode())
    data = saved("PNG", pnginfo=notes, exif=exif(), dpi=(96, 96))
    private = struct.pack(">I", len(NAME)) + b"prVt" + NAME + struct.pack(">I", zlib.crc32(b"prVt" + NAME))
    return data[:-12] + private + data[-12:] + NAME


def jpeg_with_everything(**options: Any) -> bytes:
    data = saved("JPEG", comment=NAME, exif=exif(), xmp=NAME, **options)
    return data + NAME


@pytest.mark.parametrize(
    "data",
    [
        png_with_everything(), jpeg_with_everything(), jpeg_with_everything(progressive=True),
        jpeg_with_everything(mode="RGB", quality=90), jpeg_with_everything(mode="CMYK"),
        jpeg_with_everything(restart_marker_blocks=2), jpeg_with_everything(mode="RGB", icc_profile=b"profile" * 100),
    ],
)  # fmt: skip
def test_names_go_and_the_picture_stays(data: bytes) -> None:
    plain = strip_metadata(data)
    assert NAME in data and NAME not in plain and b"Exif" not in plain and b"eXIf" not in plain
    if b"profile" in data:
        assert plain.count(b"profile") == 100, "it says how to read the colours"
    one, other = (np.asarray(Image.open(io.BytesIO(each))) for each in (data, plain))
    assert np.array_equal(one, other)
    assert np.array_equal(decode(data), decode(plain))
    assert strip_metadata(plain) == plain


@pytest.mark.parametrize(
    "data",
    [
        saved("PNG"), saved("PNG", "RGBA"), saved("JPEG"), saved("JPEG", "RGB"), saved("TIFF"),
        simplejpeg.encode_jpeg(PIXELS[:, :, None], colorspace="GRAY"),
    ],
)  # fmt: skip
def test_a_file_without_words_stays_as_it_is(data: bytes) -> None:
    assert strip_metadata(data) == data


def test_a_tiff_with_words_is_not_copied() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270] = NAME.decode()
    with pytest.raises(ValueError, match="holds more than a picture"):
        strip_metadata(saved("TIFF", tiffinfo=tags))


def test_what_is_not_as_it_should_be_is_not_copied() -> None:
    jpeg = saved("JPEG")
    for odd in (jpeg[:-2], jpeg[:20] + b"\0" + jpeg[20:], jpeg[:4], saved("PNG")[:-12]):
        with pytest.raises(ValueError, match="cannot be separated from its pixels"):
            strip_metadata(odd)
