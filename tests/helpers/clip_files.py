"""Clips for tests: a drawn, beating sector with burned-in text, as DICOM in every transfer syntax, as MP4 and AVI."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import gdcm
import numpy as np
import pydicom
import pytest
from dicom_files import as_bytes, compressed
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from medtrain.imaging.video import reader

ULTRASOUND_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
COMPRESSED = {
    "JPEG baseline": gdcm.TransferSyntax.JPEGBaselineProcess1,
    "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
    "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless,
    "RLE": gdcm.TransferSyntax.RLELossless,
}


def gradients(frames: int = 4, height: int = 40, width: int = 56) -> np.ndarray:
    """uint8 [T, H, W, 3]: smooth and in colour, each frame another, so that any codec keeps them closely."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([
        np.stack([40 + 3 * y + 5 * t, 200 - 2 * x - 4 * t, 60 + y + x], 2).clip(0, 255).astype(np.uint8)
        for t in range(frames)
    ])  # fmt: skip


def fan(height: int, width: int) -> np.ndarray:
    """bool [H, W]: a phased array's sector of 80 degrees."""
    y, x = np.mgrid[0:height, 0:width]
    down, across = y - 0.08 * height, x - width / 2
    return (np.hypot(down, across) < 0.82 * height) & (np.abs(across) < down * math.tan(math.radians(40)))


def beating(frames: int = 24, height: int = 240, width: int = 320, brightest: int = 200, noise: float = 0,
            doppler: bool = False) -> np.ndarray:  # fmt: skip
    """uint8 [T, H, W, 3]: speckle that beats inside the fan round a dark chamber; `noise` is all over."""
    rng = np.random.default_rng(0)
    speckle = cv2.GaussianBlur(rng.random((height, width)).astype(np.float32), (0, 0), 1.5 * height / 240)
    speckle = np.clip((speckle - speckle.mean()) / (4 * speckle.std()) + 0.5, 0, 1)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    chamber = np.hypot((x - width / 2) / (0.11 * height), (y - 0.5 * height) / (0.2 * height))
    clip = np.zeros((frames, height, width, 3), np.uint8)
    for t in range(frames):
        beat = 1 + 0.06 * math.sin(2 * math.pi * t / 12)
        warped = cv2.remap(speckle, (x - width / 2) * beat + width / 2, y * beat, cv2.INTER_LINEAR)
        grey = warped * brightest * np.clip(chamber * beat - 0.6, 0, 1) * fan(height, width)
        clip[t] = np.clip(grey[:, :, None] + rng.normal(0, noise, (height, width, 1)) * (noise > 0), 0, 255)
        if doppler:
            jet = (chamber < 0.7) & fan(height, width)
            clip[t][jet] = (220, 40, 0) if t % 6 < 3 else (0, 60, 220)
    return clip


def write(clip: np.ndarray, words: Sequence[tuple[str, float, float]], running: bool = False) -> np.ndarray:
    """The same with each (words, x, y) burned in, x and y as shares; bool [H, W]: where any frame has ink. `running`:
    the words are a clock that another frame shows otherwise."""
    height, width = clip.shape[1:3]
    ink = np.zeros((height, width), bool)
    for t, frame in enumerate(clip):
        for text, x, y in words:
            shown = f"{text} {t * 37 % 100:02d}:{t * 61 % 100:02d}" if running else text
            page = np.zeros((height, width), np.uint8)
            where = (int(x * width), int(y * height))
            cv2.putText(page, shown, where, cv2.FONT_HERSHEY_SIMPLEX, height / 600, 255, 1, cv2.LINE_AA)
            frame[:] = np.maximum(frame, page[:, :, None])
            ink |= page > 0
    return ink


def region(x0: int, y0: int, x1: int, y1: int, data_type: int = 1, spatial_format: int = 1) -> Dataset:
    made = Dataset()
    made.RegionLocationMinX0, made.RegionLocationMinY0 = x0, y0
    made.RegionLocationMaxX1, made.RegionLocationMaxY1 = x1, y1
    made.RegionDataType, made.RegionSpatialFormat = data_type, spatial_format
    return made


