"""The bytes of a TIFF file -> the pixels of its first page, exactly as TIFF 6.0 defines them.

By tifffile, whose codecs (LZW, CCITT, JPEG, samples of 10, 12 and 14 bits) are in imagecodecs. What our shards hold is
plain enough to be found without tifffile, which is twice as quick. OpenCV reads planes, alpha, odd depths and
Orientation in its own way, and of a damaged strip it shows noise.
"""

from __future__ import annotations

import io
import logging
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tifffile import TiffPage

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6  # PhotometricInterpretation
KINDS = {MIN_IS_WHITE: "L", MIN_IS_BLACK: "L", RGB: "RGB", PALETTE: "P", SEPARATED: "CMYK", YCBCR: "YCbCr"}
COLOURS = {"RGB": 3, "YCbCr": 3, "CMYK": 4}  # samples of a pixel that are no alpha; of the others one
JPEG = 7
COMPRESSIONS = (1, 2, 3, 4, 5, JPEG, 8, 32773, 32946, 34925, 50000)  # without loss, and JPEG
EXPANSION = {1: 1, 5: 4096, 8: 1032, 32773: 128, 32946: 1032}  # at most; a header that claims more is damaged
WIDTH, LENGTH, COMPRESSION, OFFSETS, ROWS, COUNTS, PREDICTOR = 256, 257, 259, 273, 278, 279, 317  # tags
LZW, DIFFERENCES = 5, 2
SHORT, LONG = 3, 4  # types of a tag's values
Tags = dict[int, tuple[int, ...]]
# What `encode` writes (TIFF 6.0, section 2): tags of one value, and what each says.
PLAIN = {258: (8,), 259: (1, 5), 262: (1,), 266: (1,), 274: (1,), 277: (1,), 284: (1,), 317: (1, 2), 339: (1,)}


def read(data: bytes) -> NDArray[Any]:
    """[H, W] or, in RGB, [H, W, 3]; up to 8 bits as uint8 on the scale 0..255, up to 16 as they are, uint16.

    White is the highest value (MinIsWhite is turned round), alpha is dropped, Orientation is not applied. ValueError
    says what is damaged or is not read.
    """
    if plain := _plain(data):
        return _by_strips(data, plain)
    with _first_page(data) as page:
        kind, bits = _kind(page), _bits(page)
        _check(page, kind, len(data))
        if page.compression == JPEG:
            _check_jpeg(page)
        return _shown(_samples(page), page, kind, bits)


def header(data: bytes) -> tuple[int, int, str]:
    """Pixels across and down, and the kind by Pillow's names (L, RGB, I;16, ...), not decoded; ValueError as `read`."""
    if plain := _plain(data):
        return plain[WIDTH][0], plain[LENGTH][0], "L"
    with _first_page(data) as page:
        kind = KINDS.get(page.photometric, "unknown")
        deep = "F" if page.sampleformat == 3 else "I;16" if kind == "L" else f"{kind};16"
        kind += "A" * (page.samplesperpixel > COLOURS.get(kind, 1))
        return page.imagewidth, page.imagelength, kind if np.max(page.bitspersample) <= 8 else deep


def tags(data: bytes) -> tuple[set[int], int]:
    """The numbers of the first page's tags, and how many pages there are; ValueError as `read`."""
    with _first_page(data) as page:
        return {tag.code for tag in page.tags}, len(page.parent.pages)


@contextmanager
def _first_page(data: bytes) -> Iterator[TiffPage]:
    from tifffile import TiffFile, TiffPage  # a tenth of a second, which nobody else pays

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it describes what the ValueError says in a line
    try:
        with TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            if not isinstance(page, TiffPage) or page.imagewidth < 1 or page.imagelength < 1:
                raise _Refused("damaged TIFF (no picture)")
            yield page
    except (MemoryError, _Refused):
        raise
    except Exception as error:  # tifffile and its codecs raise whatever they meet in a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"damaged TIFF ({reason[:200]})") from None


class _Refused(ValueError):
    """A reason in our own words."""


def _kind(page: TiffPage) -> str:
    kind = KINDS.get(page.photometric)
    if kind is None or (kind == "YCbCr" and page.compression != JPEG):
        raise _Refused(f"TIFF whose photometric interpretation ({int(page.photometric)}) is not one that is read here")
    return kind


def _bits(page: TiffPage) -> int:
    """Of each sample, where all have as many and are whole numbers."""
    bits, form = page.bitspersample, page.sampleformat
    dtype = page.dtype
    if isinstance(bits, tuple) or form not in (1, 2) or bits > 16 or (form == 2 and bits != 16):
        raise _Refused(f"pixels are {dtype or f'of {bits} bits'}; only 8-bit and 16-bit images can be read")
    return bits


def _check(page: TiffPage, kind: str, size: int) -> None:
    """Raises where the page is of a kind that is not read, or where the file cannot hold what its header says."""
    if page.compression not in COMPRESSIONS:
        raise _Refused(f"TIFF whose compression ({int(page.compression)}) is not one that is read here")
    colours, samples = COLOURS.get(kind, 1), page.samplesperpixel
    if samples not in (colours, colours + 1) or page.imagedepth != 1:
        raise _Refused(f"{samples} channels; only grey and colour images can be read")
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(segments) < np.prod(page.chunked):
        raise _Refused("truncated TIFF")
    claimed = page.imagewidth * page.imagelength * samples * page.bitspersample // 8  # type: ignore[operator]
    _check_segments(segments, size, claimed, page.compression)


