"""The cells of the DICOM matrix: files made here bit by bit, and what the standard says that they show.

Nothing here decodes, and nothing here is medtrain's: the stored values are drawn, imagecodecs and this file encode
them, and the formulas are those of PS3.3 C.7.6.3, C.7.5.1, C.11.1 and C.11.2 in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from matrix_shown import (
    Shown,
    curve,
    entries_at,
    linear,
    linear_exact,
    lowest,
    lut,
    modality,
    rescaled,
    rescaled_voi,
    rescaled_window,
    sigmoid,
    voi,
    window,
    windows,
)
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

SHAPE = (24, 28)
SYNTAXES = {
    "implicit": "1.2.840.10008.1.2", "explicit": "1.2.840.10008.1.2.1", "big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99", "RLE": "1.2.840.10008.1.2.5", "JPEG lossless": "1.2.840.10008.1.2.4.57",
    "JPEG lossless, first order": "1.2.840.10008.1.2.4.70", "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}  # fmt: skip
PLAIN = ("implicit", "explicit", "big endian", "deflated")


class Cell(NamedTuple):
    """`shown` [H, W] or [H, W, 3] is what each frame shows, 0..255 in float64, of a still or of two frames."""

    name: str
    dataset: Dataset
    shown: list[np.ndarray]
    tolerance: float


def drawn(bits: int, signed: bool = False) -> np.ndarray:
    """int32 [H, W]: a ramp with noise over the whole range of so many bits, its ends included."""
    count = SHAPE[0] * SHAPE[1]
    values = np.linspace(0, 2**bits - 1, count) + np.random.default_rng(bits).normal(0, 2, count)
    values = np.clip(np.rint(values), 0, 2**bits - 1).astype(np.int32)
    values[0], values[-1] = 0, 2**bits - 1
    return values.reshape(SHAPE) - (2 ** (bits - 1) if signed else 0)


def encoded(words: np.ndarray, syntax: str, bits: int, signed: bool, transform: bool = False) -> bytes:
    """One frame of words [H, W] or [H, W, 3] of uint8 or uint16, without loss."""
    if syntax == "RLE":
        return run_lengths(words)
    if syntax.startswith("JPEG lossless"):
        predictor = 1 if syntax.endswith("order") else 6
        return bytes(imagecodecs.jpeg8_encode(words, lossless=True, predictor=predictor, bitspersample=bits,
                                              colorspace="RGB" if words.ndim == 3 else None))  # fmt: skip
    if syntax == "JPEG-LS":
        return bytes(imagecodecs.jpegls_encode(words))
    if signed:
        shift = 8 * words.dtype.itemsize - bits
        words = (words << shift).view(words.dtype.str.replace("u", "i")) >> shift
    return bytes(imagecodecs.jpeg2k_encode(words, level=0, codecformat="J2K", reversible=True, bitspersample=bits,
                                           mct=transform, resolutions=2))  # fmt: skip


def run_lengths(words: np.ndarray) -> bytes:
    """PS3.5 Annex G: a segment for each byte of a sample, the highest first, each row by itself."""
    planes = np.atleast_3d(words).astype(words.dtype.newbyteorder(">")).view(np.uint8)  # [H, W, samples x bytes]
    segments = []
    for plane in np.moveaxis(planes, 2, 0):
        data = b"".join(bytes(imagecodecs.packbits_encode(row.tobytes())) for row in plane)
        segments.append(data + b"\0" * (len(data) % 2))
    starts = [64 + sum(map(len, segments[:n])) for n in range(len(segments))]
    head = np.zeros(16, "<u4")
    head[0], head[1 : len(starts) + 1] = len(starts), starts
    return head.tobytes() + b"".join(segments)


def made(frames: list[np.ndarray], syntax: str, bits: int, kind: str, signed: bool = False, codestream_bits: int = 0,
         planar: int = 0, transform: bool = False, **more: Any) -> Dataset:  # fmt: skip
    """A file of stored values; of two frames and more a clip. `more` are its other elements."""
    d, colour = Dataset(), frames[0].ndim == 3
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = UID(SYNTAXES[syntax])
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = "1.2.3"
    d.Rows, d.Columns, d.SamplesPerPixel = *frames[0].shape[:2], 3 if colour else 1
    d.PhotometricInterpretation, d.PixelRepresentation = kind, int(signed)
    if colour:
        d.PlanarConfiguration = planar
    alloc = 8 if (codestream_bits or bits) <= 8 else 16
    d.BitsAllocated, d.BitsStored, d.HighBit = alloc, bits, bits - 1
    if len(frames) > 1:
        d.NumberOfFrames, d.FrameTime = len(frames), 40
    whole = 2 ** (codestream_bits or bits) - 1
    words = [(frame & (2**alloc - 1 if signed and syntax in PLAIN else whole)).astype(f"u{alloc // 8}")
             for frame in frames]  # fmt: skip
    if syntax in PLAIN:
        order = ">" if syntax == "big endian" else "<"
        laid = [np.moveaxis(each, 2, 0) if planar else each for each in words]
        d.PixelData = b"".join(each.astype(f"{order}u{alloc // 8}").tobytes() for each in laid)
        d["PixelData"].VR = "OB" if alloc == 8 and syntax != "implicit" else "OW"
    else:
        each = [encoded(word, syntax, codestream_bits or bits, signed, transform) for word in words]
        d.PixelData = encapsulate(each)
        d["PixelData"].VR, d["PixelData"].is_undefined_length = "OB", True
    for name, value in more.items():
        setattr(d, name, value)
    return d


GREYS = {
    "whole range": Shown(lambda *_: {}, None),
    "LINEAR": Shown(windows(), lambda x, b, s: linear(x, *window(b, s))),
    "LINEAR_EXACT": Shown(windows(VOILUTFunction="LINEAR_EXACT"), lambda x, b, s: linear_exact(x, *window(b, s))),
    "SIGMOID": Shown(windows(VOILUTFunction="SIGMOID"), lambda x, b, s: sigmoid(x, *window(b, s))),
    "width 1 is a step": Shown(windows(WindowWidth="1"), lambda x, b, s: linear(x, window(b, s)[0], 1)),
    "first window empty": Shown(
        lambda b, s, _: {"WindowCenter": ["", str(window(b, s)[0])], "WindowWidth": ["", str(window(b, s)[1])]},
        lambda x, b, s: linear(x, *window(b, s)),
    ),
    "rescale and window": Shown(
        lambda b, s, _: {"RescaleSlope": "1.5", "RescaleIntercept": "-1024",
                         "WindowCenter": str(rescaled_window(b, s)[0]), "WindowWidth": str(rescaled_window(b, s)[1])},
        lambda x, b, s: linear(rescaled(x), *rescaled_window(b, s)),
    ),
    "VOI of 16 bits": voi(16, 16), "VOI of 12 bits": voi(12, 12), "VOI of 12 bits under 16": voi(12, 16),
    "VOI of 8 bits under 16": voi(8, 16), "VOI of bytes": voi(8, 8, True),
    "VOI of bytes, an odd number": voi(8, 8, True, 1), "VOI of 8 bits, a word each": voi(8, 8),
    "VOI below 0 after a rescale": Shown(
        lambda b, s, syntax: {"RescaleSlope": "1", "RescaleIntercept": "-1024",
                              "VOILUTSequence": lut(2 ** min(b, 14), -1024, 12, rescaled_voi(b), syntax)},
        lambda x, b, s: entries_at(x - 1024, -1024, rescaled_voi(b)) / 4095,
    ),
    "modality LUT of 16 bits": modality(16, 16), "modality LUT of 12 bits": modality(12, 12),
    "modality LUT of 10 bits": modality(10, 10), "modality LUT of bytes": modality(8, 8, True),
    "modality LUT of 8 bits, a word each": modality(8, 8),
}  # fmt: skip


def greys() -> Iterator[Cell]:
    """Transfer syntax x photometric x bits x signedness x LUTs and windows, stills and clips."""
    for syntax in SYNTAXES:
        for bits in (8, 12, 16):
            for signed in (False, True):
                values = drawn(bits, signed)
                for number, (name, way) in enumerate(GREYS.items()):
                    kind = ("MONOCHROME1", "MONOCHROME2")[(number + bits // 2 + signed) % 2]
                    for frames in ([values], [values, values[::-1].copy()]):
                        more = way.elements(bits, signed, syntax)
                        yield Cell(
                            f"{'clip' if len(frames) > 1 else 'still'}, {syntax}, {kind}, {bits} bits, "
                            f"{'signed' if signed else 'unsigned'}, {name}",
                            made(frames, syntax, bits, kind, signed, **more),
                            [grey_shown(each, bits, signed, kind, way) for each in frames], 0.51,
                        )  # fmt: skip


def grey_shown(x: np.ndarray, bits: int, signed: bool, kind: str, way: Shown) -> np.ndarray:
    """Both ends of the range are drawn, so that a still's own range is that of its bits."""
    low = lowest(bits, signed)
    shares = way.formula(x.astype(float), bits, signed) if way.formula else (x - low) / (2**bits - 1)
    return np.asarray(255 * (1 - shares if kind == "MONOCHROME1" else shares))


