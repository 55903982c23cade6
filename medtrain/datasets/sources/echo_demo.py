"""Generated echocardiogram clips: beating hearts in a sector, seen well or badly, in files as scanners write them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.layouts import whole_folder
from medtrain.datasets.record import Record
from medtrain.datasets.sources import echo

TITLE = "Drawn clips of beating hearts, seen well or badly, to see the echo system run without any download."
CLASSES = echo.CLASSES
STATES = echo.STATES
TASK = "multilabel"
IMAGES = 240
FRACTIONS = echo.FRACTIONS
CLIPS = True
LICENCE = "No restriction: medtrain generates the clips itself. They show no person, and teach nothing about any."
SHARING = "free"
ACCESS = "medtrain data download echo_demo --root echo_demo   (in half a minute), then use --root echo_demo"

TABLE = "annotations.csv"
HEADER = ("video_path", "quality_score", "patient", "view")
CLIPS_OF_A_PATIENT = (1, 2, 3, 4)  # drawn from these
SIDES = (112, 144, 176, 208, 240)  # pixels across
SHORTEST, LONGEST = 20, 48  # frames
VIEWS = ("A4C", "A2C", "PLAX", "PSAX")
KINDS = {"ybr": 0.53, "grey": 0.2, "rgb": 0.07, "avi": 0.1, "mp4": 0.1}  # how a clip is stored: its share
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"  # Ultrasound Multi-frame Image Storage
Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def records(root: Path) -> list[Record]:
    """Every clip, as those of one's own are read."""
    if not (root / TABLE).is_file():
        raise InputError(f"{root} holds no generated clips", ACCESS)
    return [replace(record, source="echo_demo") for record in echo.records(root, root / TABLE)]


about, told = echo.about, echo.told


def download(root: Path, samples: int = IMAGES, seed: int = 0) -> None:
    """Draw `samples` clips of patients with one to four each into the new folder `root`, with a table of scores.

    A clip depends on `seed` and its patient alone. `root` appears when the last clip is drawn.
    """
    if samples < 10:
        raise InputError(f"{samples} samples are too few", "generate 10 or more")
    with whole_folder(root) as folder:
        rows: list[tuple[str, str, str, str]] = []
        patient = 0
        while len(rows) < samples:
            patient += 1
            rng = np.random.default_rng((seed, patient))
            (folder / "clips" / f"{patient:04}").mkdir(parents=True)
            for number in range(1, min(int(rng.choice(CLIPS_OF_A_PATIENT)), samples - len(rows)) + 1):
                clip = Clip.drawn(rng)
                frames = [_with_text(frame, patient) for frame in draw(clip, rng)]
                path = f"clips/{patient:04}/{number}"
                _save(folder / path, clip, frames, (seed, patient, number), rng)
                rows.append((path, f"{clip.score:.2f}", f"DRAWN-{patient:04}", clip.view))
        csvfile.write(folder / TABLE, HEADER, rows)


@dataclass(frozen=True)
class Clip:
    """What a clip shows, and how: lengths are shares of its height."""

    view: str
    score: float  # 0..1; nothing but how well the heart is seen depends on it
    side: int
    frames: int
    frame_ms: float
    kind: str
    half_angle: float  # of the sector, in radians
    centre: tuple[float, float]  # of the ventricle
    radius: float
    stretch: float  # its length by its width
    turn: float
    beat_ms: float
    phase: float
    gain: float
    fading: float  # with the depth

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Clip:
        """Any of them."""
        good = bool(rng.random() < 0.55)
        view = str(rng.choice(VIEWS))
        return cls(
            view=view, score=round(float(rng.uniform(0.55, 1.0) if good else rng.uniform(0.0, 0.45)), 2),
            side=int(rng.choice(SIDES)), frames=int(rng.integers(SHORTEST, LONGEST + 1)),
            frame_ms=round(float(rng.uniform(20, 50)), 3), kind=str(rng.choice(list(KINDS), p=list(KINDS.values()))),
            half_angle=float(rng.uniform(0.6, 0.75)),
            centre=(float(rng.uniform(0.45, 0.55)), float(rng.uniform(0.48, 0.58))),
            radius=float(rng.uniform(0.13, 0.18)), stretch=1.0 if view == "PSAX" else float(rng.uniform(1.3, 1.7)),
            turn=1.2 if view == "PLAX" else float(rng.uniform(-0.25, 0.25)), beat_ms=float(rng.uniform(600, 1100)),
            phase=float(rng.uniform(0, 1)), gain=float(rng.uniform(0.85, 1.15)), fading=float(rng.uniform(0.2, 0.5)),
        )  # fmt: skip


