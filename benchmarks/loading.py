"""Loader against webdataset and torchvision's ImageFolder: microseconds an image, side by side in one run.

    python benchmarks/loading.py                                      on drawn images
    python benchmarks/loading.py --root DIR --nih DIR --images 20000  on MedNIST and on 1024 px chest X-rays

Every contender gets the same images, batch size and number of worker processes, warm files, and the same bilinear
interpolation (--nearest: the peers with torchvision's default, which is coarser and faster). The peers run twice: as
their documentation writes them, which makes three channels of a grey image, and told by hand to keep one channel, as
ours does. Rounds are interleaved: in each, every contender works for a second, so a busy machine slows all alike. A
ratio is the median over the rounds of peer / ours.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import simplejpeg
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets as folders
from torchvision import transforms as T

from medtrain.config.schema import AugmentConfig
from medtrain.core.console import table
from medtrain.datasets.record import Record
from medtrain.datasets.sources import demo, mednist
from medtrain.loading.loader import Loader
from medtrain.shards.index import open_index
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions

IN_COLOR = ("webdataset", "ImageFolder")  # the peers that make three channels
AUGMENT = AugmentConfig(rotate_deg=15, flip_p=0.5, zoom_min=0.9, zoom_max=1.1)
Epoch = Callable[[], Iterator[Any]]  # one pass over the images, batch by batch


@dataclass(frozen=True)
class Images:
    """The same images three times: as a folder tree, as tar shards, and as what ours opens."""

    tree: Path
    shards: Path
    count: int


@dataclass(frozen=True)
class Case:
    """What every contender has to do with the images."""

    title: str
    images: Images
    size: int
    augment: bool
    batch: int
    goals: dict[str, float]
    interpolation: T.InterpolationMode = T.InterpolationMode.BILINEAR
    peers: tuple[str, ...] = ("webdataset", "ImageFolder", "webdataset, one channel", "ImageFolder, one channel")


def main() -> None:
    """Draw or copy the images, run the cases, print one table."""
    options = parse()
    warnings.filterwarnings("ignore")
    random.seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        small = prepare(mednist_records(options.root, Path(folder), options.images), Path(folder) / "small")
        large = prepare(large_records(options.nih, Path(folder), options.images // 10), Path(folder) / "large")
        color = prepare(color_records(Path(folder), options.images // 10), Path(folder) / "color", "rgb")
        cases = [
            Case("(a) 64 px: decode", small, 64, False, 128, {"webdataset": 9, "ImageFolder": 7}),
            Case("(b) 64 px: decode, augment", small, 64, True, 128, {"webdataset": 16, "ImageFolder": 10}),
            Case("(c) 512 px -> 224: decode, augment", large, 224, True, 32, {"webdataset": 3.5, "ImageFolder": 3.5}),
            Case("(d) 512 px in color -> 224: decode, augment", color, 224, True, 32, {}, peers=IN_COLOR),
        ]
        print(headline(options, small, large), flush=True)
        if options.nearest:
            cases = [replace(case, interpolation=T.InterpolationMode.NEAREST) for case in cases]
        rows = [row for case in cases if case.title[1] in options.cases for row in run(case, options)]
    print(table(("case", "loader", "us/image", "times ours", "goal"), rows))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="MedNIST, unpacked (default: drawn 64 px images)")
    parser.add_argument("--nih", type=Path, help="a folder of 1024 px PNGs (default: synthetic texture)")
    parser.add_argument("--images", type=int, default=8000, help="64 px images; a tenth as many of 512 px")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="of each (default: cores)")
    parser.add_argument("--nearest", action="store_true", help="peers: nearest pixel instead of bilinear")
    parser.add_argument("--cases", default="abcd")
    return parser.parse_args()


def headline(options: argparse.Namespace, small: Images, large: Images) -> str:
    """What was measured, where, with what."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())  # fmt: skip
    names = ("webdataset", "torch", "torchvision", "pillow", "simplejpeg", "opencv-python-headless")
    return (
        f"{time.strftime('%Y-%m-%d %H:%M')}, {model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n"
        f"{small.count:,} images of 64 px ({'MedNIST' if options.root else 'drawn'}), {large.count:,} of 512 px"
        f" ({'chest X-rays' if options.nih else 'synthetic'}), {options.workers} workers, {options.rounds} rounds\n"
        + ", ".join(f"{name} {version(name)}" for name in names)
        + "\n"
    )


