"""The hashes of a dataset's files: read once, also over calls that were killed, and again where a file changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash

from medtrain.core.errors import MachineError
from medtrain.core.isolated_processes import Pool
from medtrain.datasets.record import Record
from medtrain.shards import file_hashes as module
from medtrain.shards.file_hashes import hash_files


def known(records: list[Record], folder: Path, workers: int) -> list[tuple[int, int]]:
    """`contents` by so many threads."""
    with Pool(workers) as pool:
        return hash_files(records, folder, pool)


def whole(i: int) -> bytes:
    """A file that begins as a JPEG."""
    return b"\xff\xd8\xff" + bytes([i]) * (i + 1)


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    made = []
    for i in range(7):
        path = tmp_path / f"{i}.png"
        path.write_bytes(whole(i))
        made.append(Record("drawn", path.name, path, {}))
    return made


def spoil(record: Record) -> None:
    """Other bytes that nobody can notice without reading them."""
    before = record.path.stat()
    record.path.write_bytes(b"\xff\xd8\xff".ljust(before.st_size, b"x"))
    os.utime(record.path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_is_known_is_not_read_again(records: list[Record], tmp_path: Path) -> None:
    expected = [(xxhash.xxh3_64_intdigest(whole(i)), i + 4) for i in range(7)]
    assert known(records, tmp_path / "known", 2) == expected
    for record in records:
        spoil(record)
    assert known(records[::-1], tmp_path / "known", 2) == expected[::-1]
    assert known(records, tmp_path / "other", 2) != expected


def test_a_file_that_changed_is_read_again(records: list[Record], tmp_path: Path) -> None:
    before = known(records, tmp_path / "known", 1)
    records[2].path.write_bytes(whole(2) + b"longer than before")
    os.utime(records[3].path, ns=(1, 1))
    spoiled = records[4]
    spoil(spoiled)
    after = known(records, tmp_path / "known", 1)
    assert [i for i in range(7) if before[i] != after[i]] == [2]
    again = known([replace(records[2], source="elsewhere")], tmp_path / "known", 1)
    assert again == [after[2]]


def test_what_cannot_be_read_is_tried_again(records: list[Record], tmp_path: Path) -> None:
    data = records[0].path.read_bytes()
    records[0].path.unlink()
    missing = known(records, tmp_path / "known", 1)
    assert missing[0][1] == 0
    assert len({content for content, _ in missing}) == 7
    records[0].path.write_bytes(data)
    assert known(records, tmp_path / "known", 1)[0] == (xxhash.xxh3_64_intdigest(data), len(data))


def test_a_killed_reader_loses_little(records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    broken = [*records[:5], replace(records[5], path=None), records[6]]  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        known(broken, tmp_path / "known", 1)
    for record in records[:4]:
        spoil(record)
    found = known(records, tmp_path / "known", 1)
    assert [content for content, _ in found[:4]] == [xxhash.xxh3_64_intdigest(whole(i)) for i in range(4)]


def test_what_is_no_image_ties_nobody_to_anybody(records: list[Record], tmp_path: Path) -> None:
    """Downloads that failed are all the same."""
    for record in records[:4]:
        record.path.write_bytes(b"" if record is records[0] else b"<html>please log in</html>")
    assert len({content for content, _ in known(records, tmp_path / "known", 1)}) == 7


def test_a_filesystem_that_fails_for_now_is_no_fault_of_the_file(records: list[Record], tmp_path: Path) -> None:
    """Linux gives an input/output error where nothing of a process's memory is."""
    records[3].path.unlink()
    records[3].path.symlink_to("/proc/self/mem")
    with pytest.raises(MachineError, match=r"3\.png: cannot be read for now \(Input/output error\)") as error:
        known(records, tmp_path / "known", 1)
    assert "give the same command again" in error.value.fix
