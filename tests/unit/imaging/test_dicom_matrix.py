"""Every kind of DICOM pixels, stills and clips: right by the standard's formulas, or refused with its reason.

What is lossy is compared with DCMTK's dcmj2pnm (Debian package dcmtk), which shares no code with medtrain's decoders.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from dicom_files import as_bytes
from matrix_cells import SHAPE, SYNTAXES, Cell, all_cells, drawn, lut, made
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from medtrain.imaging.decode import decode
from medtrain.imaging.lossless_jpeg import is_used_up
from medtrain.imaging.video import reader

BT_601 = (0.299, 0.587, 0.114)
BASELINE, EXTENDED, NEAR_LOSSLESS = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81))
JPEG_2000, LOSSLESS = "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.57"


def clip_frames(data: bytes, folder: Path) -> list[np.ndarray]:
    (folder / "clip.dcm").write_bytes(data)
    return list(reader.frames(folder / "clip.dcm"))


def off_by(cell: Cell, folder: Path) -> float:
    """How far a pixel is from what the standard says, at most."""
    data = as_bytes(cell.dataset)
    if len(cell.shown) == 1:
        shown = cell.shown[0] @ BT_601 if cell.shown[0].ndim == 3 else cell.shown[0]
        return float(np.abs(decode(data) - shown).max())
    frames = clip_frames(data, folder)
    assert len(frames) == len(cell.shown) and all(frame.flags.writeable for frame in frames)
    wanted = [shown if shown.ndim == 3 else shown[..., None].repeat(3, 2) for shown in cell.shown]
    return max(float(np.abs(frame - want).max()) for frame, want in zip(frames, wanted, strict=True))


def test_every_cell_is_right(tmp_path: Path) -> None:
    wrong, number = {}, 0
    for cell in all_cells():
        number += 1
        try:
            error = off_by(cell, tmp_path)
        except ValueError as refused:
            wrong[cell.name] = str(refused)
        else:
            if not error <= cell.tolerance:
                wrong[cell.name] = f"off by {error:.2f}"
    assert number > 2500
    assert not wrong, f"{len(wrong)} of {number} cells: {dict(list(wrong.items())[:12])}"


def with_streams(streams: list[bytes], syntax: str, bits: int, kind: str, shape: tuple[int, ...] = SHAPE,
                 **more: Any) -> Dataset:  # fmt: skip
    """A file of frames that are encoded already."""
    d = made([np.zeros(shape, np.int32)] * len(streams), "explicit", bits, kind, **more)
    d.file_meta.TransferSyntaxUID = UID(syntax)
    d.PixelData = encapsulate(streams)
    d["PixelData"].VR, d["PixelData"].is_undefined_length = "OB", True
    return d


def without_markers(stream: bytes) -> bytes:
    """A JPEG without its JFIF and Adobe segments, so that nothing in it tells the colours."""
    at, kept = 2, [stream[:2]]
    while stream[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        kept += [] if stream[at + 1] in (0xE0, 0xEE) else [stream[at:end]]
        at = end
    return b"".join([*kept, stream[at:]])


def by_dcmtk(d: Dataset, folder: Path, *options: str) -> np.ndarray:
    if shutil.which("dcmj2pnm") is None:
        pytest.skip("!!! DCMTK is not installed (apt-get install dcmtk): lossy DICOM is not compared with it")
    (folder / "lossy.dcm").write_bytes(as_bytes(d))
    done = subprocess.run(["dcmj2pnm", "+op", *options, folder / "lossy.dcm", folder / "lossy.pnm"], check=True,
                          capture_output=True)  # fmt: skip
    assert b"F:" not in done.stderr
    data = (folder / "lossy.pnm").read_bytes()
    shape = SHAPE if data[:2] == b"P5" else (*SHAPE, 3)
    return np.frombuffer(data[-int(np.prod(shape)) :], np.uint8).reshape(shape).astype(float)


def test_lossy_grey_is_that_of_dcmtk(tmp_path: Path) -> None:
    """Process 1 and 4 of T.81; each decoder's inverse DCT may be off by 1."""
    for bits, syntax in ((8, BASELINE), (12, EXTENDED)):
        pixels = drawn(bits).astype(np.uint8 if bits == 8 else np.uint16)
        stream = bytes(imagecodecs.jpeg8_encode(pixels, level=92, bitspersample=bits))
        for kind in ("MONOCHROME1", "MONOCHROME2"):
            d = with_streams([stream], syntax, bits, kind)
            assert np.abs(decode(as_bytes(d)) - by_dcmtk(d, tmp_path, "+Wm")).max() <= 2, (bits, kind)
            d.WindowCenter, d.WindowWidth = str(2 ** (bits - 1)), str(2 ** (bits - 1))
            shown = by_dcmtk(d, tmp_path, "+Wi", "1")
            assert np.abs(decode(as_bytes(d)) - shown).max() <= 4, (bits, kind)
            d = with_streams([stream] * 2, syntax, bits, kind, WindowCenter=d.WindowCenter, WindowWidth=d.WindowWidth)
            for frame in clip_frames(as_bytes(d), tmp_path):
                assert np.abs(frame - shown[..., None]).max() <= 4, (bits, kind)