def draw(clip: Clip, rng: np.random.Generator) -> Iterator[Pixels]:
    """The frames, uint8 [side, side]: speckled tissue that moves with the beat about a dark ventricle, a valve that
    opens and closes, black outside of the sector. A low score is noise, blur, little contrast, and shadows."""
    bad = 1 - clip.score
    y, x = np.mgrid[0 : clip.side, 0 : clip.side].astype(np.float32) / clip.side
    depth = np.hypot(x - 0.5, y - 0.1)
    angle = np.arctan2(x - 0.5, y - 0.1)
    sector = ((np.abs(angle) < clip.half_angle) & (depth > 0.04) & (depth < 0.86)).astype(np.float32)
    u = (x - clip.centre[0]) * np.cos(clip.turn) + (y - clip.centre[1]) * np.sin(clip.turn)
    v = ((y - clip.centre[1]) * np.cos(clip.turn) - (x - clip.centre[0]) * np.sin(clip.turn)) / clip.stretch
    away = np.hypot(u, v)
    tissue = _tissue(away / clip.radius, u, v, clip, rng)
    light = sector * clip.gain * (1 - clip.fading * depth) * _shadows(angle, bad, rng)
    for number in range(clip.frames):
        beat = 0.5 - 0.5 * np.cos(2 * np.pi * (clip.phase + number * clip.frame_ms / clip.beat_ms))
        # What is at `away` now was farther out before the ventricle pulled itself together: the wall most of all.
        pull = 1 + 0.45 * np.float32(beat) * np.exp(-((away / (1.6 * clip.radius)) ** 2))
        moved = _moved(
            tissue, (x - clip.centre[0]) * pull + clip.centre[0], (y - clip.centre[1]) * pull + clip.centre[1]
        )
        _draw_valve(moved, clip, float(beat))
        yield _seen(moved * light, sector, bad, clip.side, rng)


def _tissue(ring: Floats, u: Floats, v: Floats, clip: Clip, rng: np.random.Generator) -> Floats:
    """The heart at rest, 0..1: a bright wall about the blood, an atrium below, speckle of a scan's grain."""
    wall = np.exp(-(((ring - 1.25) / 0.28) ** 2))
    blood = 1 / (1 + np.exp(np.clip(12 * (ring - 1), -30, 30)))
    atrium = np.exp(-(((u / clip.radius) ** 2 + ((v - 2.3 * clip.radius) / (0.8 * clip.radius)) ** 2) ** 2))
    echogenic = np.clip(0.3 + 0.55 * wall - 0.28 * blood - 0.22 * atrium, 0.02, 1)
    grain = clip.side / 160
    waves = [cv2.GaussianBlur(_noise(clip.side, rng), (0, 0), 1.3 * grain, sigmaY=0.8 * grain) for _ in range(2)]
    speckle = np.hypot(*waves)  # the amplitude of two waves out of step is Rayleigh's
    return np.asarray(echogenic * (0.35 + 0.65 * speckle / speckle.mean()), np.float32)


def _noise(side: int, rng: np.random.Generator) -> Floats:
    return rng.standard_normal((side, side), np.float32)


def _shadows(angle: Floats, bad: float, rng: np.random.Generator) -> Floats:
    """Ribs and lung take sectors of the picture away from a clip of low score."""
    light = np.ones_like(angle)
    for _ in range(3):
        middle, width, strength = rng.uniform(-0.6, 0.6), rng.uniform(0.06, 0.14), rng.uniform(0.6, 1.0)
        light *= 1 - float(max(bad - 0.35, 0) / 0.65 * strength) * np.exp(-(((angle - middle) / width) ** 2))
    return np.asarray(light, np.float32)


