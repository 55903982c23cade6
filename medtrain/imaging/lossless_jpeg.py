"""Whether a decoded lossless JPEG used all of its data, which GDCM does not ask.

Damage makes a decoder read other codes. Where it comes to the end of the data too early it warns; where the picture is
full too early it says nothing. But what a picture must take is known: for each sample the code of its difference from
its prediction (ITU-T T.81, H.1.2).
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HUFFMAN, RESTARTS, SCAN = 0xC4, 0xDD, 0xDA
END_OF_SCAN = re.compile(rb"\xff[^\x00]")
SPARE = 32  # bits at the end, by which encoders fill the last bytes, at most
CATEGORY = np.zeros(2**16, np.uint8)  # of a difference modulo 2 ** 16: how many bits follow its code (T.81, table H.2)
for _bits in range(16):
    CATEGORY[2**_bits // 2 : 2**_bits] = _bits
    CATEGORY[2**16 - 2**_bits + 1 : 2**16 - 2**_bits // 2 + 1] = _bits
CATEGORY[2**15] = 16


class _Scan(NamedTuple):
    """Lengths of the codes by category for each component [17], the predictor, and where the data begin."""

    lengths: list[NDArray[np.int64]]
    predictor: int
    start: int


def is_used_up(data: bytes, pixels: NDArray[np.unsignedinteger], bits: int) -> bool:
    """Of unsigned samples [H, W] or [H, W, 3]; True too where it cannot be told: several scans, restart intervals (at
    which a decoder finds out itself), shifted samples."""
    samples = np.atleast_3d(pixels)
    scan = _scan(data)
    if scan is None or len(scan.lengths) != samples.shape[2]:
        return True
    needed = 0
    for number, lengths in enumerate(scan.lengths):
        often = np.bincount(CATEGORY[_differences(samples[:, :, number], scan.predictor, bits)].ravel(), minlength=17)
        if often[lengths == 0].any():  # a difference for which there is no code
            return False
        needed += int(often @ (lengths + np.r_[0:16, 0]))  # no bits follow category 16
    end = END_OF_SCAN.search(data, scan.start)
    coded = data[scan.start : end.start() if end else len(data)]
    return 0 <= 8 * (len(coded) - coded.count(b"\xff\x00")) - needed < SPARE


def _scan(data: bytes) -> _Scan | None:
    tables: dict[int, NDArray[np.int64]] = {}
    at = 2
    while data[at + 1] != SCAN:
        (size,) = struct.unpack_from(">H", data, at + 2)
        segment = data[at + 4 : at + 2 + size]
        if data[at + 1] == RESTARTS and any(segment):
            return None
        while data[at + 1] == HUFFMAN and len(segment) > 17:
            counts = np.frombuffer(segment, np.uint8, 16, 1)
            values = np.frombuffer(segment, np.uint8, counts.sum(), 17)
            table = tables[segment[0]] = np.zeros(256, np.int64)
            table[values] = np.repeat(np.arange(1, 17), counts)
            segment = segment[17 + len(values) :]
        at += 2 + size
    (size, components) = struct.unpack_from(">HB", data, at + 2)
    chosen = [data[at + 6 + 2 * n] >> 4 for n in range(components)]
    predictor, _, shift = data[at + 2 + size - 3 : at + 2 + size]
    if shift & 15 or any(number not in tables for number in chosen):
        return None
    return _Scan([tables[number][:17] for number in chosen], predictor, at + 2 + size)


def _differences(samples: NDArray[np.unsignedinteger], predictor: int, bits: int) -> NDArray[np.uint16]:
    """Of each sample from its prediction, modulo 2 ** 16 (T.81, H.1.2.1, table H.1)."""
    x = samples.astype(np.int32)
    predicted = np.empty_like(x)
    predicted[0, 0] = 2 ** (bits - 1)
    predicted[0, 1:], predicted[1:, 0] = x[0, :-1], x[:-1, 0]
    left, above, corner = x[1:, :-1], x[:-1, 1:], x[:-1, :-1]
    predicted[1:, 1:] = {
        1: lambda: left, 2: lambda: above, 3: lambda: corner, 4: lambda: left + above - corner,
        5: lambda: left + ((above - corner) >> 1), 6: lambda: above + ((left - corner) >> 1),
        7: lambda: (left + above) >> 1,
    }[predictor]()  # fmt: skip
    return (x - predicted).astype(np.uint16)