# ---- images ---------------------------------------------------------------------------------------------------------


def mednist_records(root: Path | None, folder: Path, count: int) -> list[Record]:
    """MedNIST, or drawn images in its layout."""
    if root is None:
        demo.download(folder / "drawn", samples=count)
        return demo.records(folder / "drawn")
    return random.sample(mednist.records(root), count)


def large_records(nih: Path | None, folder: Path, count: int) -> list[Record]:
    """512 px grey JPEGs, quality 95: X-rays (each several times, cropped by chance) or texture."""
    sources = sorted(nih.glob("*.png")) if nih else []
    rng = np.random.default_rng(0)
    (folder / "jpegs").mkdir()
    records = []
    for number in range(count):
        pixels = crop(sources[number % len(sources)], rng) if sources else texture(rng)
        path = folder / "jpegs" / f"{number:05d}.jpg"
        path.write_bytes(simplejpeg.encode_jpeg(pixels[:, :, None], quality=95, colorspace="GRAY"))
        labels: dict[str, int | None] = {name: int(name == demo.CLASSES[number % 6]) for name in demo.CLASSES}
        records.append(Record("demo", path.name, path, labels))
    return records


def color_records(folder: Path, count: int) -> list[Record]:
    """512 px JPEGs in color as cameras write them: quality 95, half as many colors in both directions."""
    rng = np.random.default_rng(1)
    (folder / "colors").mkdir()
    records = []
    for number in range(count):
        one = texture(rng)
        pixels = np.dstack([one, np.roll(one, 40, 0), np.roll(one, 80, 1)])
        path = folder / "colors" / f"{number:05d}.jpg"
        path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=95, colorspace="RGB", colorsubsampling="420"))
        labels: dict[str, int | None] = {name: int(name == demo.CLASSES[number % 6]) for name in demo.CLASSES}
        records.append(Record("demo", path.name, path, labels))
    return records


