"""imaging.tiff: every kind of TIFF 6.0 file that scanners, microscopes and detectors write, right or refused.

The samples are written here bit by bit (TIFF 6.0, sections 2 to 10 and 18), the compressed ones by libtiff in Pillow.
"""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medtrain.datasets.record import Record
from medtrain.imaging.decode import Header, decode, header
from medtrain.imaging.encode import encode
from medtrain.imaging.strip_metadata import strip_metadata
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, SEPARATED, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
SHAPE = (21, 30)  # an odd width: rows of 10, 12 and 14 bits end inside a byte
DEEP = np.linspace(0, 65535, 21 * 30).astype(int).reshape(SHAPE)
COLOUR = np.dstack([DEEP // 257, 255 - DEEP // 257, DEEP // 771])


def rows(samples: np.ndarray, bits: int, order: str) -> bytes:
    """Of 8, 16 and 32 bits as numbers of that byte order; others follow bit by bit, a row from a new byte on."""
    if bits in (8, 16, 32):
        return samples.astype(f"{order}u{bits // 8}").tobytes()
    each = np.unpackbits(samples.astype(">u2").view(np.uint8).reshape(*samples.shape, 2), axis=-1)[..., 16 - bits :]
    return np.packbits(each.reshape(len(samples), -1), axis=1).tobytes()


def tiff(samples: np.ndarray, bits: int, kind: int, order: str = "<", planar: bool = False, extra: tuple[int, ...] = (),
         **more: list[int]) -> bytes:  # fmt: skip
    """Uncompressed; `extra` are ExtraSamples, `more` other tags by number (`t274`), of 16 bits a value."""
    samples = np.atleast_3d(samples)
    height, width, count = samples.shape
    strips = [samples[:, :, c] for c in range(count)] if planar else [samples.reshape(height, -1)]
    data = [rows(strip, bits, order) for strip in strips]
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * count), 259: ("H", [1]), 262: ("H", [kind]),
        273: ("I", [0] * len(data)), 277: ("H", [count]), 278: ("I", [height]), 279: ("I", list(map(len, data))),
        284: ("H", [1 + planar]), **({338: ("H", list(extra))} if extra else {}),
        **{int(name[1:]): ("H", values) for name, values in more.items()},
    }  # fmt: skip
    sizes = {tag: struct.calcsize(f"={len(values)}{code}") for tag, (code, values) in tags.items()}
    after = 8 + 2 + 12 * len(tags) + 4
    first = after + sum(size for size in sizes.values() if size > 4)
    tags[273] = "I", [first + sum(map(len, data[:i])) for i in range(len(data))]
    directory, long = struct.pack(order + "H", len(tags)), b""
    for tag in sorted(tags):
        code, values = tags[tag]
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(order + "I", after + len(long))
        long += packed if len(packed) > 4 else b""
        directory += struct.pack(order + "HHI", tag, 3 if code == "H" else 4, len(values)) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + directory + b"\0" * 4 + long + b"".join(data)


def with_alpha(samples: np.ndarray, alpha: int) -> np.ndarray:
    return np.dstack([samples, np.full(SHAPE, alpha)])


def stretched(samples: np.ndarray) -> np.ndarray:
    return np.rint((samples - samples.min()) / (samples.max() - samples.min()) * 255)


def grey(rgb: np.ndarray) -> np.ndarray:
    return np.rint(rgb @ (0.299, 0.587, 0.114))


def saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "TIFF", **options)
    return file.getvalue()


def off_by(data: bytes, expected: np.ndarray) -> float:
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert pixels.shape == SHAPE
    return float(np.abs(pixels - expected).max())


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16])
def test_grey_of_any_depth_in_both_byte_orders_black_or_white_first(bits: int, order: str) -> None:
    """TIFF 6.0, section 4, PhotometricInterpretation 0 and 1; up to 8 bits on their full scale, above from their own
    range."""
    values = DEEP * 3 // 4 >> (16 - bits)
    shown = stretched(values) if bits > 8 else np.rint(values * (255 / (2**bits - 1)))
    assert off_by(tiff(values, bits, MIN_IS_BLACK, order), shown) <= 1
    assert off_by(tiff(values, bits, MIN_IS_WHITE, order), 255 - shown) <= 1


