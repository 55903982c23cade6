"""shards.verify: every kind of damage is found and told with its shard and sample."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import medtrain
from spoiled import flip

from medtrain.core.errors import InputError
from medtrain.core.files import file_sha256
from medtrain.datasets.sources import demo
from medtrain.shards.index import ShardIndex, index_digest, open_index
from medtrain.shards.pack import pack
from medtrain.shards.plan import PackOptions
from medtrain.shards.tar_writer import npy, rest_crc32
from medtrain.shards.verify import verify_shards

NUMBER = 5  # the damaged sample, in the second shard of train


@pytest.fixture(scope="module")
def sound(demo_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 images in 4 + 1 + 1 shards, with patients and a raw row each."""
    out = tmp_path_factory.mktemp("sound") / "train-shards"  # a name like a shard's
    records = [replace(r, raw={"view": "PA"}, patient=str(n)) for n, r in enumerate(demo.records(demo_tree))]
    pack(records, demo.CLASSES, out, PackOptions(shard_mb=0.1), workers=1)
    return out


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / sound.name))


def sample(index: ShardIndex, shard: int = 1) -> Any:
    return index.samples[index.samples["shard"] == shard][NUMBER]


def in_sidecar(index: ShardIndex, row: Any, text: bytes) -> int:
    data = index.shard_path(row["shard"]).read_bytes()
    return data.index(text, int(row["offset"] + row["size"]))


@pytest.mark.parametrize("level", ["quick", "crc", "decode"])
def test_a_whole_dataset_has_no_fault(sound: Path, level: Any) -> None:
    assert verify_shards(sound, level) == []


# ---- one flipped byte -----------------------------------------------------------------------------------------------