@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
def test_lossy_colours_are_those_of_dcmtk_whatever_the_header_says(subsampling: str, tmp_path: Path) -> None:
    """YCbCr without a marker: DCMTK is told YBR_FULL_422; medtrain must find it under RGB too (where components are
    subsampled), and whatever Planar Configuration says (PS3.5 8.2.1)."""
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    rgb = np.stack([60 + 4 * y, 200 - 3 * x, 90 + 2 * x + y], -1).astype(np.uint8)
    stream = bytes(imagecodecs.jpeg8_encode(rgb, level=95, colorspace="RGB", outcolorspace="YCbCr",
                                            subsampling=subsampling))  # fmt: skip
    stream = without_markers(stream)
    shape = (*SHAPE, 3)
    truth = by_dcmtk(with_streams([stream], BASELINE, 8, "YBR_FULL_422", shape), tmp_path)
    assert np.abs(truth - rgb).max() <= 12
    for kind in ("YBR_FULL_422", "YBR_FULL", *(["RGB"] if subsampling != "444" else [])):
        for planar in (0, 1):
            still = decode(as_bytes(with_streams([stream], BASELINE, 8, kind, shape, planar=planar)))
            assert np.abs(still - truth @ BT_601).max() <= 3, (kind, planar)
            clip = with_streams([stream] * 2, BASELINE, 8, kind, shape, planar=planar)
            for frame in clip_frames(as_bytes(clip), tmp_path):
                assert np.abs(frame - truth).max() <= (3 if subsampling == "444" else 8), (kind, planar)