def _moved(tissue: Floats, x: Floats, y: Floats) -> Floats:
    side = tissue.shape[0]
    columns, rows = np.asarray(side * x, np.float32), np.asarray(side * y, np.float32)
    return np.asarray(cv2.remap(tissue, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)


def _draw_valve(picture: Floats, clip: Clip, beat: float) -> None:
    """Two leaflets from the wall to the middle, closed while the ventricle is small."""
    side, wide = clip.side, 0.95 * clip.radius * clip.side
    across = np.array((np.cos(clip.turn), np.sin(clip.turn)))
    along = np.array((-np.sin(clip.turn), np.cos(clip.turn)))
    ring = np.array(clip.centre) * side + along * 1.15 * clip.stretch * clip.radius * side
    gap = (1 - beat) * 0.75
    for hand in (-1, 1):
        hinge = ring + hand * wide * across
        tip = ring + hand * wide * gap * across - along * wide * (0.15 + 0.6 * gap)
        ends = [tuple(round(16 * float(value)) for value in end) for end in (hinge, tip)]
        cv2.line(picture, ends[0], ends[1], 0.95, max(1, side // 80), cv2.LINE_AA, shift=4)


def _seen(picture: Floats, sector: Floats, bad: float, side: int, rng: np.random.Generator) -> Pixels:
    """What a scanner makes of it: uint8."""
    blur = (0.3 + 1.7 * bad) * side / 160
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.float32)
    picture = picture * (1 - 0.55 * bad) + 0.14 * bad
    picture += (0.02 + 0.13 * bad) * _noise(side, rng)
    return np.asarray(np.clip(picture * sector * 235, 0, 255), np.uint8)


def _with_text(frame: Pixels, patient: int) -> Pixels:
    """What scanners burn into the picture: here, that nobody is shown."""
    scale = frame.shape[0] / 400
    place = (3, int(4 + 22 * scale))
    return np.asarray(
        cv2.putText(frame, f"DRAWN {patient:04}", place, cv2.FONT_HERSHEY_SIMPLEX, scale, 200, 1, cv2.LINE_AA)
    )


def _save(path: Path, clip: Clip, frames: list[Pixels], name: tuple[int, int, int], rng: np.random.Generator) -> None:
    """Under `path`, with a suffix, or, as some DICOM files have it, without."""
    if clip.kind in ("avi", "mp4"):
        _save_video(path.with_suffix(f".{clip.kind}"), clip, frames)
        return
    suffix = ".dcm" if rng.random() < 0.7 else ""
    _dicom(clip, frames, name, rng).save_as(path.with_suffix(suffix), enforce_file_format=True)


def _save_video(path: Path, clip: Clip, frames: list[Pixels]) -> None:
    code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), code, 1000 / clip.frame_ms, (clip.side, clip.side))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()


def _dicom(clip: Clip, frames: list[Pixels], name: tuple[int, int, int], rng: np.random.Generator) -> Any:
    """A DICOM dataset with the attributes of Ultrasound Multi-frame Image Storage (PS3.3 A.7) that scanners fill in."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if clip.kind == "ybr" else ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = UID(ULTRASOUND)
    made.Modality = "US"
    made.StudyInstanceUID = generate_uid(entropy_srcs=["medtrain", "study", *map(str, name[:2])])
    made.SeriesInstanceUID = generate_uid(entropy_srcs=["medtrain", "series", *map(str, name[:2])])
    made.SOPInstanceUID = generate_uid(entropy_srcs=["medtrain", "clip", *map(str, name)])
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.PatientName, made.PatientID = f"DRAWN^{name[1]:04}", f"DRAWN-{name[1]:04}"
    made.Manufacturer, made.InstitutionName = "medtrain", "Drawn, of no hospital"
    made.Rows = made.Columns = clip.side
    made.NumberOfFrames = len(frames)
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    if rng.random() < 0.97:
        made.FrameTime, made.FrameIncrementPointer = f"{clip.frame_ms:.3f}", 0x00181063
    if rng.random() < 0.7:
        made.SequenceOfUltrasoundRegions = [_region(clip, far=1 if rng.random() < 0.8 else 2)]
    _set_pixels(made, clip.kind, frames)
    return made


def _region(clip: Clip, far: int) -> Any:
    """The box of the sector (PS3.3 C.8.5.5); `far` 2 as of a picture that was twice as large when it was written."""
    from pydicom.dataset import Dataset

    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    half = 0.86 * np.sin(clip.half_angle)
    region.RegionLocationMinX0 = int(far * clip.side * max(0.5 - half, 0))
    region.RegionLocationMaxX1 = int(far * clip.side * min(0.5 + half, 1)) - 1
    region.RegionLocationMinY0 = int(far * clip.side * 0.1)
    region.RegionLocationMaxY1 = int(far * clip.side * 0.97)
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # cm
    region.PhysicalDeltaX = region.PhysicalDeltaY = 16 / clip.side
    return region


def _set_pixels(made: Any, kind: str, frames: list[Pixels]) -> None:
    from pydicom.encaps import encapsulate

    made.SamplesPerPixel = 1 if kind == "grey" else 3
    made.PhotometricInterpretation = {"grey": "MONOCHROME2", "rgb": "RGB", "ybr": "YBR_FULL_422"}[kind]
    if kind != "grey":
        made.PlanarConfiguration = 0
        frames = [np.ascontiguousarray(np.repeat(frame[:, :, None], 3, 2)) for frame in frames]
    if kind == "ybr":
        made.LossyImageCompression = "01"
        made.PixelData = encapsulate([simplejpeg.encode_jpeg(frame, 90, "RGB", "422") for frame in frames])
        made["PixelData"].VR = "OB"
        return
    made.PixelData = b"".join(frame.tobytes() for frame in frames)
    made["PixelData"].VR = "OB"
