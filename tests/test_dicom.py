"""medtrain.dicom: files written here in every transfer syntax that chest X-rays come in, and damaged ones."""

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

from medtrain import dicom
from medtrain.decode import decode, extension, header
from medtrain.errors import InputError
from medtrain.plan import PackOptions
from medtrain.record import Record
from medtrain.shards import pack


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
    with pytest.raises(ValueError, match="JPEG Extended"):
        decode(Path(str(get_testdata_file("JPGExtended.dcm"))).read_bytes())


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