@pytest.mark.parametrize("planar", [False, True], ids=["together", "in planes"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_colours_together_and_in_planes(order: str, bits: int, planar: bool) -> None:
    """TIFF 6.0, PlanarConfiguration; 16 bits from their own range, which is whole here."""
    data = tiff(COLOUR * (257 if bits == 16 else 1), bits, RGB, order, planar)
    assert off_by(data, grey(COLOUR)) <= 1
    np.testing.assert_array_equal(decode(data, colour=True), COLOUR)
    assert header(data) == Header(30, 21, "RGB" if bits == 8 else "RGB;16")


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["unspecified", "associated", "unassociated"])
@pytest.mark.parametrize("planar", [False, True], ids=["together", "in planes"])
def test_alpha_of_any_kind_has_no_part_in_the_picture(planar: bool, kind: int) -> None:
    """TIFF 6.0, section 18, ExtraSamples."""
    for alpha in (0, 128, 255):
        data = tiff(with_alpha(COLOUR, alpha), 8, RGB, planar=planar, extra=(kind,))
        np.testing.assert_array_equal(decode(data, colour=True), COLOUR)
        grey8 = tiff(with_alpha(DEEP // 257, alpha), 8, MIN_IS_BLACK, planar=planar, extra=(kind,))
        assert off_by(grey8, DEEP // 257) == 0
        grey16 = tiff(with_alpha(DEEP // 2, alpha * 257), 16, MIN_IS_BLACK, planar=planar, extra=(kind,))
        assert off_by(grey16, stretched(DEEP)) <= 1


@pytest.mark.parametrize("turned", range(1, 9))
def test_orientation_is_not_applied(turned: int) -> None:
    """TIFF 6.0, Orientation: as EXIF's, whatever the file says."""
    assert off_by(tiff(DEEP // 257, 8, MIN_IS_BLACK, t274=[turned]), DEEP // 257) == 0
    np.testing.assert_array_equal(decode(tiff(COLOUR, 8, RGB, t274=[turned]), colour=True), COLOUR)


@pytest.mark.parametrize("scale", [1, 257], ids=["8 bits in 16", "16 bits"])
def test_a_palette_is_applied(scale: int) -> None:
    """TIFF 6.0, section 5, ColorMap: all red values, then green, then blue."""
    table = np.stack([np.arange(256), 255 - np.arange(256), np.arange(256) // 3])
    data = tiff(DEEP // 257, 8, PALETTE, t320=(table * scale).ravel().tolist())
    np.testing.assert_array_equal(decode(data, colour=True), table.T[DEEP // 257])


def test_inks_and_signed_samples() -> None:
    """TIFF 6.0, section 16 (the plain conversion of section 23 that has no profile), and SampleFormat 2."""
    black = np.full(SHAPE, 51)
    data = tiff(np.dstack([255 - COLOUR, black]), 8, SEPARATED)
    assert np.abs(decode(data, colour=True) - COLOUR * 0.8).max() <= 1
    assert off_by(tiff((DEEP - 32768) & 0xFFFF, 16, MIN_IS_BLACK, t339=[2]), stretched(DEEP)) <= 1


@pytest.mark.parametrize("method", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_lossless_compression(method: str) -> None:
    assert off_by(saved(Image.fromarray((DEEP // 257).astype(np.uint8)), compression=method), DEEP // 257) == 0
    deep = saved(Image.fromarray(DEEP.astype(np.uint16)), compression=method)
    assert off_by(deep, stretched(DEEP)) <= 1
    image = Image.fromarray(COLOUR.astype(np.uint8))
    np.testing.assert_array_equal(decode(saved(image, compression=method), colour=True), COLOUR)


@pytest.mark.parametrize("method", ["group3", "group4", "tiff_ccitt"])
def test_fax_compression(method: str) -> None:
    bits = (DEEP // 2500) % 2 == 1
    assert off_by(saved(Image.fromarray(bits), compression=method), bits * 255) == 0


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr"])
def test_jpeg_inside_is_read_and_its_damage_is_found(mode: str) -> None:
    """TIFF Technical Note 2: strips that are JPEGs without their tables; a decoder would fill the damaged half."""
    image = Image.fromarray(COLOUR.astype(np.uint8)).resize((160, 128)).convert(mode)
    data = saved(image, compression="jpeg", quality=95)
    expected = np.asarray(image.convert("RGB"))
    shown = decode(data, colour=True)
    assert np.abs(shown.astype(int) - expected).mean() < 2
    middle = len(data) // 2
    with pytest.raises(ValueError, match="damaged TIFF"):
        decode(data[:middle] + bytes(64) + data[middle + 64 :])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tiff(COLOUR, 8, LAB), r"photometric interpretation \(8\) is not one that is read"),
        (tiff(COLOUR, 8, YCBCR), r"photometric interpretation \(6\) is not one that is read"),
        (tiff(np.dstack([COLOUR, COLOUR]), 8, RGB), "6 channels; only grey and colour"),
        (tiff(COLOUR, 8, MIN_IS_BLACK), "3 channels; only grey and colour"),
        (tiff(DEEP, 32, MIN_IS_BLACK), "pixels are uint32; only 8-bit and 16-bit"),
        (tiff(DEEP // 257, 8, MIN_IS_BLACK, t339=[2]), "pixels are int8; only 8-bit and 16-bit"),
        (tiff(DEEP // 257, 8, MIN_IS_BLACK, t259=[34712]), r"compression \(34712\) is not one that is read"),
        (tiff(DEEP // 257, 8, MIN_IS_BLACK, t259=[5]), "damaged TIFF"),
        (tiff(DEEP // 257, 8, MIN_IS_BLACK, t259=[5], t257=[2000], t256=[2000], t278=[2000]), "data cannot hold"),
        (tiff(DEEP // 257, 8, MIN_IS_BLACK, t259=[5], t257=[65000], t256=[65000]), r"more than .* \(--max_pixels\)"),
        (tiff(DEEP // 257, 8, MIN_IS_BLACK)[:-3], "truncated TIFF|damaged TIFF"),
        (tiff(DEEP, 16, MIN_IS_BLACK)[:-3], "truncated TIFF"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_refused_with_its_reason(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(data)


def test_a_tiff_of_our_shards_is_read_whole_or_refused() -> None:
    """libtiff in Pillow 13 judges each change in the strips of LZW; OpenCV 5.0 shows noise in place of some."""
    chance = np.random.default_rng(0)
    pixels = (np.add.outer(np.arange(67), np.arange(50)) + chance.integers(0, 8, (67, 50))).astype(np.uint8)
    file = encode(pixels, "tiff", 0)
    assert np.array_equal(decode(file), pixels)
    refused = 0
    for at in chance.integers(8, len(file) - 200, 200):
        damaged = file[:at] + chance.bytes(2) + file[at + 2 :]
        try:
            with Image.open(io.BytesIO(damaged)) as by_libtiff:
                expected = np.asarray(by_libtiff)
        except OSError:
            refused += 1
            with pytest.raises(ValueError, match=r"damaged TIFF|truncated TIFF"):
                decode(damaged)
        else:
            assert np.array_equal(decode(damaged), expected)
    assert refused > 10


def test_our_own_files_come_back_exactly() -> None:
    """They are plain enough for the quicker way."""
    pixels = (DEEP // 257).astype(np.uint8)
    np.testing.assert_array_equal(decode(encode(pixels, "tiff", 0)), pixels)


def test_an_odd_tiff_never_stops_the_packing_of_the_others(tmp_path: Path) -> None:
    """What can be read is packed, copied too; what cannot is among the rejects with its reason."""
    files = {
        "plain": tiff(DEEP, 16, MIN_IS_BLACK), "white first": tiff(DEEP, 16, MIN_IS_WHITE, ">"),
        "10 bits": tiff(DEEP >> 6, 10, MIN_IS_BLACK), "14 bits": tiff(DEEP >> 2, 14, MIN_IS_WHITE),
        "lab": tiff(COLOUR, 8, LAB), "cut": tiff(DEEP, 16, MIN_IS_BLACK)[:99],
    }  # fmt: skip
    records = []
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        records.append(Record("drawn", name, tmp_path / name, {"finding": 1}, f"patient {name}"))
    for encoding in ("jpeg", "copy"):
        out = tmp_path / encoding
        pack(records, ("finding",), out, PackOptions(encoding=encoding), workers=1, max_rejects=2)
        told = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
        assert {row["image"] for row in told} == {"lab", "cut"}
        assert all("TIFF" in row["reason"] for row in told)


def test_copying_asks_the_same_reader() -> None:
    for data in (tiff(DEEP >> 6, 10, MIN_IS_BLACK), tiff(COLOUR, 8, RGB, planar=True)):
        assert strip_metadata(data) == data
    with pytest.raises(ValueError, match="holds more than a picture"):
        strip_metadata(tiff(DEEP, 16, MIN_IS_BLACK, t700=[65, 66, 67]))
    with pytest.raises(ValueError, match="damaged TIFF"):
        strip_metadata(tiff(DEEP, 16, MIN_IS_BLACK)[:30])
