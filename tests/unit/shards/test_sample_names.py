"""The table from a sample to its file: complete however packing went, private, and nowhere in what may be shared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from own_images import class_tree, draw
from packing import digests

from medtrain.cli.commands.shards import shard
from medtrain.core import permissions
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import write_json
from medtrain.datasets.own_data import OwnData
from medtrain.datasets.sources import echo_demo
from medtrain.shards import packing_jobs, sample_names
from medtrain.shards.index import open_index
from medtrain.shards.pack_request import Request, options_for
from medtrain.shards.packed_dataset import PackedDataset
from medtrain.shards.plan import PackOptions

OPTIONS = PackOptions(shard_mb=0.005, encoding="tiff")
PATIENTS = ("Smith", "Garcia", "Okafor", "Nguyen")


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """As every process of medtrain has it, after packing for a group."""
    yield
    permissions.apply()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that carry a name, as a clinic's do; one of them is no image."""
    root = tmp_path_factory.mktemp("names") / "raw"
    for number in range(24):
        kind, who = ("cat", "dog")[number % 2], PATIENTS[number % len(PATIENTS)]
        draw(root / kind / f"{who}_{number}.jpg", number)
    (root / "dog" / "Smith_99.jpg").write_text("no image")
    return root


def packed_here(raw: Path, out: Path, keep_names: bool = True) -> None:
    shard("folder", raw, out, shard_mb=0.005, encoding="tiff", workers=1, share="group", keep_names=keep_names)


def keys_of(out: Path) -> set[str]:
    splits = PackedDataset.open(out).splits
    return {key.decode() for split in splits for key in open_index(out, split).samples["key"].tolist()}


def table_of(out: Path, keys: set[str]) -> dict[str, Path]:
    named = sample_names.read([sample_names.path_for(out)], keys)
    return {key: Path(path) for key, path in named.items()}


def test_each_sample_has_its_file_and_nobody_else_sees_it(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(raw.parent)  # a root that is relative
    packed_here(Path("raw"), tmp_path / "packed")
    packed_here(raw, tmp_path / "plain", keep_names=False)
    printed = capsys.readouterr()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed", "packed.names.csv", "plain"]
    table = tmp_path / "packed.names.csv"
    assert table.stat().st_mode & 0o777 == 0o600, "though the dataset is shared with a group"
    keys = keys_of(tmp_path / "packed")
    found = table_of(tmp_path / "packed", keys)
    assert set(found) == keys and len(keys) == 24
    assert set(found.values()) == {path for path in raw.rglob("*.jpg") if "Smith_99" not in path.name}
    assert digests(tmp_path / "packed") == digests(tmp_path / "plain"), "it is in no byte of what is packed"
    shared = [path for path in (tmp_path / "packed").rglob("*") if "rejects" not in path.name]  # which is private
    for path in shared:
        assert not any(name.encode() in path.read_bytes() for name in PATIENTS), path
    assert printed.err.count("packed.names.csv will name the file of each sample") == 1
    assert not any(name in printed.out + printed.err for name in PATIENTS)


def test_a_packing_that_was_cut_off_and_one_that_is_done_get_the_same_table(raw: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "packed", tmp_path / "packed.names.csv"
    packed_here(raw, out)
    whole, packed = table.read_bytes(), digests(out)
    for gone in ((), ("manifest.json", "train-000001.idx", "train-000001.tar")):
        table.unlink()
        for name in gone:
            (out / name).unlink()
        packed_here(raw, out)
        assert table.read_bytes() == whole and digests(out) == packed, gone


def test_the_jobs_of_slurm_write_it_too(raw: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    packed_here(raw, tmp_path / "here")
    out = tmp_path / "there"
    request = Request("folder", raw, OPTIONS, 10, False, own=OwnData(), keep_names=True)
    source, _ = request.open()
    told = Request(**{**vars(request), "options": options_for(source, OPTIONS)}).told()
    out.mkdir()
    write_json(out / packing_jobs.REQUEST, {"request": told, "tasks": 1, "share": "group"})
    for stage in packing_jobs.STAGES:
        assert packing_jobs.main(str(out), stage) == 0
    table = tmp_path / "there.names.csv"
    assert table.read_bytes() == (tmp_path / "here.names.csv").read_bytes()
    assert table.stat().st_mode & 0o777 == 0o600
    assert not any(name in "".join(capfd.readouterr()) for name in PATIENTS), "it is in no log"
    assert Request.of({name: value for name, value in told.items() if name != "keep_names"}).keep_names is False


def test_clips_whose_keys_are_of_their_bytes(tmp_path: Path) -> None:
    echo_demo.download(tmp_path / "raw", samples=12)
    shard("echo_demo", tmp_path / "raw", tmp_path / "clips", size=32, workers=1, keep_names=True)
    keys = keys_of(tmp_path / "clips")
    found = table_of(tmp_path / "clips", keys)
    assert set(found) == keys and all(path.is_file() for path in found.values())


def test_names_that_are_not_utf8_can_be_read(tmp_path: Path) -> None:
    tree = class_tree(tmp_path / "raw", each=12)
    (tree / "cat" / "0.jpg").rename(tree / "cat" / os.fsdecode(b"M\xfcller.jpg"))
    packed_here(tree, tmp_path / "packed")
    keys = keys_of(tmp_path / "packed")
    found = table_of(tmp_path / "packed", keys)
    assert set(found) == keys and len(keys) == 24
    assert tree / "cat" / r"M\udcfcller.jpg" in found.values()


def test_slips(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "packed.names.csv").mkdir()
    with pytest.raises(InputError, match=r"packed\.names\.csv cannot be written, for --keep_names"):
        packed_here(raw, tmp_path / "packed")
    assert not (tmp_path / "packed").exists(), "nothing was packed before"
    for text, told in ((None, "is not there"), ("a,b\n1,2\n", "has no column key, file")):
        table = tmp_path / "other.csv"
        if text:
            table.write_text(text)
        with pytest.raises(InputError, match=told) as caught:
            sample_names.read([table], {"x"})
        assert "--keep_names" in caught.value.fix
    shutil.rmtree(tmp_path / "packed.names.csv")
