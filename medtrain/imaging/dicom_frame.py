"""One frame of a DICOM file, in whatever transfer syntax -> its stored values, or RGB; for stills and clips alike."""

from __future__ import annotations

import warnings
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from medtrain.core.capture_stderr import capture_stderr
from medtrain.core.errors import MachineError
from medtrain.imaging import pixel_limit
from medtrain.imaging.codestream import Codestream, described
from medtrain.imaging.dicom_faults import Damaged, Unusable
from medtrain.imaging.encapsulated import END_OF_IMAGE
from medtrain.imaging.lossless_jpeg import is_used_up

GREYS = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
KINDS = (*COLOURS, *GREYS, "PALETTE COLOR")
# An Adobe marker that says RGB: without any libjpeg takes three components for YCbCr. A JFIF or Adobe marker of the
# frame's own still wins over it, and is right where it contradicts the header.
SAYS_RGB = bytes.fromhex("ffee000e41646f626500640000000000")


class Frame(NamedTuple):
    """Stored values [H, W], signed as they are meant, and which of them are padding; or RGB [H, W, 3] of `bits`."""

    values: NDArray[Any]
    padding: NDArray[np.bool_]
    bits: int


def check(dataset: Any, syntax: Any) -> None:
    """Raises Unusable where pixels are of a kind that is not read here."""
    from pydicom.pixels.decoders.base import get_decoder

    try:
        known = syntax in ENCAPSULATED or get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        raise Unusable(f"its transfer syntax ({syntax.name}) is not one that can be decoded here")
    colour, samples = str(dataset.PhotometricInterpretation), int(dataset.SamplesPerPixel)
    if colour not in KINDS:  # it is not quoted: in a damaged file it may be anything
        raise Unusable("its photometric interpretation is not one that can be read here")
    if samples != (3 if colour in COLOURS else 1):
        raise Unusable(f"{samples} samples per pixel of {colour} are not what can be read here")
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    few = 1 if colour in GREYS and not syntax.is_encapsulated else 8
    if allocated not in (few, 8, 16) or not 1 <= stored <= allocated or (colour in COLOURS[1:] and stored != 8):
        raise Unusable(f"{colour} of {stored} bits in {allocated} is not what can be read here")
    if int(dataset.Rows) < 1 or int(dataset.Columns) < 1 or int(dataset.get("NumberOfFrames") or 1) < 1:
        raise Unusable("a clip of no pixels")
    try:
        pixel_limit.check(int(dataset.Columns), int(dataset.Rows))
    except ValueError as error:
        raise Unusable(str(error)) from None


def native(source: bytes | BinaryIO, index: int, dataset: Any, vr: str) -> Frame:
    """The frame at that position of pixel data that are not compressed."""
    from pydicom.pixels.decoders.base import get_decoder

    decode: Any = get_decoder(dataset.file_meta.TransferSyntaxUID).as_array
    words, now = decode(source, index=index, **_options(dataset, vr))
    return _frame(words, dataset, None, str(now["photometric_interpretation"]))


def encapsulated(data: bytes, dataset: Any) -> Frame:
    """A frame that is compressed: `data` are its fragments, joined. Damaged where it is damaged, or of another size
    or kind than the header says. Damage inside a JPEG 2000 code block shows nowhere, for nothing of it is redundant;
    nor does a changed sample of RLE."""
    from pydicom.uid import RLELossless

    if dataset.file_meta.TransferSyntaxUID == RLELossless:
        return _run_lengths(data, dataset)
    stream = described(data)
    size = (int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel))
    if (stream.height, stream.width, stream.samples) != size:
        raise Damaged("a frame of another size")
    colour = str(dataset.PhotometricInterpretation)
    if stream.kind == "JPEG" and stream.bits == 8:
        words = _by_libjpeg(data, colour, stream.samples)
        return _frame(words, dataset, stream, "RGB" if stream.samples == 3 else colour)
    words = _by_gdcm(data, stream)
    if not _is_used_up(data, words, stream):
        raise Damaged("a damaged frame")
    is_rgb = stream.transformed or colour in ("YBR_RCT", "YBR_ICT")
    return _frame(words, dataset, stream, "RGB" if is_rgb else colour)


