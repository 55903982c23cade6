"""Clips for training, from shards against from the DICOM files each epoch, and the memory that packing a clip takes.

    python benchmarks/video.py [--rounds 5] [--workers 2] [--clips 24]

Everybody makes batches of 8 clips, 32 frames of 112 px at stride 2, with the same number of worker processes, of files
that are warm. The peer is what public scripts do: a Dataset that reads `pydicom.dcmread(path).pixel_array`, cuts the
square in the middle, shrinks it with OpenCV and normalises; it does not augment. It runs with the decoder of JPEG that
pydicom chooses (GDCM), and with Pillow, which is faster. medtrain's loader hands over uint8, which is normalised where
the model is; one contender does that on the CPU besides. Clips are drawn: as scanners write
them (480 x 640, 60 frames, JPEG baseline, YBR_FULL_422), and small ones (112 to 240 px, 20 to 48 frames, of several
kinds). Rounds are interleaved, so a busy machine slows all alike; a ratio is the median over the rounds of peer / ours.

Memory is the peak (VmHWM) of a fresh process that packs one clip, the libraries included.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import simplejpeg
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit
from torch.utils.data import DataLoader

from medtrain.config.configfile import resolve
from medtrain.config.schema import AugmentConfig
from medtrain.core.console import table
from medtrain.datasets.record import Record
from medtrain.datasets.sources import echo, echo_demo
from medtrain.evaluation.inputs import OF_COLOURS, clip_setup, pixels
from medtrain.imaging.dicom import is_dicom
from medtrain.loading.loader import Loader
from medtrain.shards.index import open_index
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions
from medtrain.shards.tar_writer import IN_MEMORY

RECIPE = resolve("echo")
FRAMES, STRIDE, SIDE, BATCH = RECIPE.data.frames, RECIPE.data.stride, RECIPE.data.image_size, RECIPE.data.batch_size
GRAY = PackOptions(encoding="tiff", size=SIDE, color_mode="gray", clips=True)
HEIGHT, WIDTH, LENGTH, LONG = 480, 640, 60, 2000
PEERS = ("pydicom, GDCM", "pydicom, Pillow")
Epoch = Callable[[], Iterator[int]]  # one pass over the clips: how many are in each batch
PACK = """
import sys
from pathlib import Path
from medtrain.shards.file_hashes import hash_files
from medtrain.shards.index import sample_dtype
from medtrain.core.isolated_processes import Pool
from medtrain.shards.plan import PackOptions, make_plan
from medtrain.datasets.record import Record
from medtrain.shards.tar_writer import Shard, pack_shard
path, out, colours = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
records = [Record("echo", "line 2", path, {"good": 1}, split="train", raw={"quality_score": 1.0})]
options = PackOptions(encoding="tiff", size=112, color_mode=colours, clips=True)
((name, samples),) = make_plan(records, hash_files(records, out, Pool(1), clips=True), ("good",), options).items()
pack_shard(Shard(out / name, samples, sample_dtype(1, len(samples[0].key), True), options), {})
assert not list(out.glob("*.rejects.jsonl"))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def main() -> None:
    """Draw the clips, measure by turns, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="of each (default: cores)")
    parser.add_argument("--clips", type=int, default=24, help="of 480 x 640 (8 or more); twice as many small ones")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(headline(options), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = {"480 x 640, 60 frames": large(folder / "large", options.clips),
                 "small": small(folder / "small", 2 * options.clips)}  # fmt: skip
        rows = [row for case, records in cases.items() for row in speed(case, records, folder, options)]
        heads = ("clips", "contender", "ms a clip", "clips/s", *(f"{name} / this" for name in PEERS))
        print(table(heads, rows), flush=True)
        print(f"\nPacking one clip of {HEIGHT} x {WIDTH}; a frame and IN_MEMORY are {bound():.1f} MB")
        print(table(("stored as", "packed in", "60 frames, MB", "2,000 frames, MB", "more, MB"), memory(folder)))


def headline(options: argparse.Namespace) -> str:
    """What was measured, where, with what."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())  # fmt: skip
    names = ("torch", "pydicom", "python-gdcm", "pillow", "simplejpeg", "opencv-python-headless")
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n"
        f"{options.workers} workers, {options.rounds} rounds, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in names)
        + "\n"
    )


