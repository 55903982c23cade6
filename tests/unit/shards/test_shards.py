"""shards.pack: the same bytes each time, nothing lost, nothing told of a patient, and plain WebDataset tars."""

from __future__ import annotations

import fcntl
import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from packing import SMALL, digests, packed
from PIL import Image

from medtrain.core.errors import InputError
from medtrain.datasets.record import Record
from medtrain.datasets.sources import demo
from medtrain.shards.file_hashes import there
from medtrain.shards.index import open_index
from medtrain.shards.pack import CONTENTS
from medtrain.shards.packed_dataset import PackedDataset
from medtrain.shards.plan import PackOptions
from medtrain.shards.verify import verify_shards


@pytest.fixture(scope="module")
def records(demo_tree: Path) -> list[Record]:
    return demo.records(demo_tree)


# ---- the same bytes -------------------------------------------------------------------------------------------------


def test_the_same_bytes_for_any_number_of_workers_and_any_folder(records: list[Record], tmp_path: Path) -> None:
    first = packed(records, tmp_path / "one")
    assert packed(records[::-1], tmp_path / "elsewhere" / "three", workers=3) == first
    assert digests(tmp_path / "one") == digests(tmp_path / "elsewhere" / "three")
    assert len(first["splits"]["train"]["shards"]) == 4


def test_packing_again_changes_nothing(records: list[Record], tmp_path: Path) -> None:
    first = packed(records, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    assert packed(records, tmp_path / "out") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*") if path.name != ".lock"} == {
        path: time for path, time in times.items() if path.name != ".lock"
    }


def test_a_shard_that_was_deleted_is_packed_again(records: list[Record], tmp_path: Path) -> None:
    """The remedy that verify and open_index give for a damaged shard."""
    packed(records, tmp_path / "out")
    before = digests(tmp_path / "out")
    for name in ("train-000001.tar", "manifest.json"):
        (tmp_path / "out" / name).unlink()
    packed(records, tmp_path / "out")
    assert digests(tmp_path / "out") == before


def test_a_folder_of_other_options_or_images_is_refused_and_left_alone(records: list[Record], tmp_path: Path) -> None:
    packed(records, tmp_path / "out")
    before = digests(tmp_path / "out")
    others: list[tuple[list[Record], PackOptions]] = [
        (records, replace(SMALL, seed=1)),
        (records, replace(SMALL, max_samples=50)),
        (records[1:], SMALL),
        ([replace(records[0], labels=records[-1].labels), *records[1:]], SMALL),
    ]
    for images, options in others:
        with pytest.raises(InputError, match="packed from other images, labels or options") as error:
            packed(images, tmp_path / "out", options)
        assert "--out" in error.value.fix
        assert not (tmp_path / "out" / CONTENTS).exists(), "said before any file is read"
    assert digests(tmp_path / "out") == before


def test_two_packers_at_once_are_refused(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is packing"):
            packed(records, tmp_path / "out")
    packed(records, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "workers", "word"),
    [(PackOptions(shard_mb=0), 1, "shard_mb"), (PackOptions(max_samples=-1), 1, "max_samples"), (SMALL, -2, "workers")],
)
def test_impossible_options_are_refused(
    records: list[Record], tmp_path: Path, options: PackOptions, workers: int, word: str
) -> None:
    with pytest.raises(InputError, match=word):
        packed(records, tmp_path / "out", options, workers=workers)
    assert not (tmp_path / "out").exists()


def test_max_samples(records: list[Record], tmp_path: Path) -> None:
    manifest = packed(records, tmp_path / "out", PackOptions(max_samples=30))
    assert sum(entry["samples"] for entry in manifest["splits"].values()) == 30


# ---- what is in the shards ------------------------------------------------------------------------------------------


def test_images_are_the_originals_with_their_labels(records: list[Record], demo_shards: Path) -> None:
    originals = {record.path.read_bytes(): tuple(record.labels.values()) for record in records}
    found = {}
    for split in ("train", "val", "test"):
        index = open_index(demo_shards, split)
        for row in index.samples:
            data = index.shard_path(row["shard"]).read_bytes()
            found[data[int(row["offset"]) :][: row["size"]]] = tuple(row["labels"].tolist())
    assert found == originals


