"""DICOM clips: every colour and transfer syntax, written here, gives the same RGB frames."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import simplejpeg
from clip_files import (
    COMPRESSED,
    as_ybr,
    decoded,
    dicom_clip,
    encoded_frames,
    gradients,
    grey,
    pairs_of_columns,
    reason,
    save,
    save_compressed,
    save_encoded,
)
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


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
    """Of 8 bits, of 16, and of 8 in 16. Two entries of 8 bits share a word of OW, the first in its lower half (PS3.5
    8.1.1), so that in a file of big endian they lie the other way round; DCMTK 3.6.7 reads it so."""
    stored = gradients()[..., 0]
    ramp = np.arange(256)
    palette = np.stack([255 - ramp, ramp // 2, ramp], 1)
    made = dicom_clip(stored, "PALETTE COLOR", syntax)
    kind = np.dtype(np.uint8 if bits == 8 else np.uint16).newbyteorder("<" if syntax.is_little_endian else ">")
    for name, entries in zip(("Red", "Green", "Blue"), palette.T, strict=True):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
        data = (entries * scale).astype(kind).tobytes()
        if bits == 8 and not syntax.is_little_endian:
            data = np.frombuffer(data, "<u2").byteswap().tobytes()
        setattr(made, f"{name}PaletteColorLookupTableData", data)
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