def overlays_and_padding() -> Iterator[Cell]:
    """Bits above BitsStored (PS3.3 C.9.2 of older editions), words whose lowest bits are empty, padding (C.7.5.1.1.2)
    whose sign is written as another VR's."""
    for syntax in SYNTAXES:
        for clip in (False, True):
            for signed in (False, True):
                values = drawn(12, signed)
                plain = (values - lowest(12, signed)) / 4095 * 255
                ink = np.eye(*SHAPE, dtype=np.int32)
                for at in (12, 15):
                    frames = [(values & 0xFFF) | ink << at] * (1 + clip)
                    d = made(frames, syntax, 12, "MONOCHROME2", signed, 16)
                    d.add_new((0x6000, 0x0100), "US", 16)
                    d.add_new((0x6000, 0x0102), "US", at)
                    yield Cell(f"overlay in bit {at}, {syntax}, {signed=}, {clip=}", d, [plain] * (1 + clip), 0.51)
                frames = [(values & 0xFFF) << 4] * (1 + clip)
                d = made(frames, syntax, 12, "MONOCHROME2", signed, 16, HighBit=15)
                yield Cell(f"high bit 15, {syntax}, {signed=}, {clip=}", d, [plain] * (1 + clip), 0.51)
                for value, kind in ((lowest(12, signed), "MONOCHROME1"), (lowest(12, signed) + 1, "MONOCHROME2")):
                    padded = values.copy()
                    padded[:5] = value
                    d = made([padded] * (1 + clip), syntax, 12, kind, signed, WindowCenter="100", WindowWidth="2001")
                    d.add_new((0x0028, 0x0120), "US", value % 2**16)
                    shares = linear(padded.astype(float), 100, 2001)
                    shares = np.where(padded == value, 0, 1 - shares if kind == "MONOCHROME1" else shares)
                    yield Cell(f"padding {value}, {syntax}, {clip=}", d, [shares * 255] * (1 + clip), 0.51)