# ---- clips ----------------------------------------------------------------------------------------------------------


def large(folder: Path, count: int) -> list[Record]:
    """As scanners write them."""
    folder.mkdir()
    paths = [folder / f"{number:04}.dcm" for number in range(count)]
    for number, path in enumerate(paths):
        save_jpeg(path, scans(number, LENGTH))
    return [Record("echo", f"line {line}", path, {"good": line % 2}, raw={"quality_score": line % 2})
            for line, path in enumerate(paths, 2)]  # fmt: skip


def small(folder: Path, count: int) -> list[Record]:
    """The DICOM files of so many drawn clips: the peer reads no others."""
    echo_demo.download(folder, samples=count)
    return [record for record in echo_demo.records(folder) if is_dicom(record.path.read_bytes()[:132])]


def scans(number: int, frames: int) -> list[np.ndarray[Any, Any]]:
    """Frames uint8 [HEIGHT, WIDTH, 3] of a beating heart, with a name above."""
    rng = np.random.default_rng(number)
    clip = replace(echo_demo.Clip.drawn(rng), side=HEIGHT, frames=frames)
    left, shown = (WIDTH - HEIGHT) // 2, []
    for heart in echo_demo.draw(clip, rng):
        grey = np.pad(heart, ((0, 0), (left, left)))
        cv2.putText(grey, f"DRAWN {number:04}", (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 200, 1, cv2.LINE_AA)
        shown.append(np.ascontiguousarray(np.repeat(grey[:, :, None], 3, 2)))
    return shown


def header(frames: int, colour: str, syntax: Any) -> Dataset:
    """All but the pixel data."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = echo_demo.ULTRASOUND
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.NumberOfFrames, made.Rows, made.Columns, made.SamplesPerPixel = frames, HEIGHT, WIDTH, 3
    made.PhotometricInterpretation, made.PlanarConfiguration, made.PixelRepresentation = colour, 0, 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    made.FrameTime, made.FrameIncrementPointer = "33.333", 0x00181063
    return made


def save_jpeg(path: Path, frames: list[np.ndarray[Any, Any]], times: int = 1) -> None:
    """JPEG baseline, quality 90; the frames so many times over."""
    made = header(times * len(frames), "YBR_FULL_422", JPEGBaseline8Bit)
    made.PixelData = encapsulate(times * [simplejpeg.encode_jpeg(frame, 90, "RGB", "422") for frame in frames])
    made["PixelData"].VR = "OB"
    made.save_as(path, enforce_file_format=True)


def save_plain(path: Path, frames: list[np.ndarray[Any, Any]], times: int = 1) -> None:
    """RGB without compression; pydicom would hold all of it."""
    made = header(times * len(frames), "RGB", ExplicitVRLittleEndian)
    made.save_as(path, enforce_file_format=True)
    size = times * sum(frame.nbytes for frame in frames)
    with path.open("ab") as file:
        file.write(bytes.fromhex("e07f1000") + b"OB\0\0" + size.to_bytes(4, "little"))
        for frame in times * frames:
            file.write(frame.tobytes())


# ---- speed ----------------------------------------------------------------------------------------------------------


class Clips(torch.utils.data.Dataset[Any]):
    """What public scripts write: the whole file is decoded for its 32 frames."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.mean, self.deviation = (np.array(values, np.float32) for values in OF_COLOURS["kinetics"])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: int) -> torch.Tensor:
        decoded = pydicom.dcmread(self.paths[item]).pixel_array
        which = np.arange(FRAMES) * STRIDE % len(decoded)
        seen = np.empty((FRAMES, SIDE, SIDE, 3), np.float32)
        height, width = decoded.shape[1:3]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        for place, frame in zip(seen, decoded[which], strict=True):
            square = frame[top : top + side, left : left + side]
            place[...] = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA).reshape(SIDE, SIDE, -1)
        return torch.from_numpy((seen / 255 - self.mean) / self.deviation).permute(3, 0, 1, 2)


def without_gdcm(worker: int) -> None:
    """What pydicom does where Pillow alone is installed."""
    get_decoder(JPEGBaseline8Bit).remove_plugin("gdcm")