def test_webdataset_reads_the_same_keys_images_and_labels(demo_shards: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    index = open_index(demo_shards, "train")
    tars = [str(index.shard_path(number)) for number in range(len(index.shards))]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert [sample["__key__"].encode() for sample in samples] == index.samples["key"].tolist()
    for sample, row in zip(samples, index.samples, strict=True):
        offset = int(row["offset"])
        assert sample["jpg"] == index.shard_path(row["shard"]).read_bytes()[offset : offset + row["size"]]
        sidecar = json.loads(sample["json"])
        assert sidecar["key"] == sample["__key__"]
        assert sidecar["labels"] == row["labels"].tolist()
    decoded = next(iter(webdataset.WebDataset(tars, shardshuffle=False).decode("l8").to_tuple("jpg", "json")))
    assert decoded[0].shape == (64, 64) and decoded[1]["labels"] == index.labels[0].tolist()


def test_the_manifest_tells_what_is_there(demo_shards: Path) -> None:
    manifest = PackedDataset.open(demo_shards).manifest
    assert {split: entry["samples"] for split, entry in manifest["splits"].items()} == {
        "train": 96, "val": 12, "test": 12,
    }  # fmt: skip
    for entry in manifest["splits"].values():
        for shard in entry["shards"]:
            data = (demo_shards / shard["name"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (shard["bytes"], shard["sha256"])
        assert sum(count["positive"] for count in entry["counts"].values()) == entry["samples"]


def test_unknown_labels_raw_and_meta_reach_the_shard(records: list[Record], tmp_path: Path) -> None:
    unsure = replace(records[0], labels={**records[0].labels, "disc": None}, raw={"note": "ä"}, meta={"view": "PA"})
    packed([unsure, *records[1:20]], tmp_path / "out", PackOptions())
    index = open_index(tmp_path / "out", "train")
    rows = index.labels[:, index.classes.index("disc")]
    assert sorted(set(rows.tolist())) == [-1, 0] and (rows == -1).sum() == 1
    with tarfile.open(index.shard_path(0)) as tar:
        sidecars = [json.load(tar.extractfile(name)) for name in tar.getnames() if name.endswith(".json")]  # type: ignore[arg-type]
    assert [(s["raw"], s["meta"]) for s in sidecars if s["raw"]] == [({"note": "ä"}, {"view": "PA"})]


def test_no_patient_or_study_id_is_in_any_packed_byte(records: list[Record], tmp_path: Path) -> None:
    named = [
        replace(record, patient=f"DOE^JANE-{number // 3:05d}", study=f"ACC77-{number:05d}")
        for number, record in enumerate(records)
    ]
    packed(named, tmp_path / "out", workers=2)
    for path in (tmp_path / "out").rglob("*"):
        data = path.read_bytes().upper()
        assert b"DOE" not in data and b"ACC77" not in data, path
    groups = [set(open_index(tmp_path / "out", split).samples["group"].tolist()) for split in ("train", "val", "test")]
    assert [len(found) for found in groups] == [32, 4, 4]


def test_shards_smaller_than_an_image_hold_one_each(records: list[Record], tmp_path: Path) -> None:
    manifest = packed(records[:5], tmp_path / "out", PackOptions(shard_mb=0.001))
    assert all(shard["samples"] == 1 for split in manifest["splits"].values() for shard in split["shards"])


def test_datasets_with_names_of_any_length_make_sound_shards(records: list[Record], tmp_path: Path) -> None:
    mixed = [replace(record, source="a_long_name" if i % 30 == 0 else "it") for i, record in enumerate(records)]
    packed(mixed, tmp_path / "out")
    assert not verify_shards(tmp_path / "out", "crc", 1)


def test_an_image_twice_in_a_table_is_refused(records: list[Record], tmp_path: Path) -> None:
    again = replace(records[3], labels=records[50].labels)
    with pytest.raises(InputError, match=f"{records[3].image} is there 2 times"):
        packed([*records, again], tmp_path / "out")


def test_a_folder_where_nobody_may_look_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be looked for"):
        there(tmp_path / ("x" * 300))


def test_nothing_that_an_image_says_in_words_reaches_a_shard(records: list[Record], tmp_path: Path) -> None:
    named = tmp_path / "named.jpeg"
    Image.open(records[0].path).save(named, "JPEG", comment=b"DOE^JANE")
    packed([replace(records[0], path=named), *records[1:]], tmp_path / "out")
    assert b"DOE^JANE" in named.read_bytes()
    assert not any(b"DOE^JANE" in path.read_bytes() for path in (tmp_path / "out").rglob("*.*"))
