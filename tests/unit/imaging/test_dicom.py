"""imaging.dicom: files written here in every transfer syntax that chest X-rays come in, and damaged ones."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import SYNTAXES, as_bytes, compressed, dataset, stored
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_color_lut, apply_windowing
from pydicom.uid import HTJ2KLossless

from medtrain.core.errors import InputError
from medtrain.datasets.record import Record
from medtrain.imaging import dicom
from medtrain.imaging.decode import decode, extension, header
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def test_without_a_window_the_whole_range_counts() -> None:
    pixels = stored()
    np.testing.assert_array_equal(decode(as_bytes(dataset(pixels))), scaled(pixels, pixels.min(), pixels.max()))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("name", SYNTAXES)
def test_every_compression_gives_the_same_pixels(name: str, bits: int, tmp_path: Path) -> None:
    plain = as_bytes(dataset(stored(bits), bits))
    packed = compressed(plain, SYNTAXES[name], tmp_path)
    uid = pydicom.dcmread(io.BytesIO(packed)).file_meta.TransferSyntaxUID
    assert uid.is_compressed, "else this tests nothing"
    np.testing.assert_array_equal(decode(packed), decode(plain))


def test_a_window_by_the_formula_of_the_standard() -> None:
    pixels = stored()
    shown = decode(as_bytes(dataset(pixels, WindowCenter=["2048", "100"], WindowWidth=["1000", "50"])))
    np.testing.assert_array_equal(shown, scaled(pixels, 2048 - 0.5 - 499.5, 2048 - 0.5 + 499.5))


def test_values_are_rescaled_before_the_window() -> None:
    pixels = stored()
    shown = decode(
        as_bytes(dataset(pixels, RescaleSlope="2", RescaleIntercept="-1000", WindowCenter="1000", WindowWidth="4001"))
    )
    np.testing.assert_array_equal(shown, scaled(pixels * 2.0 - 1000, 999.5 - 2000, 999.5 + 2000))


def test_monochrome1_is_inverted() -> None:
    pixels = stored()
    straight = decode(as_bytes(dataset(pixels)))
    inverted = decode(as_bytes(dataset(pixels, PhotometricInterpretation="MONOCHROME1")))
    assert np.abs(inverted.astype(int) - (255 - straight.astype(int))).max() <= 1
    assert inverted[0, 0] > 250


def test_a_voi_lut_comes_before_a_window() -> None:
    pixels = stored(8)
    item = Dataset()
    item.LUTDescriptor = [256, 0, 16]
    table = (np.linspace(0, 1, 256) ** 2 * 65535).astype(np.uint16)
    item.LUTData = table.tobytes()
    item["LUTData"].VR = "OW"
    shown = decode(as_bytes(dataset(pixels, 8, VOILUTSequence=[item], WindowCenter="10", WindowWidth="5")))
    np.testing.assert_array_equal(shown, scaled(table[pixels], 0, 65535))


def voi_lut(entries: list[int], first: int, bits: int) -> list[Dataset]:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [len(entries), first, bits], np.array(entries, "<u2").tobytes()
    table["LUTData"].VR = "OW"
    return [table]


def test_a_voi_lut_of_few_bits_has_many_entries() -> None:
    """The plain table from 12 bits to 8; and values outside of what it knows."""
    pixels = stored()
    shown = decode(as_bytes(dataset(pixels, VOILUTSequence=voi_lut([i // 16 for i in range(4096)], 0, 8))))
    np.testing.assert_array_equal(shown, pixels // 16)
    shown = decode(as_bytes(dataset(pixels, VOILUTSequence=voi_lut([0, 100, 255], 1000, 8))))
    np.testing.assert_array_equal(shown, np.array([0, 100, 255])[np.clip(pixels.astype(int) - 1000, 0, 2)])


def test_a_table_without_entries_gives_way_to_the_window() -> None:
    pixels = stored()
    window = {"WindowCenter": "2048", "WindowWidth": "1000"}
    shown = decode(as_bytes(dataset(pixels, VOILUTSequence=[Dataset()], **window)))
    np.testing.assert_array_equal(shown, decode(as_bytes(dataset(pixels, **window))))


def test_each_function_of_a_window_is_that_of_the_standard() -> None:
    """PS3.3 C.11.2.1.3, as pydicom computes it; the same in MONOCHROME1."""
    pixels = stored()
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        made = dataset(pixels, WindowCenter="2048", WindowWidth="1024", VOILUTFunction=function)
        expected = apply_windowing(pixels, made) / 4095
        assert np.abs(decode(as_bytes(made)) - expected * 255).max() <= 0.51, function
        made.PhotometricInterpretation = "MONOCHROME1"
        assert np.abs(decode(as_bytes(made)) - (1 - expected) * 255).max() <= 0.51, function


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_has_no_say_in_the_range(kind: str) -> None:
    pixels = stored(8) + 1000
    padded = pixels.copy()
    padded[:, :5], padded[:3] = 0xFFFF, 0xFFF0
    plain = decode(as_bytes(dataset(pixels[3:, 5:], PhotometricInterpretation=kind)))
    for bits in (12, 16):
        shown = decode(as_bytes(dataset(padded, bits, PhotometricInterpretation=kind, PixelPaddingValue=0xFFF0,
                                        PixelPaddingRangeLimit=0xFFFF)))  # fmt: skip
        assert not shown[:, :5].any() and not shown[:3].any()
        whole = np.rint((pixels[3:, 5:] - pixels[3:, 5:].min()) / np.ptp(pixels[3:, 5:]) * 255)
        np.testing.assert_array_equal(shown[3:, 5:], whole if kind == "MONOCHROME2" else plain)
    nothing = dataset(np.full((4, 4), 7, np.uint16), PhotometricInterpretation=kind, PixelPaddingValue=7)
    assert not decode(as_bytes(nothing)).any()


def test_a_palette_is_looked_up() -> None:
    path = get_testdata_file("examples_palette.dcm")
    assert path is not None
    made = pydicom.dcmread(path)
    colours = apply_color_lut(made.pixel_array, made)
    expected = colours @ (0.299, 0.587, 0.114) / (2 ** int(made.RedPaletteColorLookupTableDescriptor[2]) - 1) * 255
    assert np.abs(decode(Path(path).read_bytes()) - expected).max() <= 0.51
    rgb = decode(Path(path).read_bytes(), colour=True)
    assert np.abs(rgb - colours / (2 ** int(made.RedPaletteColorLookupTableDescriptor[2]) - 1) * 255).max() <= 0.51


def test_gray_and_color_in_three_channels() -> None:
    gray, rgb = as_bytes(dataset(stored())), Path(str(get_testdata_file("examples_rgb_color.dcm"))).read_bytes()
    np.testing.assert_array_equal(decode(gray, colour=True), np.dstack([decode(gray)] * 3))
    np.testing.assert_array_equal(decode(rgb, colour=True), pydicom.dcmread(io.BytesIO(rgb)).pixel_array)


def test_a_wide_range_of_signed_pixels() -> None:
    pixels = np.linspace(-20000, 20000, 48 * 40).reshape(40, 48).astype(np.int16)
    np.testing.assert_array_equal(
        decode(as_bytes(dataset(pixels, 16, PixelRepresentation=1))), scaled(pixels, -20000, 20000)
    )


def test_pixels_at_the_upper_end_of_their_words() -> None:
    pixels, window = stored(), {"WindowCenter": "2048", "WindowWidth": "1000"}
    shown = decode(as_bytes(dataset(pixels << 4, HighBit=15, **window)))
    np.testing.assert_array_equal(shown, decode(as_bytes(dataset(pixels, **window))))


def test_a_file_without_a_picture_says_so() -> None:
    made = dataset(stored())
    for name in ("PixelData", "BitsStored", "HighBit", "BitsAllocated"):
        delattr(made, name)
    for read in (decode, header):
        with pytest.raises(ValueError, match="it has no picture"):
            read(as_bytes(made))


@pytest.mark.parametrize("kind", ["", *SYNTAXES])
def test_bits_above_too_small_a_bits_stored_are_kept(kind: str, tmp_path: Path) -> None:
    pixels = stored(12)
    data = as_bytes(dataset(pixels, 12))
    data = compressed(data, SYNTAXES[kind], tmp_path) if kind else data
    wrong = pydicom.dcmread(io.BytesIO(data))
    wrong.BitsStored, wrong.HighBit = 10, 9
    np.testing.assert_array_equal(decode(as_bytes(wrong)), scaled(pixels, pixels.min(), pixels.max()))


def test_an_overlay_above_the_pixels_is_left_out() -> None:
    pixels = stored(12)
    mixed = pixels | (np.random.default_rng(1).integers(0, 2, pixels.shape, np.uint16) << 15)
    made = dataset(mixed, 12)
    made.add_new((0x6000, 0x0100), "US", 16)
    made.add_new((0x6000, 0x0102), "US", 15)
    np.testing.assert_array_equal(decode(as_bytes(made)), scaled(pixels, pixels.min(), pixels.max()))


def test_a_stray_bit_far_above_the_pixels_is_left_out() -> None:
    """As de-identification leaves an overlay whose tags it removed."""
    pixels = stored(12)
    mixed = pixels | (np.random.default_rng(1).integers(0, 2, pixels.shape, np.uint16) << 15)
    np.testing.assert_array_equal(decode(as_bytes(dataset(mixed, 12))), scaled(pixels, pixels.min(), pixels.max()))


def test_signed_pixels() -> None:
    pixels = stored(12).astype(np.int16) - 2048
    made = dataset((pixels & 0x0FFF).astype(np.uint16), 12, PixelRepresentation=1)
    np.testing.assert_array_equal(decode(as_bytes(made)), scaled(pixels, pixels.min(), pixels.max()))


def test_an_empty_voi_lut_is_none() -> None:
    pixels = stored()
    shown = decode(as_bytes(dataset(pixels, VOILUTSequence=[])))
    np.testing.assert_array_equal(shown, scaled(pixels, pixels.min(), pixels.max()))


def test_header() -> None:
    data = as_bytes(dataset(stored(14), 14, PhotometricInterpretation="MONOCHROME1"))
    assert header(data) == (48, 40, "MONOCHROME1 14 bit")
    assert extension(data) == "dcm"


@pytest.mark.parametrize("cut", [140, 400, -1000])
def test_a_truncated_file(cut: int) -> None:
    with pytest.raises(ValueError, match="DICOM that cannot be read"):
        decode(as_bytes(dataset(stored()))[:cut])


def test_several_frames_are_no_x_ray() -> None:
    pixels = np.stack([stored(), stored()])
    made = dataset(pixels, NumberOfFrames="2")
    made.Rows, made.Columns = 40, 48
    with pytest.raises(ValueError, match="it has 2 frames, not one"):
        decode(as_bytes(made))


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_RLE.dcm", "CT_small.dcm", "SC_rgb_jpeg.dcm"])
def test_files_of_real_devices(name: str) -> None:
    pixels = decode(Path(str(get_testdata_file(name))).read_bytes())
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 2
    assert pixels.max() > pixels.min()


def test_a_compression_that_nothing_here_reads_is_named() -> None:
    made = dataset(stored())
    made.PixelData, made.file_meta.TransferSyntaxUID = encapsulate([b"\0" * 64]), HTJ2KLossless
    made["PixelData"].is_undefined_length = True
    with pytest.raises(
        ValueError, match=r"its transfer syntax \(High-Throughput JPEG 2000 Image Compression \(Lossless"
    ):
        decode(as_bytes(made))


def test_12_bit_jpeg_extended_is_read() -> None:
    """Process 4 of T.81, by GDCM; pydicom 3.0 refuses it. A real file, whose pixels DCMTK's dcmdjpeg gives too."""
    assert decode(Path(str(get_testdata_file("JPGExtended.dcm"))).read_bytes()).max() == 255


