"""Clips of every kind with names, dates and numbers planted wherever a file can hold them, and their clean twins."""

from __future__ import annotations

import csv
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import simplejpeg
from clip_files import (
    COMPRESSED,
    as_ybr,
    beating,
    dicom_clip,
    region,
    save,
    save_compressed,
    save_encoded,
    save_video,
    write,
)
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

SPLITS = ("train", "val", "test")
DAMAGED = 7
# PS3.6: what tells of the patient, the visit, who ordered it and who made it; dates, then numbers, stand apart.
TEXTS = (
    "InstitutionName", "InstitutionAddress", "ReferringPhysicianName", "StationName", "StudyDescription",
    "SeriesDescription", "OperatorsName", "PhysiciansOfRecord", "AdmittingDiagnosesDescription", "AccessionNumber",
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientAddress", "PatientMotherBirthName",
    "AdditionalPatientHistory", "PatientComments", "ImageComments", "StudyID", "RequestingPhysician",
    "RequestedProcedureDescription", "PerformedProcedureStepDescription", "PerformedProcedureStepID",
    "RequestedProcedureID", "DeviceSerialNumber", "ProtocolName",
)  # fmt: skip
DATES = ("StudyDate", "SeriesDate", "ContentDate", "PatientBirthDate", "PerformedProcedureStepStartDate")
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
SHORT_TEXTS = ("AccessionNumber", "StationName", "StudyID", "PerformedProcedureStepID", "RequestedProcedureID")


class Plant:
    """Makes what is planted. Drawn by chance, so that it stands in no source file, and nowhere by accident."""

    def __init__(self) -> None:
        self.words: list[str] = []
        # One for all: eight digits are not much among thousands of numbers.
        self.date = self._kept(f"19{secrets.randbelow(70) + 10}0{secrets.randbelow(9) + 1}{secrets.randbelow(18) + 10}")

    def word(self) -> str:
        """Ten letters."""
        return self._kept("".join(secrets.choice("ABCDEFGHIKLMNOPRSTUVW") for _ in range(10)))

    def name(self) -> str:
        """As DICOM has it; each part is looked for by itself, so in any order."""
        return f"{self.word()}^{self.word()}"

    def uid(self) -> str:
        return f"1.2.826.0.1.{self._kept(str(10**14 + secrets.randbelow(10**14)))}"

    def _kept(self, word: str) -> str:
        self.words.append(word)
        return word


def tagged(made: Dataset, plant: Plant) -> Dataset:
    """With something planted in every group that tells of persons, in a sequence, and in private elements."""
    made.SpecificCharacterSet = "ISO_IR 100"
    for keyword in TEXTS:
        setattr(made, keyword, plant.name() if keyword not in SHORT_TEXTS else plant.word())
    for keyword in DATES:
        setattr(made, keyword, plant.date)
    for keyword in UIDS:
        setattr(made, keyword, plant.uid())
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.SourceApplicationEntityTitle = plant.word()
    nested = Dataset()
    nested.ScheduledProcedureStepDescription, nested.RequestedProcedureID = plant.name(), plant.word()
    made.RequestAttributesSequence = [nested]
    for group in (0x0009, 0x0019, 0x0029, 0x200D):
        made.private_block(group, plant.word(), create=True).add_new(1, "LO", f"{plant.word()} Mü{plant.word()}")
    made.SequenceOfUltrasoundRegions = [region(0, 0, 319, 239)]
    made.SequenceOfUltrasoundRegions[0].add_new(0x00104000, "LT", plant.word())
    made.add_new(0xFFFCFFFC, "OB", plant.word().encode())  # data set trailing padding
    made.preamble = plant.word().encode().ljust(128, b"\0")
    return made


def drawn(number: int, plant: Plant | None) -> np.ndarray:
    """uint8 [16, 240, 320, 3]: the clip of that number, with names above the sector, in some with a clock, and beside
    it within its box."""
    clip = beating(16, brightest=150 + 5 * number)
    if plant:
        write(clip, [(plant.word(), 0.01, 0.06)], running=bool(number % 2))
        write(clip, [(plant.word(), 0.68, 0.06), (plant.word(), 0.0, 0.25)])
    return clip


