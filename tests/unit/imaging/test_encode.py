"""imaging.encode: images made smaller on their way into shards."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from medtrain.core.errors import InputError
from medtrain.datasets.record import Record
from medtrain.imaging.decode import decode, extension
from medtrain.imaging.encode import encode
from medtrain.shards.index import open_index
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions
from medtrain.shards.verify import verify_shards


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 40, (height, width))
    return np.clip(128 + cv2.GaussianBlur(noise, (0, 0), 2) * 4, 0, 255).astype(np.uint8)


def test_tiff_keeps_every_pixel() -> None:
    pixels = texture(40, 50)
    data = encode(pixels, "tiff", 0)
    assert extension(data) == "tif"
    np.testing.assert_array_equal(decode(data), pixels)


def test_jpeg_is_close() -> None:
    pixels = texture(64, 64)
    data = encode(pixels, "jpeg", 0)
    assert extension(data) == "jpg"
    assert np.abs(decode(data).astype(int) - pixels).mean() < 2


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [((100, 200), 50, (50, 100)), ((301, 100), 50, (150, 50)), ((40, 60), 50, (40, 60)), ((40, 60), 0, (40, 60))],
)
def test_the_shorter_side_gets_the_size_and_nothing_grows(
    shape: tuple[int, int], size: int, expected: tuple[int, int]
) -> None:
    assert decode(encode(texture(*shape), "tiff", size)).shape == expected


def test_shrinking_averages_areas() -> None:
    pixels = texture(64, 64)
    means = pixels.reshape(32, 2, 32, 2).mean((1, 3))
    assert np.abs(decode(encode(pixels, "tiff", 32)) - means).max() <= 1


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Grey, 16 bit, RGBA and JPEG files, of several sizes, and one that is no image."""
    (tmp_path / "raw").mkdir()
    found = []
    for number in range(24):
        path = tmp_path / "raw" / f"{number:03d}.png"
        pixels = texture(96 + 8 * (number % 3), 96, number)
        picture = {
            0: lambda p=pixels: Image.fromarray(p),
            1: lambda p=pixels: Image.fromarray(p.astype(np.uint16) * 257),
            2: lambda p=pixels: Image.fromarray(np.dstack([p, p, p, np.full_like(p, 255)])),
            3: lambda p=pixels: Image.fromarray(p),
        }[number % 4]()
        picture.save(path, format="JPEG" if number % 4 == 3 else "PNG")
        found.append(Record("x", path.name, path, {"a": number % 2}, patient=f"p{number}"))
    (tmp_path / "raw" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n no image")
    return [*found, Record("x", "bad.png", tmp_path / "raw" / "bad.png", {"a": 0})]


@pytest.mark.parametrize("encoding", ["jpeg", "tiff"])
def test_packed_at_the_size_that_training_needs(encoding: str, records: list[Record], tmp_path: Path) -> None:
    options = PackOptions(shard_mb=0.05, encoding=encoding, size=48)
    first = pack(records, ("a",), tmp_path / "one", options, workers=1)
    assert pack(records[::-1], ("a",), tmp_path / "two", options, workers=2) == first, "the same bytes each time"
    assert (first["encoding"], first["rejects"]) == (encoding, 1)
    assert "48 pixels on the shorter side" in first["pixels"]
    assert first["options"]["size"] == 48
    assert "damaged PNG" in json.loads((tmp_path / "one" / "rejects.jsonl").read_text())["reason"]
    assert verify_shards(tmp_path / "one", "decode") == []
    index = open_index(tmp_path / "one", "train")
    shapes = set()
    for shard in index.shards:
        with tarfile.open(tmp_path / "one" / shard.name) as tar:
            for member in tar.getmembers():
                if not member.name.endswith(".json"):
                    shapes.add(decode(tar.extractfile(member).read()).shape)  # type: ignore[union-attr]
    assert shapes <= {(48, 48), (52, 48), (56, 48)}


def test_the_options_go_together(records: list[Record], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="size needs an encoding"):
        pack(records, ("a",), tmp_path / "out", PackOptions(size=48))
    with pytest.raises(InputError, match="cannot be negative"):
        pack(records, ("a",), tmp_path / "out", PackOptions(size=-1, encoding="jpeg"))
