"""shards.pack: images that cannot be used are left out and listed, by their owner alone, and nothing else is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from packing import digests, packed
from PIL import Image

from medtrain.core.errors import InputError
from medtrain.datasets.record import Record
from medtrain.datasets.sources import demo
from medtrain.shards.index import open_index
from medtrain.shards.plan import PackOptions
from medtrain.shards.verify import verify_shards


@pytest.fixture(scope="module")
def records(demo_tree: Path) -> list[Record]:
    return demo.records(demo_tree)


@pytest.fixture
def damaged(records: list[Record], tmp_path: Path) -> list[Record]:
    """The demo images, four of them broken, each in its own way."""
    whole = records[0].path.read_bytes()
    (tmp_path / "cut.jpeg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpeg").touch()
    (tmp_path / "text.jpeg").write_text("<html>404</html>")
    (tmp_path / "link.jpeg").symlink_to("nowhere")
    names = ["cut", "empty", "text", "link"]
    broken = [replace(records[0], image=f"{n}.jpeg", path=tmp_path / f"{n}.jpeg") for n in names]
    return [*records, *broken]


REASONS = {
    "cut.jpeg": "truncated JPEG",
    "empty.jpeg": "the file is empty",
    "text.jpeg": "not a JPEG, PNG, TIFF or DICOM image",
    "link.jpeg": "No such file or directory",
}


def test_unreadable_images_are_listed_with_their_reasons(damaged: list[Record], tmp_path: Path) -> None:
    manifest = packed(damaged, tmp_path / "out")
    rejects = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert {row["image"]: row["reason"] for row in rejects} == REASONS
    assert manifest["rejects"] == 4 and sum(entry["samples"] for entry in manifest["splits"].values()) == 120


def test_more_rejects_than_allowed_is_an_error_that_loses_nothing(damaged: list[Record], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="4 images cannot be used") as error:
        packed(damaged, out, max_rejects=3)
    assert "--max_rejects 4" in error.value.fix and "rejects.jsonl" in error.value.fix
    assert len((out / "rejects.jsonl").read_text().splitlines()) == 4
    with pytest.raises(InputError, match="packing was not finished"):
        open_index(out, "train")
    inodes = {path: path.stat().st_ino for path in out.glob("*-*")}
    assert inodes
    packed(damaged, out, max_rejects=4)
    assert {path: path.stat().st_ino for path in out.glob("*-*")} == inodes
    packed(damaged, tmp_path / "at once", max_rejects=4)
    assert digests(out) == digests(tmp_path / "at once")


def test_copies_across_official_splits_are_listed(records: list[Record], tmp_path: Path) -> None:
    copy = tmp_path / "copy.jpeg"
    copy.write_bytes(records[0].path.read_bytes())
    told = [replace(record, split="test" if i % 2 == 0 else "train") for i, record in enumerate(records)]
    told.append(replace(records[1], image="copy.jpeg", path=copy, patient="q", split="train"))
    manifest = packed(told, tmp_path / "out", max_rejects=0)
    assert manifest["rejects"] == 1
    assert manifest["splits"]["test"]["samples"] == 60
    assert "official test split" in (tmp_path / "out" / "rejects.jsonl").read_text()
    assert not verify_shards(tmp_path / "out", "crc", 1)


def test_only_their_owner_may_read_what_was_left_out(damaged: list[Record], tmp_path: Path) -> None:
    """File names may be those of patients."""
    packed(damaged, tmp_path / "out")
    modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "out").glob("*rejects.jsonl")}
    assert len(modes) > 1 and set(modes.values()) == {0}


def test_a_shard_packed_again_forgets_what_was_missing(records: list[Record], tmp_path: Path) -> None:
    out, moved = tmp_path / "out", tmp_path / "moved"
    packed(records, out)
    shard = out / "train-000000.tar"
    (out / "train-000000.rejects.jsonl").write_text(json.dumps({"image": "old", "reason": "was not there"}) + "\n")
    for path in (shard, shard.with_suffix(".idx"), out / "manifest.json"):
        path.rename(moved.with_suffix(path.suffix))
    assert packed(records, out)["rejects"] == 0
    assert shard.read_bytes() == moved.with_suffix(".tar").read_bytes()


def test_an_image_that_cannot_be_encoded_is_left_out(records: list[Record], tmp_path: Path) -> None:
    """JPEG knows no side of more than 65,500 pixels."""
    wide = tmp_path / "wide.png"
    Image.new("L", (66_000, 1)).save(wide)
    more = [*records, replace(records[0], image="wide.png", path=wide)]
    manifest = packed(more, tmp_path / "out", PackOptions(encoding="jpeg"))
    assert manifest["rejects"] == 1
    assert "65500" in (tmp_path / "out" / "rejects.jsonl").read_text()


def test_a_split_of_rejects_alone_is_no_trouble(damaged: list[Record], tmp_path: Path) -> None:
    records = [replace(r, split="test" if r.image in REASONS else "train") for r in damaged]
    manifest = packed(records, tmp_path / "out")
    assert manifest["splits"]["test"]["samples"] == 0
    assert len(open_index(tmp_path / "out", "test")) == 0