def test_tags_that_are_there_and_empty_are_as_none() -> None:
    pixels, empty = stored(), {"WindowCenter": None, "WindowWidth": "", "RescaleSlope": None, "RescaleIntercept": None}
    assert np.array_equal(decode(as_bytes(dataset(pixels, **empty))), decode(as_bytes(dataset(pixels))))


def test_nothing_of_a_header_reaches_a_shard(tmp_path: Path) -> None:
    records = []
    for number in range(4):
        path = tmp_path / f"{number}.dicom"
        path.write_bytes(as_bytes(dataset(stored() + np.uint16(number))))
        records.append(Record("x", path.name, path, {"a": 1}, split="train"))
    manifest = pack(records, ("a",), tmp_path / "out", PackOptions(encoding="tiff"), workers=1)
    assert manifest["splits"]["train"]["samples"] == 4
    assert "MONOCHROME1 inverted" in manifest["pixels"]
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"Nobody" not in everything
    with pytest.raises(InputError, match=r"0.dicom is a DICOM file, which is not copied into shards"):
        pack(records, ("a",), tmp_path / "none", PackOptions(), workers=1)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "first.png")
    mixed = [Record("x", "first.png", tmp_path / "first.png", {"a": 1}, split="train"), *records]
    refused = pack(mixed, ("a",), tmp_path / "copies", PackOptions(), workers=1)
    assert refused["rejects"] == 4
    assert b"Nobody" not in b"".join(path.read_bytes() for path in (tmp_path / "copies").iterdir())
    assert "is not copied into shards" in (tmp_path / "copies" / "rejects.jsonl").read_text()
    assert dicom.is_dicom(records[0].path.read_bytes())