def _options(dataset: Any, vr: str) -> dict[str, Any]:
    """What pydicom is told: whole words, whatever bits of them are stored."""
    from pydicom.pixels.utils import as_pixel_options

    options: dict[str, Any] = as_pixel_options(dataset, pixel_keyword="PixelData", pixel_vr=vr, raw=True)
    options.pop("extended_offsets", None)
    options |= {"bits_stored": int(dataset.BitsAllocated), "pixel_representation": 0}
    return options


def _run_lengths(data: bytes, dataset: Any) -> Frame:
    """PS3.5 Annex G."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import RLELossless

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of segments that are longer than the picture
        decode: Any = get_decoder(RLELossless).as_array
        words, now = decode(encapsulate([data]), index=0, **_options(dataset, "OB") | {"number_of_frames": 1})
    return _frame(words, dataset, None, str(now["photometric_interpretation"]))


def _by_libjpeg(data: bytes, colour: str, samples: int) -> NDArray[np.uint8]:
    """By libjpeg-turbo, whose warnings are errors here: GDCM and Pillow fill what is missing with grey."""
    # GDCM writes YCbCr and leaves RGB in the header; its subsampling gives it away, which only colour components have.
    if colour == "RGB" and simplejpeg.decode_jpeg_header(data)[3] == "444":
        data = data[:2] + SAYS_RGB + data[2:]
    frame: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB" if samples == 3 else "GRAY")
    return frame if samples == 3 else frame[:, :, 0]


def _is_used_up(data: bytes, words: NDArray[Any], stream: Codestream) -> bool:
    """Whether the picture took all of the data. Of JPEG, GDCM tells only where they were too few."""
    if stream.kind == "JPEG lossless":
        return is_used_up(data, words & (2**stream.bits - 1), stream.bits)
    if stream.kind != "JPEG":
        return True
    shorter = data[: data.rindex(END_OF_IMAGE) - 4].rstrip(b"\xff") + END_OF_IMAGE
    try:
        _by_gdcm(shorter, stream)
    except ValueError:
        return True
    return False


def _by_gdcm(data: bytes, stream: Codestream) -> NDArray[Any]:
    """JPEG of 12 bits, JPEG lossless, JPEG-LS and JPEG 2000. Not through pydicom, which tells GDCM what the DICOM
    header says, and refuses 12 bits."""
    fewest, most = BITS[stream.kind]
    if not fewest <= stream.bits <= most:
        raise Damaged(f"{stream.kind} of {stream.bits} bits is not read here")
    try:
        import gdcm
    except ImportError as error:  # of no other decoder are pixels and faults the same
        kind = "12-bit JPEG" if stream.kind == "JPEG" else stream.kind
        raise MachineError(
            f"DICOM files compressed as {kind} need the package python-gdcm ({error})", 'pip install "medtrain[dicom]"'
        ) from None
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(data)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image, colours = gdcm.Image(), gdcm.PhotometricInterpretation
    image.SetNumberOfDimensions(2)
    image.SetDimensions((stream.width, stream.height, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(colours(colours.RGB if stream.samples == 3 else colours.MONOCHROME2))
    if stream.samples == 3:
        image.SetPlanarConfiguration(0)
    image.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, SYNTAXES[stream.kind])))
    allocated = 8 if stream.bits <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(stream.samples, allocated, stream.bits, stream.bits - 1, int(stream.signed)))
    with capture_stderr() as said:
        buffer = image.GetBuffer()
    if buffer is None or any(
        words in said[0] for words in SAID_OF_DAMAGE
    ):  # it makes what it can, and tells nobody else
        raise Damaged("a damaged frame")
    shape = (stream.height, stream.width, 3)[: 2 + (stream.samples == 3)]
    pixels = buffer.encode("utf-8", "surrogateescape")
    return np.frombuffer(pixels, f"<u{allocated // 8}").reshape(shape)


# What may hold a frame that is read here without pydicom's plug-ins (PS3.5 A.4.1 to A.4.4): JPEG baseline, extended and
# lossless, JPEG-LS, JPEG 2000.
ENCAPSULATED = [f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91)]
SYNTAXES = {  # by GDCM's names; each includes the others of its kind
    "JPEG": "JPEGExtendedProcess2_4",
    "JPEG lossless": "JPEGLosslessProcess14",
    "JPEG-LS": "JPEGLSNearLossless",
    "JPEG 2000": "JPEG2000",
}
BITS = {"JPEG": (12, 12), "JPEG lossless": (8, 16), "JPEG-LS": (2, 16), "JPEG 2000": (1, 16)}  # outside, GDCM aborts
SAID_OF_DAMAGE = (b"Corrupt JPEG data", b"Premature end")  # by libjpeg


def _frame(words: NDArray[Any], dataset: Any, stream: Codestream | None, colour: str) -> Frame:
    bits = int(dataset.BitsStored)
    if words.ndim == 3:
        if colour.startswith("YBR_FULL"):
            words = np.asarray(cv2.cvtColor(np.ascontiguousarray(words[:, :, (0, 2, 1)]), cv2.COLOR_YCrCb2RGB))
        return Frame(_of_bits(words, bits), np.zeros(words.shape[:2], bool), bits)
    width = stream.bits if stream else int(dataset.BitsAllocated)
    words = words & (2**width - 1)  # signed ones of a codestream come extended to the word
    signed = bool(dataset.PixelRepresentation) or (stream is not None and stream.signed)
    below = int(dataset.HighBit) + 1 - bits
    bits = min(bits, width)
    # Words whose lowest bits are empty, as the oldest files have them.
    stored = words >> below if below > 0 and not (words & (2**below - 1)).any() else words
    if signed:
        values = _extended(stored, bits)
    elif _has_overlay(dataset):
        values = stored & (2**bits - 1)
    else:
        values = _of_bits(stored, bits)
    return Frame(
        values, _padding(values, dataset) | _padding(_extended(words, width) if signed else words, dataset), bits
    )


def _extended(words: NDArray[Any], bits: int) -> NDArray[np.int32]:
    """The lowest bits of unsigned words as signed numbers."""
    sign = 2 ** (bits - 1)
    return np.asarray(((words.astype(np.int32) & (2**bits - 1)) ^ sign) - sign)


def _padding(values: NDArray[Any], dataset: Any) -> NDArray[np.bool_]:
    """Which pixels are none of the picture, but fill its frame (PS3.3 C.7.5.1.1.2): one value, or a range; signed as
    the pixels are, whatever their VR says."""
    ends = [dataset.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not isinstance(ends[0], int):
        return np.zeros(values.shape, bool)
    width = 2 ** int(dataset.BitsAllocated)
    told = [end % width for end in ends if isinstance(end, int)]
    if dataset.PixelRepresentation:
        told = [end - width if end >= width // 2 else end for end in told]
    return np.asarray((values >= min(told)) & (values <= max(told)))


def _of_bits(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Values of so many bits, or of more: BitsStored is too small in some files, and without its highest bits a picture
    is noise. Bits far above, with none between that is ever set, are no part of the picture."""
    if values.max() < 2**bits:
        return values
    above = np.flatnonzero(np.bincount((values >> bits).ravel()))
    return values if len(above) == above[-1] + 1 else values & (2**bits - 1)


def _has_overlay(dataset: Any) -> bool:
    """Whether bits above BitsStored are of an overlay (PS3.3 C.9.2, OverlayBitPosition, of older editions)."""
    overlays = (dataset.get((group, 0x0102)) for group in range(0x6000, 0x6020, 2))
    return any(place is not None and place.value for place in overlays)