def peer(records: list[Record], workers: int, prepare: Callable[[int], None] | None = None) -> Epoch:
    """A DataLoader of them."""
    loader = DataLoader(
        Clips([record.path for record in records]), BATCH, shuffle=True, drop_last=True, num_workers=workers,
        persistent_workers=True, worker_init_fn=prepare,
    )  # fmt: skip
    return lambda: (len(batch) for batch in loader)


def ours(shards: Path, workers: int, augment: AugmentConfig | None, normalised: bool = False) -> Epoch:
    """medtrain's Loader."""
    index = open_index(shards, "train")
    assert index.clips is not None
    loader = Loader(
        index, global_batch=BATCH, image_size=SIDE, workers=workers, augment=augment,
        clip=clip_setup(RECIPE.data, index.clips, 1),
    )  # fmt: skip
    epochs, cpu = iter(range(1_000_000)), torch.device("cpu")
    return lambda: (
        len(pixels(batch, RECIPE.data, 3, cpu) if normalised else batch.inputs)
        for batch in loader.batches(next(epochs))
    )


def speed(case: str, records: list[Record], folder: Path, options: argparse.Namespace) -> list[tuple[object, ...]]:
    """Rows of the table for the same clips."""
    shards = folder / f"{case} packed"
    chosen = [replace(record, split="train") for record in records]
    pack(chosen, echo.CLASSES, shards, GRAY, max_rejects=0)
    contenders = {
        PEERS[0]: peer(records, options.workers),
        PEERS[1]: peer(records, options.workers, without_gdcm),
        "medtrain, not augmented": ours(shards, options.workers, None),
        "medtrain": ours(shards, options.workers, RECIPE.augment),
        "medtrain, normalised too": ours(shards, options.workers, RECIPE.augment, normalised=True),
    }
    for epoch in contenders.values():
        milliseconds(epoch, 0)  # starts the workers, warms the files
    names, rounds = list(contenders), []
    for number in range(options.rounds):
        first = number % len(names)
        rounds.append({name: milliseconds(contenders[name]) for name in names[first:] + names[:first]})
    return [row(case, name, rounds) for name in contenders]


def milliseconds(epoch: Epoch, at_least: float = 2.0) -> float:
    """Wall time a clip, over as many whole epochs as take `at_least` seconds, and one at least."""
    count, start = 0, time.perf_counter()
    while not count or time.perf_counter() - start < at_least:
        count += sum(epoch())
    return (time.perf_counter() - start) / count * 1e3


def row(case: str, name: str, rounds: list[dict[str, float]]) -> tuple[object, ...]:
    """One line of the table: medians over the rounds."""
    median = statistics.median(each[name] for each in rounds)
    ratios = [statistics.median(each[peer] / each[name] for each in rounds) for peer in PEERS]
    told = ["" if name in PEERS else f"{ratio:.1f}" for ratio in ratios]
    return case, name, f"{median:.2f}", f"{1000 / median:.1f}", *told


# ---- memory ---------------------------------------------------------------------------------------------------------


def bound() -> float:
    """What a longer clip may take besides the libraries: a frame, and what is packed of it up to IN_MEMORY; in MB."""
    return (HEIGHT * WIDTH * 3 + IN_MEMORY) / 1e6


def memory(folder: Path) -> list[tuple[object, ...]]:
    """Rows of the table: each file is packed in grey, which IN_MEMORY holds, and in colour, which it does not."""
    frames, rows = scans(0, 40), []
    for stored, save in (("JPEG", save_jpeg), ("uncompressed", save_plain)):
        short, long = folder / "short.dcm", folder / "long.dcm"
        save(short, scans(0, LENGTH))
        save(long, frames, LONG // len(frames))
        for colours in ("gray", "rgb"):
            peaks = [peak(path, folder / f"{stored} {colours} {path.stem}", colours) for path in (short, long)]
            rows.append((stored, colours, *(f"{value:.0f}" for value in peaks), f"{peaks[1] - peaks[0]:.1f}"))
        long.unlink()
    return rows


def peak(path: Path, out: Path, colours: str) -> float:
    """MB."""
    command = [sys.executable, "-c", PACK, str(path), str(out), colours]
    told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    return int(told) * 1024 / 1e6


if __name__ == "__main__":
    main()