def crop(path: Path, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """960 px somewhere in a 1024 px X-ray, shrunk to 512."""
    pixels = np.asarray(Image.open(path).convert("L"))
    y, x = rng.integers(0, 64, 2)
    part = np.ascontiguousarray(pixels[y : y + 960, x : x + 960])
    return np.asarray(cv2.resize(part, (512, 512), interpolation=cv2.INTER_AREA))


def texture(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Noise of three sizes: about as many bytes at quality 95 as an X-ray."""
    layers = [cv2.GaussianBlur(rng.normal(0, 1, (512, 512)), (0, 0), sigma) * sigma for sigma in (1.5, 8, 40)]
    return np.clip(128 + 25 * sum(layers), 0, 255).astype(np.uint8)


def prepare(records: list[Record], folder: Path, color_mode: Literal["", "rgb"] = "") -> Images:
    """Copy the images into a class tree and pack all of them into the train split, in 8 shards."""
    for record in records:
        label = next(name for name, value in record.labels.items() if value)
        path = folder / "tree" / label / record.path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(record.path, path)
    total = sum(record.path.stat().st_size + 2048 for record in records)
    chosen = [replace(record, split="train") for record in records]
    how = PackOptions(shard_mb=total / 8e6, color_mode=color_mode)
    pack(chosen, tuple(records[0].labels), folder / "shards", how, max_rejects=0)
    return Images(folder / "tree", folder / "shards", len(records))


# ---- contenders -----------------------------------------------------------------------------------------------------


def ours(case: Case, workers: int) -> Epoch:
    """medtrain's Loader."""
    loader = Loader(
        open_index(case.images.shards, "train"), global_batch=case.batch, image_size=case.size, workers=workers,
        augment=AUGMENT if case.augment else None,
    )  # fmt: skip
    epochs = iter(range(1_000_000))
    return lambda: (batch.inputs for batch in loader.batches(next(epochs)))


def chain(case: Case) -> Callable[[Any], torch.Tensor]:
    """The usual transforms on Pillow images."""
    steps: list[Any] = [T.Resize((case.size, case.size))] if case.size != 64 else []
    if case.augment:
        steps += [
            T.RandomApply([T.RandomRotation(15, case.interpolation)], 0.5),
            T.RandomHorizontalFlip(0.5),
            T.RandomApply([T.RandomAffine(0, scale=(0.9, 1.1), interpolation=case.interpolation)], 0.5),
        ]
    return T.Compose([*steps, T.ToTensor()])  # type: ignore[no-any-return]


def image_folder(case: Case, workers: int, reader: Callable[[str], Any] = folders.folder.default_loader) -> Epoch:
    """torchvision's ImageFolder behind a DataLoader, shuffled globally."""
    dataset = folders.ImageFolder(str(case.images.tree), chain(case), loader=reader)
    loader = DataLoader(
        dataset, case.batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda: (batch[0] for batch in loader)


def image_folder_grey(case: Case, workers: int) -> Epoch:
    """The same with a reader of one channel."""
    return image_folder(case, workers, lambda path: Image.open(path).convert("L"))


def web_dataset(case: Case, workers: int, channels: str = "rgb") -> Epoch:
    """webdataset as its documentation writes it: shuffled shards, a buffer of 1,000, decoded, batched in the worker."""
    tars = sorted(map(str, case.images.shards.glob("*.tar")))
    dataset = webdataset.WebDataset(tars, shardshuffle=100).shuffle(1000)
    if case.augment:
        dataset = dataset.decode(f"pil{channels}").to_tuple("jpg", "json").map_tuple(chain(case))
    else:
        dataset = dataset.decode(f"torch{channels}").to_tuple("jpg", "json")
    dataset = dataset.batched(case.batch, partial=False)
    loader = webdataset.WebLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    return lambda: (batch[0] for batch in loader)


def web_dataset_grey(case: Case, workers: int) -> Epoch:
    """The same, decoded to one channel."""
    return web_dataset(case, workers, "l")


CONTENDERS: dict[str, Callable[[Case, int], Epoch]] = {
    "webdataset": web_dataset,
    "ImageFolder": image_folder,
    "webdataset, one channel": web_dataset_grey,
    "ImageFolder, one channel": image_folder_grey,
    "medtrain": ours,
}


# ---- measuring ------------------------------------------------------------------------------------------------------


def run(case: Case, options: argparse.Namespace) -> list[tuple[object, ...]]:
    """Rows of the table for one case."""
    made = {name: make for name, make in CONTENDERS.items() if name in (*case.peers, "medtrain")}
    epochs = {name: make(case, options.workers) for name, make in made.items()}
    for epoch in epochs.values():
        microseconds(epoch)  # starts the workers, warms the files
    rounds = []
    for number in range(options.rounds):
        first = number % len(epochs)
        names = list(epochs)[first:] + list(epochs)[:first]
        rounds.append({name: microseconds(epochs[name]) for name in names})
    return [row(case, name, rounds) for name in epochs]


def microseconds(epoch: Epoch, at_least: float = 1.0) -> float:
    """Wall time an image, over as many whole epochs as take `at_least` seconds."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < at_least:
        count += sum(len(batch) for batch in epoch())
    return (time.perf_counter() - start) / count * 1e6


def row(case: Case, name: str, rounds: list[dict[str, float]]) -> tuple[object, ...]:
    """One line of the table: medians over the rounds."""
    median = statistics.median(each[name] for each in rounds)
    ratio = statistics.median(each[name] / each["medtrain"] for each in rounds)
    goal = f">= {case.goals[name]:g}" if name in case.goals else ""
    return case.title, name, f"{median:.1f}", f"{ratio:.1f}", goal


if __name__ == "__main__":
    main()
