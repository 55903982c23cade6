"""A PNG file -> the same picture in a PNG that libpng reads in less time."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from isal import isal_zlib
from isal.igzip_lib import IsalError

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
STORED = 65535  # bytes that a stored block of deflate holds at most


def inflated(data: bytes) -> bytes:
    """The file with its pixels inflated, which ISA-L does in half the time of the zlib in OpenCV's libpng.

    They stay filtered and in a zlib stream, now of stored blocks (RFC 1951, 3.2.4): libpng has all the rest to do. An
    interlaced file, or one that is not as it should be in any way, comes back as it is: libpng says what is wrong.
    """
    try:
        chunks = list(_chunks(memoryview(data)))
        kinds = [bytes(chunk[4:8]) for chunk in chunks]
        stream = b"".join(chunk[8:-4] for chunk, kind in zip(chunks, kinds, strict=True) if kind == b"IDAT")
        size = _size(chunks[0])
        inflater = isal_zlib.decompressobj()
        pixels = inflater.decompress(stream, size + 1)
    except (ValueError, OverflowError, struct.error, IsalError):  # type: ignore[misc]  # its stub declares an instance
        return data
    if not inflater.eof or inflater.unused_data or len(pixels) != size:
        return data
    # The last four bytes of the stream are the checksum of the pixels, which ISA-L has verified.
    whole = b"".join([b"IDAT\x78\x01", *_stored(memoryview(pixels)), stream[-4:]])
    check = struct.pack(">I", isal_zlib.crc32(whole))
    first = kinds.index(b"IDAT")
    after = (chunk for chunk, kind in zip(chunks[first:], kinds[first:], strict=True) if kind != b"IDAT")
    return b"".join([data[:8], *chunks[:first], struct.pack(">I", len(whole) - 4), whole, check, *after])


def _chunks(data: memoryview) -> Iterator[memoryview]:
    """Length, kind, content and checksum, chunk by chunk (PNG specification, 5.3); ValueError for damage."""
    place, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, place)
        chunk = data[place : place + length + 12]
        if len(chunk) != length + 12 or isal_zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise ValueError("damaged or truncated")
        yield chunk
        place += len(chunk)


def _size(header: memoryview) -> int:
    """How many bytes the pixels of a plain image inflate to: each row with the number of its filter before it."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header[8:-4])
    if interlaced or colour not in CHANNELS:
        raise ValueError("not plain")
    return int(height * (1 + (width * depth * CHANNELS[colour] + 7) // 8))


def _stored(data: memoryview) -> Iterator[bytes | memoryview]:
    """Stored blocks: whether it is the last, its length and that of its complement, then the bytes as they are."""
    for place in range(0, len(data), STORED):
        block = data[place : place + STORED]
        yield struct.pack("<BHH", place + STORED >= len(data), len(block), len(block) ^ 0xFFFF)
        yield block
