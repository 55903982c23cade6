"""Packing X-rays at the size that training needs, against the scripts that people write: milliseconds an image.

    python benchmarks/packing.py --nih DIR [--images 1500] [--rounds 3]

PNG of 1024 px -> 512 px in tar shards, with the same number of processes: medtrain as JPEG (which also hashes, checks,
splits and indexes), Pillow as JPEG and as PNG. Rounds are interleaved, files warm; a ratio is the median over the
rounds of peer / ours.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from medtrain.core.console import table
from medtrain.datasets.record import Record
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions

SIZE = 512


def main() -> None:
    """Pack the same images by turns, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nih", type=Path, required=True, help="folder of 1024 px PNG files")
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    sources = sorted(options.nih.glob("*.png"))
    print(
        f"{time.strftime('%Y-%m-%d %H:%M')}, {platform.machine()}, {options.workers} processes, {options.images} images"
    )
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{number:06d}.png" for number in range(options.images)]
        for number, path in enumerate(paths):  # the few real files, over and over
            path.symlink_to(sources[number % len(sources)].absolute())
        contenders: dict[str, Callable[[Path], None]] = {
            "medtrain, JPEG": lambda out: ours(paths, out, options.workers),
            "Pillow, JPEG": lambda out: script(paths, out, options.workers, "JPEG"),
            "Pillow, PNG": lambda out: script(paths, out, options.workers, "PNG"),
        }
        times: dict[str, list[float]] = {contender: [] for contender in contenders}
        for turn in range(options.rounds):
            for contender, work in contenders.items():
                out = Path(name) / f"{turn}-{contender}"
                begun = time.perf_counter()
                work(out)
                times[contender].append(1000 * (time.perf_counter() - begun) / len(paths))
    first = times["medtrain, JPEG"]
    rows = [
        (
            contender,
            f"{statistics.median(own):.2f}",
            f"{statistics.median(a / b for a, b in zip(own, first, strict=True)):.2f}",
        )
        for contender, own in times.items()
    ]
    print(table(("contender", "ms an image", "times ours"), rows))


def ours(paths: list[Path], out: Path, workers: int) -> None:
    """medtrain's packer."""
    records = [Record("nih", path.name, path, {"any": 1}, patient=path.stem, split="train") for path in paths]
    pack(records, ("any",), out, PackOptions(shard_mb=4, encoding="jpeg", size=SIZE), workers, max_rejects=0)


def script(paths: list[Path], out: Path, workers: int, kind: str) -> None:
    """What people write: each process opens, shrinks and saves its part of the images into a tar."""
    out.mkdir()
    parts = [paths[worker::workers] for worker in range(workers)]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(_write, parts, [out / f"{worker}.tar" for worker in range(workers)], [kind] * workers))


def _write(paths: list[Path], out: Path, kind: str) -> None:
    with tarfile.open(out, "w") as tar:
        for path in paths:
            data = io.BytesIO()
            Image.open(path).convert("L").resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(data, kind, quality=95)
            member = tarfile.TarInfo(f"{path.stem}.{kind.lower()}")
            member.size = data.tell()
            data.seek(0)
            tar.addfile(member, data)


if __name__ == "__main__":
    main()