PLACES: dict[str, Callable[[ShardIndex, Any], int]] = {
    "image, first byte": lambda index, row: int(row["offset"]),
    "image, last byte": lambda index, row: int(row["offset"] + row["size"]) - 1,
    "tar header, first byte": lambda index, row: int(row["offset"]) - 512,
    "tar header, last byte": lambda index, row: int(row["offset"]) - 1,
    "padding behind the image": lambda index, row: int(row["offset"] + row["size"]),
    "json: key": lambda index, row: in_sidecar(index, row, b'"key"') + 9,
    "json: labels": lambda index, row: in_sidecar(index, row, b'"labels"') + 10,
    "json: raw text": lambda index, row: in_sidecar(index, row, b'"PA"') + 1,
    "padding behind the json": lambda index, row: in_sidecar(index, row, b'"view"') + 40,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_byte_of_a_shard(folder: Path, place: str) -> None:
    index = open_index(folder, "train")
    row = sample(index)
    flip(index.shard_path(1), PLACES[place](index, row))
    assert verify_shards(folder, "quick") == []
    for level in ("crc", "decode"):
        [fault] = verify_shards(folder, level)  # type: ignore[arg-type]
        assert "train-000001.tar" in fault and f"sample {row['key'].decode()}" in fault
        assert "checksum" in fault


def test_a_flipped_byte_anywhere_in_a_shard(folder: Path) -> None:
    """64 random places, the first and the last byte."""
    path = folder / "val-000000.tar"
    data = path.read_bytes()
    for position in [0, len(data) - 1, *np.random.default_rng(0).integers(0, len(data), 64)]:
        flip(path, position)
        faults = verify_shards(folder, "crc", workers=1)
        assert len(faults) == 1 and "val-000000.tar: sample demo-" in faults[0], position
        path.write_bytes(data)


@pytest.mark.parametrize("name", ["train.idx", "train-000001.idx"])
@pytest.mark.parametrize("where", ["row", "header", "magic"])
def test_a_flipped_byte_of_an_index(folder: Path, name: str, where: str) -> None:
    rows = np.load(folder / name)
    row = np.flatnonzero(rows["key"] == sample(open_index(folder, "train"))["key"])[0]
    header = (folder / name).stat().st_size - rows.nbytes
    flip(folder / name, {"row": header + int(row) * rows.itemsize + 3, "header": header - 20, "magic": 0}[where])
    faults = verify_shards(folder, "quick")
    assert len(faults) == 1 and f"{folder / name}: " in faults[0]
    assert (rows["key"][row].decode() if where == "row" else "header") in faults[0]


def test_an_index_of_another_length(folder: Path) -> None:
    for name in ("val.idx", "test-000000.idx"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    first, second = verify_shards(folder)
    assert "val.idx" in first and "bytes instead of" in first
    assert "test-000000.idx" in second and "bytes instead of" in second
    (folder / "val.idx").unlink()
    assert "val.idx: is missing" in verify_shards(folder)[0]


# ---- lost shards and leaks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["quick", "crc", "decode"])
def test_a_missing_shard(folder: Path, level: Any) -> None:
    first = open_index(folder, "val").samples[0]["key"].decode()
    (folder / "val-000000.tar").unlink()
    [fault] = verify_shards(folder, level)
    assert "val-000000.tar: is missing; 12 images are lost: first" in fault and f"sample {first}" in fault


@pytest.mark.parametrize("level", ["quick", "crc", "decode"])
def test_a_truncated_shard(folder: Path, level: Any) -> None:
    """Cut at a member boundary, where a tar reader sees nothing wrong."""
    row = sample(open_index(folder, "train"))
    path = folder / "train-000001.tar"
    path.write_bytes(path.read_bytes()[: int(row["offset"]) - 512])
    faults = verify_shards(folder, level)
    assert len(faults) == 1
    assert "train-000001.tar: has" in faults[0] and "19 images are lost: first" in faults[0]
    assert f"sample {row['key'].decode()}" in faults[0]


def test_faults_of_several_shards_are_all_told(folder: Path) -> None:
    train, test = open_index(folder, "train"), open_index(folder, "test")
    (folder / "train-000000.tar").unlink()
    flip(folder / "train-000002.tar", int(sample(train, 2)["offset"]))
    flip(folder / "test-000000.tar", int(test.samples[0]["offset"]))
    faults = verify_shards(folder, "crc")
    assert [next(name for name in ("n-000000", "n-000002", "t-000000") if name in fault) for fault in faults] == [
        "n-000000", "n-000002", "t-000000",
    ]  # fmt: skip


def reseal(folder: Path, split: str, rows: Any) -> None:
    """Write `rows` as the index of a split and make the manifest agree: damage that was there when it was packed."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.pop("checksum", None)
    manifest.pop("task", None)
    (folder / f"{split}.idx").write_bytes(npy(rows))
    entry = manifest["splits"][split]
    entry["digest"] = index_digest(folder / f"{split}.idx")
    for number, shard in enumerate(entry["shards"]):
        part = rows[rows["shard"] == number]
        part["shard"] = 0
        (folder / shard["name"]).with_suffix(".idx").write_bytes(npy(part))
        shard["sha256"] = file_sha256(folder / shard["name"])
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(("column", "what"), [("group", "1 patients"), ("content", "1 byte-identical images")])
def test_a_leak_between_splits(folder: Path, column: str, what: str) -> None:
    train, rows = open_index(folder, "train"), open_index(folder, "test").samples.copy()
    rows[column][3] = sample(train)[column]
    reseal(folder, "test", rows)
    [fault] = verify_shards(folder)
    assert fault.startswith(f"{what} stand in both train and test")
    assert "train-000001.tar" in fault and sample(train)["key"].decode() in fault
    assert "test-000000.tar" in fault and rows["key"][3].decode() in fault


def test_an_image_that_was_packed_damaged_is_found_by_decoding(folder: Path) -> None:
    rows = open_index(folder, "train").samples.copy()
    path, row = folder / "train-000001.tar", int(np.flatnonzero(rows["shard"] == 1)[NUMBER])
    data = bytearray(path.read_bytes())
    start, size = int(rows["offset"][row]), int(rows["size"][row])
    data[start + size // 2 : start + size] = bytes(size - size // 2)
    path.write_bytes(data)
    rows["crc32"][row] = zlib.crc32(data[start : start + size])
    reseal(folder, "train", rows)
    assert verify_shards(folder, "crc") == []
    [fault] = verify_shards(folder, "decode")
    assert "train-000001.tar" in fault and rows["key"][row].decode() in fault and "JPEG" in fault


def test_rest_crc32_covers_what_the_images_do_not(sound: Path) -> None:
    index = open_index(sound, "val")
    with index.shard_path(0).open("rb") as file:
        assert rest_crc32(file, index.samples) == index.samples["rest_crc32"].tolist()
        assert rest_crc32(file, index.samples[:0]) == []


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no packed dataset \(manifest.json\)"):
        verify_shards(tmp_path)


# ---- the command ----------------------------------------------------------------------------------------------------


def test_the_command_leaves_with_2_and_names_the_fault(folder: Path) -> None:
    assert "120 images, no fault (level crc)" in medtrain("verify", folder).stdout
    row = sample(open_index(folder, "train"))
    flip(folder / "train-000001.tar", int(row["offset"]))
    done = medtrain("verify", folder, check=False)
    assert done.returncode == 2
    assert "FAULT" in done.stdout and row["key"].decode() in done.stdout and "pack again" in done.stdout
    assert medtrain("verify", folder, "--level", "quick").returncode == 0
    told = medtrain("verify", folder, "--json", check=False)
    document = json.loads(told.stdout)
    assert told.returncode == 2 and (document["level"], document["images"], len(document["faults"])) == ("crc", 120, 1)