def _check_segments(segments: list[tuple[int, int]], size: int, claimed: int, compression: int) -> None:
    """Raises where the strips or tiles, each an offset and a number of bytes, are not all in a file of `size` bytes, or
    cannot hold the bytes of pixels that its header claims."""
    if not all(at > 0 and n > 0 and at + n <= size for at, n in segments):
        raise _Refused("truncated TIFF")
    most = EXPANSION.get(compression)
    if most and claimed > most * sum(n for _, n in segments):
        raise _Refused("damaged TIFF (its data cannot hold as many pixels as its header says)")


def _check_jpeg(page: TiffPage) -> None:
    """Raises for damage in a strip or tile, which is a JPEG of its own (TIFF Technical Note 2) and which the codec
    would paper over."""
    tables = page.jpegtables or b""
    for at, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        page.parent.filehandle.seek(at)
        stream = page.parent.filehandle.read(size)
        simplejpeg.decode_jpeg(tables[:-2] + stream[2:] if tables else stream, "GRAY")


def _samples(page: TiffPage) -> NDArray[Any]:
    """[H, W, samples], however they lie in the file."""
    separate, _, height, width, together = page.shaped
    values = page.asarray().reshape(separate, height, width, together)
    return np.moveaxis(values, 0, 2).reshape(height, width, -1)


def _shown(samples: NDArray[Any], page: TiffPage, kind: str, bits: int) -> NDArray[Any]:
    samples = samples[:, :, : COLOURS.get(kind, 1)]
    if samples.dtype == np.int16:
        samples = samples.view(np.uint16) ^ np.uint16(0x8000)
    if kind == "P":
        table = np.asarray(page.colormap).T  # [2 ** bits, 3], of 16 bits; some programs write 8 (as libtiff allows)
        table = table if table.max() < 256 else np.rint(table / 257)
        return np.asarray(table.astype(np.uint8)[samples[:, :, 0]])
    if samples.dtype == np.bool_ or bits < 8:
        samples = np.rint(samples * (255 / (2**bits - 1))).astype(np.uint8)
    if kind == "CMYK":
        whole = np.iinfo(samples.dtype).max
        ink = samples.astype(np.uint32)
        return np.asarray(np.rint((whole - ink[:, :, :3]) * (whole - ink[:, :, 3:]) / whole), samples.dtype)
    if page.photometric == MIN_IS_WHITE:
        samples = samples.dtype.type(255 if bits <= 8 else 2**bits - 1) - samples
    return samples if samples.shape[2] == 3 else samples[:, :, 0]


def _plain(data: bytes) -> Tags | None:
    """The tags of a TIFF such as `encode` writes: little endian, 8-bit grey, in strips. None of others."""
    if data[:4] != b"II*\0" or len(data) < 8:
        return None
    (at,) = struct.unpack_from("<L", data, 4)
    if at + 2 > len(data):
        return None
    (count,) = struct.unpack_from("<H", data, at)
    if at + 6 + 12 * count > len(data):
        return None
    tags = {}
    for place in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from("<HHL", data, place)
        if kind in (SHORT, LONG):
            size = values * (2 if kind == SHORT else 4)
            start = place + 8 if size <= 4 else struct.unpack_from("<L", data, place + 8)[0]
            if start + size > len(data):
                return None
            tags[tag] = struct.unpack_from(f"<{values}{'H' if kind == SHORT else 'L'}", data, start)
        elif tag in PLAIN:
            return None
    told = {262: None, 258: None} | {tag: value for tag, value in tags.items() if tag in PLAIN}
    sized = all(len(tags.get(tag, ())) == 1 and tags[tag][0] > 0 for tag in (WIDTH, LENGTH, ROWS))
    parts = len(tags.get(OFFSETS, ())) == len(tags.get(COUNTS, ())) > 0
    special = tags.keys() & {320, 322, 338}  # a colour map, tiles, alpha
    plain = all(value and len(value) == 1 and value[0] in PLAIN[tag] for tag, value in told.items())
    return tags if plain and sized and parts and not special else None


def _by_strips(data: bytes, tags: Tags) -> NDArray[np.uint8]:
    """The pixels [H, W] of a plain TIFF; ValueError where a strip is not whole."""
    import imagecodecs

    width, height, rows = tags[WIDTH][0], tags[LENGTH][0], tags[ROWS][0]
    lzw = tags.get(COMPRESSION) == (LZW,)
    strips = list(zip(tags[OFFSETS], tags[COUNTS], strict=True))
    if len(strips) != -(-height // rows):
        raise ValueError("truncated TIFF")
    _check_segments(strips, len(data), width * height, LZW if lzw else 1)
    pixels = np.empty((height, width), np.uint8)
    for number, (at, size) in enumerate(strips):
        part = pixels[number * rows : (number + 1) * rows]
        strip = data[at : at + size]
        try:
            found = imagecodecs.lzw_decode(strip, out=part.size) if lzw else strip[: part.size]
        except imagecodecs.LzwError as error:
            raise ValueError(f"damaged TIFF ({error})") from None
        if len(found) != part.size:
            raise ValueError("truncated TIFF")
        part[:] = np.frombuffer(found, np.uint8).reshape(part.shape)
    if tags.get(PREDICTOR) == (DIFFERENCES,):
        imagecodecs.delta_decode(pixels, axis=-1, out=pixels)
    return pixels
