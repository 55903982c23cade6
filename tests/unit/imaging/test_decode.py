"""imaging.decode: what comes out of every kind of file, and the reason where nothing can."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from medtrain.imaging.decode import Header, decode, decode_all, extension, header

RAMP = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)  # [48, 64], so that a swap of the axes shows
COLOUR = np.stack([RAMP, 2 * RAMP, 255 - RAMP], -1)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def grey(kind: str, **options: Any) -> bytes:
    return encode(Image.fromarray(RAMP), kind, **options)


def colour(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    return encode(Image.fromarray(COLOUR).convert(mode), kind, **options)


def png16() -> bytes:
    return encode(Image.fromarray(RAMP.astype(np.uint16) * 257), "PNG")


def float_tiff() -> bytes:
    return encode(Image.fromarray(RAMP.astype(np.float32)), "TIFF")


@pytest.mark.parametrize(("data", "expected"), [(grey("JPEG"), "jpg"), (grey("PNG"), "png"), (grey("TIFF"), "tif")])
def test_the_extension_is_read_from_the_bytes(data: bytes, expected: str) -> None:
    assert extension(data) == expected


def test_big_endian_tiff_is_a_tiff() -> None:
    assert extension(b"MM\0*" + bytes(8)) == "tif"


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a", b"\xff\xd8"])
def test_other_bytes_have_no_extension(data: bytes) -> None:
    with pytest.raises(ValueError, match="the file is empty" if not data else "not a JPEG, PNG, TIFF or DICOM image"):
        extension(data)


@pytest.mark.parametrize("data", [grey("PNG"), grey("TIFF"), grey("TIFF", compression="tiff_lzw")])
def test_lossless_grey_comes_back_exactly(data: bytes) -> None:
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, RAMP)


@pytest.mark.parametrize("data", [grey("JPEG"), grey("JPEG", progressive=True)])
def test_grey_jpeg_equals_pillow(data: bytes) -> None:
    expected = np.asarray(Image.open(io.BytesIO(data)))
    assert decode(data).shape == (48, 64)
    assert np.array_equal(decode(data), expected)
    assert np.array_equal(decode(data, colour=True), np.dstack([expected] * 3))
    assert np.array_equal(decode_all([data], colour=True)[0], np.dstack([expected] * 3))


@pytest.mark.parametrize(
    "data",
    [
        colour("PNG"), colour("PNG", "RGBA"), colour("TIFF"), colour("JPEG", quality=95),
        colour("JPEG", "CMYK", quality=95),
    ],
)  # fmt: skip
def test_colour_files_give_grey_or_rgb(data: bytes) -> None:
    rgb, luma = decode(data, colour=True), decode(data)
    assert rgb.shape == (48, 64, 3)
    assert np.array_equal(decode_all([data], colour=True)[0], rgb)
    assert luma.shape == (48, 64)
    assert np.abs(rgb.astype(int) - COLOUR).mean() < 2.5
    assert np.abs(luma.astype(int) - np.asarray(Image.fromarray(COLOUR).convert("L"))).mean() < 2.5


def test_grey_stored_as_colour_keeps_its_values() -> None:
    data = encode(Image.fromarray(RAMP).convert("RGBA"), "PNG")  # as some NIH chest X-rays are
    assert np.array_equal(decode(data), RAMP)


def test_palette_and_one_bit_images_are_expanded() -> None:
    palette = Image.fromarray(RAMP).convert("P")
    assert np.array_equal(decode(encode(palette, "PNG")), RAMP)
    bits = Image.fromarray(RAMP > 50)
    assert np.array_equal(decode(encode(bits, "PNG")), 255 * (RAMP > 50))


def test_16_bit_is_scaled_by_its_own_range() -> None:
    assert np.array_equal(decode(png16()), np.rint(RAMP * (255 / RAMP.max())))
    ends = np.array([[0, 128, 129, 32768, 65000, 65535]], np.uint16)
    assert decode(encode(Image.fromarray(ends), "PNG")).tolist() == [[0, 0, 1, 128, 253, 255]]
    detector = np.array([[100, 100 + 8, 100 + 9, 2147, 4195]], np.uint16)  # 12 bits
    assert decode(encode(Image.fromarray(detector), "PNG")).tolist() == [[0, 0, 1, 127, 255]]
    assert decode(encode(Image.fromarray(np.full((2, 3), 700, np.uint16)), "PNG")).tolist() == [[0] * 3] * 2
    alpha = cv2.imencode(".png", np.array([[[0, 0, 0, 65535], [1000, 1000, 1000, 65535]]], np.uint16))[1].tobytes()
    assert decode(alpha).tolist() == [[0, 255]], "alpha has no part in it"


def test_float_pixels_have_no_range_and_are_refused() -> None:
    with pytest.raises(ValueError, match="pixels are float32; only 8-bit and 16-bit images can be read"):
        decode(float_tiff())


def test_exif_rotation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    assert decode(grey("JPEG", exif=exif)).shape == decode(grey("PNG", exif=exif)).shape == (48, 64)


@pytest.mark.parametrize("at_least", [1, 48, 60, 100, 200, 256, 300, 512])
def test_a_reduced_jpeg_is_large_enough_and_looks_the_same(at_least: int) -> None:
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 10), dtype=np.uint8), (640, 512))
    data = simplejpeg.encode_jpeg(smooth[:, :, None], quality=95, colorspace="GRAY")
    pixels = decode(data, at_least=at_least)
    assert at_least <= min(pixels.shape) <= 512
    assert at_least > 256 or min(pixels.shape) <= 256
    same_size = cv2.resize(smooth, pixels.shape[::-1], interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(pixels.astype(int) - same_size).mean() < 2


def test_a_small_jpeg_is_never_enlarged() -> None:
    assert decode(grey("JPEG"), at_least=512).shape == (48, 64)


@pytest.mark.parametrize("data", [grey("JPEG"), grey("JPEG", progressive=True), colour("JPEG")])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_jpeg_is_an_error(data: bytes, share: float) -> None:
    for options in ({}, {"colour": True}, {"at_least": 16}):
        with pytest.raises(ValueError, match=r"^(truncated|damaged) JPEG"):
            decode(data[: int(len(data) * share)], **options)


def test_a_jpeg_without_its_last_two_bytes_is_truncated() -> None:
    with pytest.raises(ValueError, match=r"^truncated JPEG$"):
        decode(grey("JPEG")[:-2])


@pytest.mark.parametrize(("data", "kind"), [(grey("PNG"), "PNG"), (png16(), "PNG"), (grey("TIFF"), "TIFF")])
def test_a_png_or_tiff_cut_anywhere_is_an_error(data: bytes, kind: str) -> None:
    for size in range(8, len(data) - 1, 29):
        with pytest.raises(ValueError, match=f"^(truncated|damaged) {kind}"):
            decode(data[:size])


def test_a_flipped_byte_in_a_png_is_an_error() -> None:
    data = bytearray(grey("PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ValueError, match=r"^damaged PNG"):
        decode(bytes(data))


@pytest.mark.parametrize("read", [decode, header])
@pytest.mark.parametrize(("data", "reason"), [(b"", "the file is empty"), (b"patient,finding\n", "not a JPEG")])
def test_what_is_no_image_says_so(read: Any, data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        read(data)


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (grey("JPEG"), "L"), (colour("JPEG"), "RGB"), (colour("JPEG", "CMYK"), "CMYK"), (grey("PNG"), "L"),
        (png16(), "I;16"), (colour("PNG"), "RGB"), (colour("PNG", "RGBA"), "RGBA"), (grey("TIFF"), "L"),
        (float_tiff(), "F"),
    ],
)  # fmt: skip
def test_the_header_tells_size_and_mode(data: bytes, mode: str) -> None:
    assert header(data) == Header(64, 48, mode)


def test_many_files_at_once_give_what_each_gives_alone() -> None:
    for files in ([grey("JPEG"), colour("JPEG")], [grey("JPEG"), colour("PNG"), grey("TIFF")], []):
        for at_least in (0, 20):
            together = decode_all(files, at_least)
            assert [pixels.tolist() for pixels in together] == [decode(data, at_least).tolist() for data in files]
    with pytest.raises(ValueError, match="truncated JPEG"):
        decode_all([grey("JPEG"), grey("JPEG")[:-30]])


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks on damaged TIFF tags
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_cut_header_is_an_error(kind: str) -> None:
    with pytest.raises(ValueError, match=f"damaged {kind}"):
        header(grey(kind)[:12])


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's remarks on damaged TIFF tags
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_whatever_the_damage_only_value_errors_come_out(kind: str) -> None:
    whole, rng = colour(kind), np.random.default_rng(0)
    came = {"a result": 0, "a ValueError": 0}
    for _ in range(200):
        data = bytearray(whole)
        for place in rng.integers(0, rng.choice([64, len(data)]), 3).tolist():
            data[place] = int(rng.integers(256))
        for read in (decode, header):
            try:  # any other exception fails the test
                read(bytes(data))
                came["a result"] += 1
            except ValueError as error:
                assert str(error)
                came["a ValueError"] += 1
    assert min(came.values()) > 0, came


def test_a_tiff_whose_zero_is_white_is_turned_round() -> None:
    """What Pillow writes of 8 bits it turns round itself, so that it shows the same."""
    for depth, step in (("u1", 5), ("u2", 5000)):
        pixels, file = np.arange(12, dtype=depth).reshape(3, 4) * step, io.BytesIO()
        Image.fromarray(pixels).save(file, "TIFF", tiffinfo={262: 0})
        shown = np.diff(decode(file.getvalue()).astype(int).ravel())
        assert (shown > 0).all() if depth == "u1" else (shown < 0).all(), depth
