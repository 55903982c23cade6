"""The doctor finds what is wrong with the folder of runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from broken_machine import program, read_only_folder

from medtrain.doctor.checks import run_folder


def test_a_good_folder(tmp_path: Path) -> None:
    found = run_folder.writing(tmp_path)
    assert found.state == "ok"
    assert all(word in found.text for word in ("write", "sync", "rename", "append", "link"))
    assert list(tmp_path.iterdir()) == []
    assert run_folder.clock(tmp_path).state == "ok"
    assert re.match(r"[\d,.]+ GB free", run_folder.room(tmp_path).text)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    found = run_folder.writing(read_only_folder(tmp_path))
    assert (found.state, "cannot be written" in found.text) == ("FAIL", True)


def test_a_folder_that_is_not_there_or_is_a_file(tmp_path: Path) -> None:
    found = run_folder.writing(tmp_path / "none")
    assert (found.state, f"mkdir -p {tmp_path / 'none'}" in found.fix) == ("FAIL", True)
    (tmp_path / "file").write_text("")
    found = run_folder.writing(tmp_path / "file")
    assert (found.state, "Not a directory" in found.text) == ("FAIL", True)


def test_a_step_that_the_file_system_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(place: Path) -> None:
        (place / "none" / "link").symlink_to("a")

    monkeypatch.setitem(run_folder.STEPS, "link", refuse)
    found = run_folder.writing(tmp_path)
    assert (found.state, "it is not possible to link (No such file" in found.text) == ("FAIL", True)
    assert list(tmp_path.iterdir()) == []


def test_little_room_is_a_warning() -> None:
    assert run_folder.room_finding(10.1, None).state == "ok"
    assert run_folder.room_finding(9.9, None).state == "warn"
    assert run_folder.room_finding(500.0, 9_999).state == "warn"
    assert run_folder.room_finding(500.0, 10_000).state == "ok"


def test_clocks_that_differ_are_a_warning() -> None:
    assert run_folder.clock_finding(100.5, 100.0, 101.0).state == "ok"
    assert run_folder.clock_finding(99.0, 100.9, 101.0).state == "ok", "some file systems keep whole seconds"
    assert (
        run_folder.clock_finding(104.0, 100.0, 101.0).text == "the file system's clock is 3 s ahead of this machine's"
    )
    assert run_folder.clock_finding(40.0, 100.0, 101.0).text == "the file system's clock is 60 s behind this machine's"


def test_folders_open_to_everybody_are_a_warning(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        assert run_folder.privacy(tmp_path).state == "ok"
        tmp_path.chmod(0o777)
        assert run_folder.privacy(tmp_path).fix == f"chmod o-w {tmp_path}"
        tmp_path.chmod(0o1777)
        assert run_folder.privacy(tmp_path).state == "ok", "sticky, as /tmp: only the owner may rename or delete"
        tmp_path.chmod(0o700)
        os.umask(0o000)
        assert run_folder.privacy(tmp_path).state == "warn"
        assert os.umask(0o000) == 0, "the check leaves the umask as it was"
    finally:
        os.umask(before)


def test_the_kind_of_file_system_is_that_of_the_deepest_mount(tmp_path: Path, no_slurm: Path) -> None:
    mounts = tmp_path / "mounts"
    (tmp_path / "my data" / "runs").mkdir(parents=True)
    point = str(tmp_path / "my data").replace(" ", "\\040")
    mounts.write_text(f"dev / ext4 rw 0 0\nserver:/x {point} nfs4 rw 0 0\ntmpfs {tmp_path}/my tmpfs rw 0 0\n")
    assert run_folder.kind(tmp_path / "my data" / "runs", mounts) == "nfs4"
    assert run_folder.kind(tmp_path, mounts) == "ext4"
    assert run_folder.kind(Path("/dev/shm")) == "tmpfs"
    assert run_folder.sharing(Path("/dev/shm")) is None, "without Slurm there is nobody to share with"
    program(no_slurm, "sbatch", "exit 0")
    found = run_folder.sharing(Path("/dev/shm"))
    assert found is not None
    assert (found.state, "other nodes cannot see" in found.text) == ("warn", True)