def colours() -> Iterator[Cell]:
    """RGB and YBR x planar configuration x transfer syntax: of a codestream the element says nothing (PS3.5 8.2)."""
    ramp = drawn(8)
    rgb = np.stack([ramp, 255 - ramp, ramp[:, ::-1] // 2], -1)
    ybr = np.stack([ramp // 2 + 60, 140 - ramp // 8, 110 + ramp[:, ::-1] // 8], -1)
    y, cb, cr = (ybr[..., n].astype(float) for n in range(3))
    from_ybr = np.stack([y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128),
                         y + 1.772 * (cb - 128)], -1).clip(0, 255)  # fmt: skip
    for syntax in SYNTAXES:
        for planar in (0, 1):
            for clip in (False, True):
                for kind, samples, shown, bits in (
                    ("RGB", rgb, rgb, 8), ("RGB", rgb * 257, rgb, 16), ("YBR_FULL", ybr, from_ybr, 8),
                    ("YBR_RCT", rgb, rgb, 8),
                ):  # fmt: skip
                    if kind == "YBR_RCT" and syntax != "JPEG 2000":
                        continue
                    d = made([samples] * (1 + clip), syntax, bits, kind, planar=planar, transform=kind == "YBR_RCT")
                    name = f"{kind} of {bits} bits, {syntax}, {planar=}, {clip=}"
                    yield Cell(name, d, [shown.astype(float)] * (1 + clip), 1.01 if kind == "YBR_FULL" else 0.51)


def palettes() -> Iterator[Cell]:
    """Entries of 8 and 16 bits, of 8 and 12 under 16, bytes of an odd number, a first value below 0."""
    tables = {
        "bytes": (8, 8, True, 0), "bytes, an odd number": (8, 8, True, 1), "16": (16, 16, False, 0),
        "8 under 16": (8, 16, False, 0), "12 under 16": (12, 16, False, 0), "8, a word each": (8, 8, False, 0),
    }  # fmt: skip
    for syntax in SYNTAXES:
        for clip in (False, True):
            for signed in (False, True):
                for name, (top_bits, told, as_bytes, short) in tables.items():
                    indices = drawn(8, signed)
                    count, top = 256 - short, 2**top_bits - 1
                    entries = [curve(count, top), top - curve(count, top), curve(count, top) // 3]
                    d = made([indices] * (1 + clip), syntax, 8, "PALETTE COLOR", signed)
                    for colour, channel in zip(("Red", "Green", "Blue"), entries, strict=True):
                        item = lut(count, lowest(8, signed), told, channel, syntax, as_bytes)[0]
                        d.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", item.LUTDescriptor)
                        d.add_new(f"{colour}PaletteColorLookupTableData", "OW", item.LUTData)
                    shown = np.stack([entries_at(indices, lowest(8, signed), each) / top for each in entries], -1) * 255
                    what = f"palette of {name}, {syntax}, {signed=}, {clip=}"
                    yield Cell(what, d, [shown] * (1 + clip), 0.51)


def all_cells() -> Iterator[Cell]:
    yield from greys()
    yield from overlays_and_padding()
    yield from colours()
    yield from palettes()
