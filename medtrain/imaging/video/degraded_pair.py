"""A clip written twice, as it is and of low quality: DICOM without loss, of the pixels inside its sector alone."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from medtrain.core.files import whole
from medtrain.core.isolated_processes import NO_MEMORY, Ended, Work, announce
from medtrain.imaging.video import reader
from medtrain.imaging.video.header import ClipHeader
from medtrain.imaging.video.sector import Sector, find_sector

Pixels = NDArray[np.uint8]
MID_GREY = 127.5
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"  # Ultrasound Multi-frame Image Storage
LARGEST = 2**32 - 2  # bytes of a value, PS3.5 7.1
LEAST_OVERLAP = 0.9  # intersection over union of a sector and what is found of it in the written clip; 0.99 is usual


@dataclass(frozen=True)
class Degradation:
    """What a bad clip has, in the order in which a scanner brings it about: the beam blurs, the gain takes contrast
    away, and the noise of the electronics comes last, so that its deviation is the requested one."""

    blur: int = 5
    contrast: float = 0.5
    noise: float = 0.2

    def of(self, frame: Pixels, mask: Pixels, rng: np.random.Generator) -> Pixels:
        """A frame uint8 [h, w] or [h, w, 3] of low quality, black where `mask` uint8 [h, w] is 0. The noise is the same
        in all channels: grey stays grey."""
        # As OpenCV weights a kernel of that size: 5 pixels by 1 4 6 4 1.
        picture = cv2.GaussianBlur(frame.astype(np.float32), (self.blur, self.blur), 0)
        picture = MID_GREY + self.contrast * (picture - MID_GREY)
        noise = 255 * self.noise * rng.standard_normal(mask.shape, np.float32)
        inside = mask if frame.ndim == 2 else mask[:, :, None]
        picture = picture + noise.reshape(inside.shape)
        return np.asarray(np.rint(picture).clip(0, 255), np.uint8) * inside

    def told(self) -> str:
        """In words."""
        return (
            f"Gaussian blur of kernel {self.blur} pixels, contrast x {self.contrast:g} about mid-grey, Gaussian noise"
            f" of deviation {self.noise:g} of the full range"
        )


@dataclass(frozen=True)
class Pair:
    """What is made of the clip `source`: two files, as it is and degraded; `seed` decides the noise."""

    source: Path
    files: tuple[Path, Path]
    how: Degradation
    seed: tuple[int, ...]


def write_pair(pair: Pair, ended: Ended) -> str:
    """Write a clip as it is and degraded; one frame at a time is in memory. Both files appear whole or not at all.
    Returns why the clip cannot be used, or nothing; OSError where the files cannot be written."""
    if ended:
        return ended[0]
    announce(0)
    try:
        return _write_pair(pair.source, pair.files, pair.how, pair.seed)
    except MemoryError:
        return NO_MEMORY


def _touch(pair: Pair, _: int) -> None:
    _Clip.of(pair.source)


WRITING = Work(write_pair, _touch)


def _write_pair(source: Path, pair: tuple[Path, Path], how: Degradation, seed: tuple[int, ...]) -> str:
    cv2.setNumThreads(0)  # the processes fill the cores
    try:
        clip = _Clip.of(source)
    except ValueError as fault:
        return str(fault)
    except OSError as error:
        return error.strerror or str(error)
    rng = np.random.default_rng(seed)
    try:
        with whole(pair[0]) as plain, whole(pair[1]) as low:
            clip.begin(plain, "original", "The pixels inside the ultrasound sector")
            clip.begin(low, f"degraded {seed}", how.told())
            for frame in clip.frames():
                plain.write(frame.tobytes())
                low.write(how.of(frame, clip.sector.mask, rng).tobytes())
            for file in (plain, low):
                file.write(b"\0" * (clip.size % 2))  # values have an even length, PS3.5 7.1.1
                file.flush()
            for file, told in ((plain, "copy"), (low, "degraded version (give a --noise of 0.02 or more)")):
                if not clip.shows_in(Path(file.name)):
                    raise ValueError(f"its ultrasound sector is not found again in the {told}")
    except ValueError as fault:
        return str(fault)
    return ""


@dataclass(frozen=True)
class _Clip:
    """A clip that was seen whole; `digest` is of the pixels inside its sector."""

    path: Path
    header: ClipHeader
    sector: Sector
    grey: bool
    digest: str

    @classmethod
    def of(cls, path: Path) -> _Clip:
        """ValueError, and OSError, where it cannot be used."""
        header = reader.header(path)
        sector = find_sector(path, header)
        grey, digest = True, hashlib.sha256()
        for frame in reader.frames(path):
            cut = sector.cut(frame)
            grey = grey and bool((cut == cut[:, :, :1]).all())
            digest.update(cut.tobytes())
        clip = cls(path, header, sector, grey, digest.hexdigest())
        if clip.size > LARGEST:
            raise ValueError(f"its {header.frames:,} frames are more than a DICOM file can hold without compression")
        return clip

    @property
    def size(self) -> int:
        """Bytes of all frames."""
        return self.header.frames * self.sector.mask.size * (1 if self.grey else 3)

    def frames(self) -> Iterator[Pixels]:
        """uint8 [h, w], or [h, w, 3] in colour: the box of the sector, black outside the sector."""
        for frame in reader.frames(self.path):
            cut = self.sector.cut(frame)
            yield cut[:, :, 0] if self.grey else cut

    def shows_in(self, written: Path) -> bool:
        """Whether who packs a version finds this sector in it. Contrast alone lifts black to grey, in which little
        moves: the clip would be cut to a part of the sector, and that would tell it from its original."""
        try:
            found = find_sector(written, reader.header(written))
        except ValueError:
            return False
        x0, y0, x1, y1 = found.box
        again = np.zeros_like(self.sector.mask)
        again[y0 : y1 + 1, x0 : x1 + 1] = found.mask
        return int((again & self.sector.mask).sum()) >= LEAST_OVERLAP * int((again | self.sector.mask).sum())

    def begin(self, file: BinaryIO, version: str, derived: str) -> None:
        """Write the DICOM header of a version, behind which the frames belong. Nothing that the source's header tells
        but the frame time is in it. Its UIDs are made of the pixels: copies of an original are copies of each other
        still, which no split parts."""
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

        made = Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = UID(ULTRASOUND)
        made.StudyInstanceUID = generate_uid(entropy_srcs=["medtrain", "study", self.digest])
        made.SeriesInstanceUID = generate_uid(entropy_srcs=["medtrain", "series", self.digest, version, derived])
        made.SOPInstanceUID = generate_uid(entropy_srcs=["medtrain", "clip", self.digest, version, derived])
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.Modality, made.ImageType, made.DerivationDescription = "US", ["DERIVED", "SECONDARY"], derived
        made.NumberOfFrames = self.header.frames
        made.Rows, made.Columns = self.sector.mask.shape
        if self.header.frame_ms:
            made.FrameTime, made.FrameIncrementPointer = f"{self.header.frame_ms:.10g}", 0x00181063
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
        made.SamplesPerPixel, made.PhotometricInterpretation = (1, "MONOCHROME2") if self.grey else (3, "RGB")
        if not self.grey:
            made.PlanarConfiguration = 0
        made.save_as(file, enforce_file_format=True)
        file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, self.size + self.size % 2))
