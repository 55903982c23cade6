"""DICOM files for tests, written here in every transfer syntax that chest X-rays come in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

SYNTAXES = {
    "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
    "RLE": gdcm.TransferSyntax.RLELossless,
}


def stored(bits: int = 12) -> np.ndarray:
    """A ramp with noise, over the whole range of so many bits."""
    rows, columns = np.mgrid[0:40, 0:48]
    values = (rows * 48 + columns) / (40 * 48 - 1) * (2**bits - 1)
    return np.clip(values + np.random.default_rng(0).normal(0, 9, values.shape), 0, 2**bits - 1).astype(np.uint16)


def dataset(pixels: np.ndarray, bits: int = 12, **more: Any) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    made.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    made.PatientName, made.PatientID = "Nobody^At all", "0"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, bits, bits - 1, 0
    made.PixelData = pixels.tobytes()
    for name, value in more.items():
        setattr(made, name, value)
    return made


def as_bytes(made: Dataset) -> bytes:
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def compressed(data: bytes, syntax: int, folder: Path) -> bytes:
    """The same file in another transfer syntax, by GDCM."""
    (folder / "plain.dcm").write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "small.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return (folder / "small.dcm").read_bytes()