def kinds(folder: Path, plant: Plant | None) -> Iterator[tuple[str, Path]]:
    """Write a clip of every kind of file, and say which: of the same pictures with and without what is planted."""
    stem = plant.word if plant else lambda: f"clip{secrets.token_hex(4)}"

    def dicom(pixels: np.ndarray, *more: Any) -> Dataset:
        return tagged(dicom_clip(pixels, *more), plant) if plant else dicom_clip(pixels, *more)

    clips = (drawn(number, plant) for number in range(20))
    for syntax in COMPRESSED:
        path = save_compressed(dicom_clip(next(clips)), folder / f"{stem()}.dcm", syntax)
        if plant:  # GDCM stops at some of it
            save(tagged(pydicom.dcmread(path), plant), path)
        yield syntax, path
    for syntax in (DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian):
        yield syntax.name, save(dicom(next(clips), "RGB", syntax), folder / f"{stem()}.dcm")
    grey = dicom(next(clips)[..., 0], "MONOCHROME2")
    yield "grey", save(nonsense(grey, "FrameTime", plant) if plant else grey, folder / stem())
    yield "YBR_FULL", save(dicom(as_ybr(next(clips)), "YBR_FULL"), folder / f"{stem()}.dcm")
    for _ in range(3):
        clip = next(clips)
        frames = [simplejpeg.encode_jpeg(np.ascontiguousarray(frame), 90, "RGB", "422") for frame in clip]
        if plant:  # a comment in every JPEG
            frames = [data[:2] + segment(0xFFFE, plant.word().encode()) + data[2:] for data in frames]
        made = dicom(clip, "YBR_FULL_422")
        yield "YBR_FULL_422", save_encoded(made, folder / f"{stem()}.dcm", frames, JPEGBaseline8Bit)
    yield "AVI", with_info(save_avi(folder / f"{stem()}.avi", next(clips)), plant)
    yield "MP4", with_user_data(save_video(folder / f"{stem()}.mp4", next(clips), "mp4v"), plant)


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">HH", marker, len(data) + 2) + data


def save_avi(path: Path, clip: np.ndarray) -> Path:
    """Motion JPEG by OpenCV itself, whose quality does not depend on what else is in a frame."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (320, 240))
    for frame in clip:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def with_info(path: Path, plant: Plant | None) -> Path:
    """The AVI with a title and an artist in a LIST chunk INFO."""
    if plant:
        values = b"".join(name + struct.pack("<I", 10) + plant.word().encode() for name in (b"INAM", b"IART"))
        data = path.read_bytes() + b"LIST" + struct.pack("<I", 4 + len(values)) + b"INFO" + values
        path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    return path


def with_user_data(path: Path, plant: Plant | None) -> Path:
    """The MP4 with a title in the user data of its moov box, which is the last one (ISO 14496-12, 8.10)."""
    if plant:
        data = path.read_bytes()
        at = data.rindex(b"moov") - 4
        (size,) = struct.unpack_from(">I", data, at)
        assert at + size == len(data)
        title = struct.pack(">HH", 10, 0x15C7) + plant.word().encode()
        box = struct.pack(">I4s", 8 + len(title), b"\xa9nam") + title
        box = struct.pack(">I4s", 8 + len(box), b"udta") + box
        path.write_bytes(data[:at] + struct.pack(">I", size + len(box)) + data[at + 4 :] + box)
    return path


def damaged(folder: Path, plant: Plant) -> Iterator[Path]:
    """Files that cannot be used, each for another reason, some with a name where a number should be."""
    whole = save(tagged(dicom_clip(drawn(0, plant)), plant), folder / f"{plant.word()}.dcm")
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    yield whole
    yield save(tagged(dicom_clip(drawn(0, plant)[:1]), plant), folder / f"{plant.word()}.dcm")
    text = folder / f"{plant.word()}.dcm"
    text.write_text(f"<html>{plant.name()}</html>")
    yield text
    for keyword in ("PhotometricInterpretation", "NumberOfFrames"):
        made = nonsense(tagged(dicom_clip(drawn(0, plant)), plant), keyword, plant)
        yield save(made, folder / f"{plant.word()}.dcm")
    cut = save_video(folder / f"{plant.word()}.mp4", drawn(0, plant), "mp4v")
    cut.write_bytes(cut.read_bytes()[:-500])
    yield cut
    yield folder / f"{plant.word()}.dcm"  # not there


def nonsense(made: Dataset, keyword: str, plant: Plant) -> Dataset:
    """With a name as the value of an element of which pydicom warns or raises, and then quotes it."""
    tag, value = Tag(keyword), plant.word().encode()
    made[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
    return made


def laid_out(root: Path, plant: Plant | None) -> list[str]:
    """A folder of clips of all kinds, with DAMAGED files besides where something is planted, and their table.csv; the
    kinds, in the order of the table. Each clip has a score of its own."""
    folder = root / (plant.name().replace("^", " ") if plant else "clips")
    folder.mkdir(parents=True)
    found = list(kinds(folder, plant))
    with (root / "table.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("video_path", "quality_score", "patient", "view", "comment", "split"))
        for number, (_, path) in enumerate(found):
            whose = (plant.name(), plant.word(), f"ü {plant.name()}") if plant else (f"p{number}", "other", "")
            split = SPLITS[max(0, number - 6) // 3]
            rows.writerow((path.relative_to(root), f"{score(number):.2f}", *whose, split))
        for path in damaged(folder, plant) if plant else ():
            rows.writerow((path.relative_to(root), "0.5", plant.name(), "", "", "train"))
    return [kind for kind, _ in found]


def score(number: int) -> float:
    """Of a clip: every other one is good."""
    return 0.01 * number + (0.1 if number % 2 else 0.7)
