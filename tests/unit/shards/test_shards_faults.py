"""Packing that is killed or runs out of room: never half a shard under its name, nothing lost, the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from limits import HANG_S
from PIL import Image

from medtrain.core.errors import MachineError
from medtrain.datasets.record import Record
from medtrain.datasets.sources import demo
from medtrain.shards.pack import CONTENTS, pack
from medtrain.shards.plan import PackOptions
from medtrain.shards.verify import verify_shards

OPTIONS = PackOptions(shard_mb=0.1)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 noisy PNGs of 16 kB: about 40 shards of 0.1 MB, each a few milliseconds of work."""
    root = tmp_path_factory.mktemp("noise") / "demo"
    rng = np.random.default_rng(0)
    for number in range(240):
        path = root / demo.CLASSES[number % 6] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (128, 128), dtype=np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def records(raw: Path) -> list[Record]:
    return demo.records(raw)


@pytest.fixture(scope="module")
def whole(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files that packing leaves where nothing disturbs it."""
    out = tmp_path_factory.mktemp("whole")
    pack(records, demo.CLASSES, out, OPTIONS, workers=2)
    return digests(out)


def digests(folder: Path) -> dict[str, str]:
    """By name; without what is only kept while it is packed."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def start(raw: Path, out: Path) -> subprocess.Popen[str]:
    """`medtrain shard` in a process group of its own."""
    options = ["--root", str(raw), "--out", str(out), "--shard_mb", str(OPTIONS.shard_mb), "--workers", "2"]
    command = [sys.executable, "-m", "medtrain", "shard", "demo", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def files(out: Path) -> int:
    return len(list(out.iterdir())) if out.exists() else 0


def wait_for_files(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and files(out) < count:
        time.sleep(0.001)


def check_named_files(out: Path, whole: dict[str, str]) -> int:
    """Every file under its final name has the bytes of the undisturbed one; returns how many."""
    found = {name: digest for name, digest in digests(out).items() if not name.startswith(".")} if out.exists() else {}
    assert found.items() <= whole.items()
    return len(found)


def test_kill_9_at_random_moments(raw: Path, whole: dict[str, str], tmp_path: Path) -> None:
    """Ten kills spread over the work: each when a random number of files is there, and a random moment later."""
    rng, out = random.Random(0), tmp_path / "out"
    numbers: list[int] = []
    while len(numbers) < 10:
        process = start(raw, out)
        present, left = files(out), 10 - len(numbers)
        wait_for_files(out, present + rng.randint(0, max(1, (len(whole) - present) // left)), process)
        time.sleep(rng.uniform(0, 0.02))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            numbers.append(check_named_files(out, whole))
        else:  # it was quicker than this process could kill it: from the beginning
            process.communicate()
            shutil.rmtree(out)
    assert sum(0 < number < len(whole) - 1 for number in numbers) >= 5, f"too few kills while packing: {numbers}"
    process = start(raw, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert digests(out) == whole
    assert verify_shards(out, "decode") == []


def test_kill_9_of_the_packer_alone_takes_its_workers_along(raw: Path, whole: dict[str, str], tmp_path: Path) -> None:
    """The out-of-memory killer picks one process; an orphan would hang for ever, or write beside its successor."""
    process = start(raw, tmp_path / "out")
    wait_for_files(tmp_path / "out", 6, process)
    process.kill()
    process.wait()  # communicate() would wait for orphans
    deadline = time.monotonic() + HANG_S
    while group_is_alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    orphans = group_is_alive(process.pid)
    if orphans:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not orphans
    assert check_named_files(tmp_path / "out", whole) < len(whole) - 1
    again = start(raw, tmp_path / "out")
    again.communicate()
    assert digests(tmp_path / "out") == whole


def group_is_alive(group: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-g", str(group)], capture_output=True, text=True, check=False)
    return any(not state.startswith("Z") for state in listed.stdout.split("\n") if state)


def test_a_killed_packer_costs_nothing(raw: Path, whole: dict[str, str], tmp_path: Path) -> None:
    process = start(raw, tmp_path / "out")
    while process.poll() is None:
        writing = next(iter((tmp_path / "out").glob(".*.tar.*.unfinished")), None)
        if writing is not None:
            os.kill(int(writing.name.split(".")[-2].split("-")[0]), signal.SIGKILL)
            break
    else:
        pytest.fail("it packed without an unfinished shard")
    _, errors = process.communicate()
    assert process.returncode == 0 and "Traceback" not in errors
    assert digests(tmp_path / "out") == whole


def test_a_full_disk(
    records: list[Record], whole: dict[str, str], small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    """Full while shards are written, and at each step of the end; more room each time, and at last enough."""
    pack(records, demo.CLASSES, tmp_path / "measure", OPTIONS, workers=1)
    pages = sum(-(-path.stat().st_size // 4096) for path in (tmp_path / "measure").iterdir())
    disk = small_disk(1 << 20)
    for room in (0, 1, pages // 2, pages - 6, pages - 3, pages - 1):
        set_pages(disk, room)
        with pytest.raises(MachineError, match="No space left on device") as error:
            pack(records, demo.CLASSES, disk / "out", OPTIONS, workers=2)
        assert "make room, then give the same command again" in error.value.fix
        assert not list(disk.glob("out/.*.unfinished"))
        check_named_files(disk / "out", whole)
    set_pages(disk, 2 * pages)
    pack(records, demo.CLASSES, disk / "out", OPTIONS, workers=2)
    assert digests(disk / "out") == whole
    assert not (disk / "out" / CONTENTS).exists()


def set_pages(disk: Path, pages: int) -> None:
    size = max(4096 * pages, 4096)
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def test_a_folder_that_cannot_be_written(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be written"):
        pack(records, demo.CLASSES, tmp_path / "file" / "out", OPTIONS, workers=1)