def test_near_lossless_and_irreversible_kinds_are_near_what_was_encoded(tmp_path: Path) -> None:
    """JPEG-LS by its NEAR (T.87, A.4); JPEG 2000 9-7 of high quality."""
    for bits in (8, 12):
        pixels = drawn(bits).astype(np.uint8 if bits == 8 else np.uint16)
        exact = pixels * (255 / (2**bits - 1))
        near = bytes(imagecodecs.jpegls_encode(pixels, level=2))
        wavelets = bytes(imagecodecs.jpeg2k_encode(pixels, level=80, codecformat="J2K", reversible=False,
                                                   bitspersample=bits, resolutions=2))  # fmt: skip
        for stream, syntax in ((near, NEAR_LOSSLESS), (wavelets, JPEG_2000)):
            for number in (1, 2):
                window = {"WindowCenter": str(2 ** (bits - 1)), "WindowWidth": str(2**bits)}
                data = as_bytes(with_streams([stream] * number, syntax, bits, "MONOCHROME2", **window))
                frames = [decode(data)] if number == 1 else [f[..., 0] for f in clip_frames(data, tmp_path)]
                assert all(np.abs(frame - exact).max() <= 3 for frame in frames), (syntax, bits, number)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "HTJ2K": ({"syntax": "1.2.840.10008.1.2.4.201"}, "transfer syntax"),
    "MPEG-4": ({"syntax": "1.2.840.10008.1.2.4.102"}, "transfer syntax"),
    "JPIP": ({"syntax": "1.2.840.10008.1.2.4.94"}, "transfer syntax"),
    "32 bits": ({"BitsAllocated": 32}, "of 12 bits in 32"),
    "more stored than allocated": ({"BitsStored": 17}, "of 17 bits in 16"),
    "no bits": ({"BitsStored": 0}, "of 0 bits in 16"),
    "CMYK": ({"PhotometricInterpretation": "CMYK"}, "photometric interpretation"),
    "YBR_PARTIAL_420": ({"PhotometricInterpretation": "YBR_PARTIAL_420"}, "photometric interpretation"),
    "RGB of one sample": ({"PhotometricInterpretation": "RGB"}, "1 samples per pixel of RGB"),
    "grey of three samples": ({"SamplesPerPixel": 3}, "3 samples per pixel of MONOCHROME2"),
    "no palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "cannot be read"),
    "no rows": ({"Rows": 0}, "no pixels"),
    "half a LUT": ({"VOILUTSequence": lut(4096, 0, 12, np.arange(1000), "explicit")}, "cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    more, why = REFUSED[name]
    for number in (1, 2):
        elements = dict(more)
        d = made([drawn(12)] * number, "explicit", 12, "MONOCHROME2")
        if syntax := elements.pop("syntax", None):
            d = with_streams([b"\0" * 64] * number, syntax, 12, "MONOCHROME2")
        for element, value in elements.items():
            setattr(d, element, value)
        with pytest.raises(ValueError, match=why):
            decode(as_bytes(d)) if number == 1 else clip_frames(as_bytes(d), tmp_path)


def streams() -> dict[str, tuple[bytes, str, int]]:
    """A codestream of each compressed kind, its transfer syntax and bits."""
    found = {}
    for bits in (8, 12):
        words = drawn(bits).astype(np.uint8 if bits == 8 else np.uint16)
        for syntax in ("RLE", "JPEG lossless", "JPEG-LS", "JPEG 2000"):
            d = made([drawn(bits)], syntax, bits, "MONOCHROME2")
            at = d.PixelData.index(b"\xfe\xff\x00\xe0", 4) + 8  # behind the table of offsets, the one fragment
            found[f"{syntax}, {bits} bits"] = (d.PixelData[at:], SYNTAXES[syntax], bits)
        lossy = bytes(imagecodecs.jpeg8_encode(words, level=92, bitspersample=bits))
        found[f"JPEG, {bits} bits"] = lossy, BASELINE if bits == 8 else EXTENDED, bits
    return found


def damages(stream: bytes, kind: str) -> dict[str, bytes]:
    """As a medium or a copy does it. What is changed inside a code block of JPEG 2000 or a literal of RLE shows to no
    decoder, for nothing there is redundant: of those the structure is damaged."""
    middle, end = len(stream) // 2, len(stream)
    cut = {"cut in the middle": stream[:middle], "cut near its end": stream[: end - 12]}
    if kind.startswith("RLE"):
        head = bytearray(stream)
        head[4:8] = (64 + 100).to_bytes(4, "little")
        return cut | {"another start of a segment": bytes(head), "a long run": stream[:64] + b"\x81\0" + stream[66:]}
    if kind.startswith("JPEG 2000"):
        tile = stream.index(b"\xff\x90")
        longer = stream[: tile + 6] + (end + 9).to_bytes(4, "big") + stream[tile + 10 :]
        return cut | {"a longer tile-part": longer, "no tile-part": stream[:tile] + bytes(12) + stream[tile + 12 :]}
    scan = (stream.index(b"\xff\xda") + end) // 2  # in a table nothing that is used may lie there
    # Some bytes are by chance a valid code of other pixels, as long as what they replace: here these are not.
    other = bytes(48) if kind.startswith("JPEG,") else np.random.default_rng(3).integers(0, 255, 48, np.uint8).tobytes()
    return cut | {"48 other bytes in its middle": stream[:scan] + other + stream[scan + 48 :]}


def test_damage_in_a_compressed_picture_is_an_error_in_stills_as_in_clips(tmp_path: Path) -> None:
    accepted = []
    for kind, (stream, syntax, bits) in streams().items():
        whole = as_bytes(with_streams([stream], syntax, bits, "MONOCHROME2"))
        assert np.abs(decode(whole) - drawn(bits) * (255 / (2**bits - 1))).max() <= (8 if kind[:5] == "JPEG," else 0.51)
        for damage, data in {**damages(stream, kind), "rubbish": b"rubbish " * 40, "nothing": b"\0\0"}.items():
            for number in (1, 2):
                d = with_streams([data] * number, syntax, bits, "MONOCHROME2")
                try:
                    decode(as_bytes(d)) if number == 1 else clip_frames(as_bytes(d), tmp_path)
                except ValueError:
                    continue
                accepted.append((kind, damage, number))
    assert not accepted


def test_a_frame_of_another_size_or_kind_than_the_header_says_is_an_error(tmp_path: Path) -> None:
    """So that no decoder is told what the codestream does not hold, for which GDCM may end the process."""
    for kind, (stream, syntax, bits) in streams().items():
        for element in ("Rows", "Columns"):
            for number in (1, 2):
                d = with_streams([stream] * number, syntax, bits, "MONOCHROME2")
                d[element].value += 1
                with pytest.raises(ValueError):
                    decode(as_bytes(d)) if number == 1 else clip_frames(as_bytes(d), tmp_path)
        if not kind.startswith("RLE"):
            with pytest.raises(ValueError, match="another size"):
                decode(as_bytes(with_streams([stream], syntax, 8, "RGB", (*SHAPE, 3))))


def test_a_lossless_jpeg_of_few_bits_is_refused_before_gdcm_has_it() -> None:
    stream = bytes(imagecodecs.jpeg8_encode(drawn(8).astype(np.uint8), lossless=True, predictor=1))
    at = stream.index(b"\xff\xc3")
    with pytest.raises(ValueError, match="JPEG lossless of 6 bits is not read here"):
        decode(as_bytes(with_streams([stream[: at + 4] + b"\6" + stream[at + 5 :]], LOSSLESS, 8, "MONOCHROME2")))


def test_a_deflated_file_that_is_cut_or_changed_is_an_error() -> None:
    """RFC 1951 has no checksum; what it decodes to must be as long as the header says."""
    data = as_bytes(made([drawn(12)], "deflated", 12, "MONOCHROME2"))
    assert decode(data).max() == 255
    for size in range(400, len(data) - 4, 97):
        with pytest.raises(ValueError):
            decode(data[:size])


def test_a_lossless_jpeg_whose_data_are_not_used_up_is_damaged() -> None:
    """The bits that a picture needs by T.81, H.1.2, in every predictor and depth: what libjpeg leaves over silently."""
    for bits in (8, 12, 16):
        words = drawn(bits).astype(np.uint8 if bits == 8 else np.uint16)
        for predictor in range(1, 8):
            stream = bytes(imagecodecs.jpeg8_encode(words, lossless=True, predictor=predictor, bitspersample=bits))
            assert is_used_up(stream, words, bits), (bits, predictor)
            assert not is_used_up(stream[:-2] + b"\x55" * 9 + stream[-2:], words, bits), "more than is needed"
            other = words.copy()
            other[3:20] = words[0, 0]
            assert not is_used_up(stream, other, bits), "another picture"