def dicom_clip(pixels: np.ndarray, colour: str = "RGB", syntax: Any = ExplicitVRLittleEndian, **more: Any) -> Dataset:
    """A multi-frame file of stored values [T, H, W] or [T, H, W, 3], not compressed; `more` are its other elements."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = ULTRASOUND_MULTI_FRAME
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.PatientName, made.PatientID, made.StudyInstanceUID = "DRAWN^NAME", "DRAWN-ID", "1.2.3.4"
    made.NumberOfFrames, made.Rows, made.Columns = pixels.shape[:3]
    made.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    if pixels.ndim == 4:
        made.PlanarConfiguration = 0
    made.PhotometricInterpretation, made.PixelRepresentation = colour, 0
    bits = 8 * pixels.dtype.itemsize
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    stored = pixels if syntax.is_little_endian else pixels.astype(pixels.dtype.newbyteorder(">"))
    made.PixelData = stored.tobytes() + b"\0" * (pixels.nbytes % 2)
    made["PixelData"].VR = "OB" if bits == 8 else "OW"
    made.FrameTime, made.FrameIncrementPointer = "40", 0x00181063
    for name, value in more.items():
        setattr(made, name, value)
    return made


def save(made: Dataset, path: Path) -> Path:
    path.write_bytes(as_bytes(made))
    return path


def save_compressed(made: Dataset, path: Path, syntax: str) -> Path:
    """By GDCM."""
    path.write_bytes(compressed(as_bytes(made), COMPRESSED[syntax], path.parent))
    return path


def encoded_frames(path: Path) -> list[bytes]:
    dataset = pydicom.dcmread(path)
    return list(generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames))


def save_encoded(made: Dataset, path: Path, encoded: list[bytes], syntax: Any, **options: Any) -> Path:
    """A file of frames that are encoded already; `options` of pydicom's encapsulate."""
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate(encoded, **options)
    made["PixelData"].is_undefined_length = True
    made["PixelData"].VR = "OB"
    return save(made, path)


def save_video(path: Path, clip: Sequence[np.ndarray] | np.ndarray, codec: str, rate: float = 25.0) -> Path:
    """By FFmpeg in OpenCV; frames are [H, W, 3] in RGB."""
    height, width = clip[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), rate, (width, height))
    assert writer.isOpened()
    for frame in clip:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def as_ybr(rgb: np.ndarray) -> np.ndarray:
    """YBR_FULL by the formula of PS3.3 C.7.6.3.1.2, in floating point."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return np.rint(rgb @ matrix.T + (0, 128, 128)).clip(0, 255).astype(np.uint8)


def pairs_of_columns(ybr: np.ndarray) -> Iterator[bytes]:
    """YBR_FULL_422 as stored without compression: of two columns Y, Y, Cb, Cr (PS3.3 C.7.6.3.1.2)."""
    for frame in ybr:
        even, odd = frame[:, ::2], frame[:, 1::2]
        yield np.stack([even[..., 0], odd[..., 0], even[..., 1], even[..., 2]], -1).tobytes()


def decoded(path: Path, which: list[int] | None = None) -> np.ndarray:
    return np.stack(list(reader.frames(path, which)))


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., None], 3, -1)


def reason(path: Path) -> str:
    """Why all frames of a file cannot be read."""
    with pytest.raises(ValueError) as caught:
        list(reader.frames(path))
    return str(caught.value)


def cut_short(frame: bytes) -> bytes:
    return frame[: len(frame) // 2]


def rubbish(frame: bytes) -> bytes:
    return b"rubbish " * (len(frame) // 8)


def wiped(frame: bytes) -> bytes:
    return frame[: len(frame) // 2] + bytes(len(frame) // 4) + frame[len(frame) // 2 + len(frame) // 4 :]
