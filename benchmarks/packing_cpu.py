"""CPU seconds of packing, of all processes together, here against another checkout of medtrain.

    python benchmarks/packing_cpu.py --before DIR --nih DIR [--images 300] [--clips 24] [--rounds 11]

Both pack the same clean files, by turns, each in a fresh process with its own packers: PNG of 1024 px as JPEG of 512,
DICOM clips (JPEG baseline, 480 x 640, 30 frames) and MP4 clips of the same frames. CPU seconds are those of the process
and all that it waited for (getrusage, RUSAGE_CHILDREN), so other work on the machine hardly counts. The ratio is the
median over the rounds of here / before.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pydicom
import simplejpeg
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from medtrain.core.console import table

HERE = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH, FRAMES = 480, 640, 30
PACK = """
import sys
from pathlib import Path
try:
    from medtrain.datasets.record import Record
    from medtrain.shards.pack import pack
    from medtrain.shards.plan import PackOptions
except ModuleNotFoundError:  # a checkout from before there were packages
    from medtrain.plan import PackOptions
    from medtrain.record import Record
    from medtrain.shards import pack
kind, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
paths = sorted(source.iterdir())
raw = {"quality_score": 1.0}
records = [Record("drawn", p.name, p, {"any": 1}, patient=p.stem, split="train", raw=raw) for p in paths]
images = PackOptions(shard_mb=4, encoding="jpeg", size=512)
renamed = "color_mode" in PackOptions.__dataclass_fields__
color = {"color_mode": "gray"} if renamed else {"colours": "grey"}
clips = PackOptions(shard_mb=4, encoding="tiff", size=112, **color)
pack(records, ("any",), out, images if kind == "images" else clips, 2, max_rejects=0)
"""


def main() -> None:
    """Draw the clips, pack by turns, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="folder of the other checkout")
    parser.add_argument("--nih", type=Path, required=True, help="folder of 1024 px PNG files")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {platform.machine()}, 2 packers, {options.rounds} rounds", flush=True)
    with tempfile.TemporaryDirectory() as name:
        sources = draw(Path(name), options)
        rows = []
        for kind, source in sources.items():
            seconds: dict[Path, list[float]] = {options.before.absolute(): [], HERE: []}
            for turn in range(options.rounds):
                for checkout, own in seconds.items():
                    own.append(cpu_seconds(checkout, kind, source, Path(name) / f"{kind} {turn} {len(own)} out"))
            before, here = seconds.values()
            ratio = statistics.median(b / a for a, b in zip(before, here, strict=True))
            rows.append(
                (kind, f"{statistics.median(before):.2f}", f"{statistics.median(here):.2f}", f"{ratio:.3f}",
                 " ".join(f"{b / a:.2f}" for a, b in zip(before, here, strict=True)))
            )  # fmt: skip
            print(table(("packed", "before, s", "here, s", "here / before", "of each round"), rows), flush=True)


def cpu_seconds(checkout: Path, kind: str, source: Path, out: Path) -> float:
    """Of one packing by a checkout."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    out = out.with_name(out.name + checkout.name)
    subprocess.run([sys.executable, "-c", PACK, kind, str(source), str(out)], env=environment, cwd=checkout, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def draw(folder: Path, options: argparse.Namespace) -> dict[str, Path]:
    """The files of each kind: the few real images over and over, and clips of drifting speckle."""
    sources = {kind: folder / kind for kind in ("images", "DICOM clips", "MP4 clips")}
    for source in sources.values():
        source.mkdir()
    images = sorted(options.nih.glob("*.png"))
    for number in range(options.images):
        (sources["images"] / f"{number:06}.png").symlink_to(images[number % len(images)].absolute())
    for number in range(options.clips):
        frames = speckle(number)
        dicom_clip(frames, sources["DICOM clips"] / f"{number:03}.dcm")
        path = sources["MP4 clips"] / f"{number:03}.mp4"
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
        for frame in frames:
            writer.write(frame)
        writer.release()
    return sources


def speckle(seed: int) -> list[np.ndarray]:
    """Frames uint8 [H, W, 3] in which a disc of speckle drifts."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 2)
    noise = (255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    disc = (np.hypot(y - HEIGHT / 2, x - WIDTH / 2) < 200)[..., None]
    return [np.repeat(np.roll(noise, 3 * t, 1)[..., None], 3, 2) * disc for t in range(FRAMES)]


def dicom_clip(frames: list[np.ndarray], path: Path) -> None:
    """JPEG baseline, as scanners write it."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = pydicom.uid.generate_uid()
    made.Rows, made.Columns, made.NumberOfFrames = HEIGHT, WIDTH, len(frames)
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "YBR_FULL_422", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.FrameTime, made.FrameIncrementPointer = "33.333", 0x00181063
    encoded = [simplejpeg.encode_jpeg(np.ascontiguousarray(frame), 90, colorsubsampling="422") for frame in frames]
    made.PixelData = encapsulate(encoded)
    made["PixelData"].is_undefined_length = True
    made.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    main()
