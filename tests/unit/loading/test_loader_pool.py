"""The loader's processes: no batch depends on them, no signal ends them, none outlives its trainer."""

from __future__ import annotations

import hashlib
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limits import HANG_S
from process_table import gone

from medtrain.config.schema import AugmentConfig
from medtrain.core.errors import InputError, MachineError
from medtrain.core.processes import ASKING_OR_HANGUP
from medtrain.datasets.sources import demo
from medtrain.loading.batch import Batch
from medtrain.loading.loader import Loader
from medtrain.loading.worker import SAMPLE_LOCATION, Fault, Images, Setup, WorkItem
from medtrain.shards.index import ShardIndex, open_index
from medtrain.shards.pack import PackOptions, pack

AUGMENT = AugmentConfig(rotate_deg=15, flip_p=0.5, zoom_min=0.9, zoom_max=1.1)

# A trainer that takes a batch, says so, and then waits for its end.
TRAINER = """
import sys, time
from medtrain.shards.index import open_index
from medtrain.loading.loader import Loader

batches = Loader(open_index(sys.argv[1], "train"), global_batch=8, image_size=64).batches(0)
next(batches)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ShardIndex:
    """160 training images in 3 shards."""
    folder = tmp_path_factory.mktemp("pool")
    demo.download(folder / "raw", samples=200)
    pack(demo.records(folder / "raw"), demo.CLASSES, folder / "shards", PackOptions(shard_mb=0.2), workers=1)
    return open_index(folder / "shards", "train")


@pytest.fixture
def loader(index: ShardIndex) -> Iterator[Loader]:
    """20 steps of 8 images an epoch."""
    loader = make(index)
    yield loader
    loader.close()


def make(index: ShardIndex, **options: Any) -> Loader:
    return Loader(index, **{"global_batch": 8, "image_size": 48, "seed": 3, "augment": AUGMENT, **options})


def digests(batches: Iterator[Batch]) -> list[str]:
    return [hashlib.sha256(batch.inputs.numpy().tobytes()).hexdigest() for batch in batches]


def workers_of(parent: int) -> list[int]:
    """Process ids of the loader processes that a process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            of = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if of == parent and b"medtrain.loading.worker" in command:
            found.append(int(folder.name))
    return found


def test_a_batch_in_many_pieces_is_the_same(index: ShardIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(index, global_batch=40, workers=1)
    expected = digests(whole.batches(0))
    whole.close()
    for fewest in (1, 7, 20):
        monkeypatch.setattr("medtrain.loading.pool.MIN_CHUNK", fewest)
        cut = make(index, global_batch=40, workers=3)
        assert digests(cut.batches(0)) == expected
        cut.close()


def test_chunks_cover_a_piece_and_leave_its_pixels_alone(index: ShardIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    places = np.zeros(100, SAMPLE_LOCATION)
    for name in ("shard", "offset", "size", "crc32"):
        places[name] = index.samples[name][:100]
    piece = WorkItem(0, 1, places)
    setup = Setup(tuple(str(index.shard_path(shard)) for shard in range(len(index.shards))), 48, AUGMENT, 3)
    made = []
    for limit in (1, 5_000, 1 << 20):
        monkeypatch.setattr("medtrain.loading.worker.CHUNK_BYTES", limit)
        chunks = list(piece.chunks())
        assert np.concatenate([np.arange(100)[chunk] for chunk in chunks]).tolist() == list(range(100))
        assert all(places["size"][chunk][:-1].sum() <= limit for chunk in chunks)
        made.append(np.zeros((100, 48, 48), np.uint8))
        Images(setup).make(WorkItem.unpack(piece.pack()), made[-1])
    assert len(chunks) == 1
    assert all(np.array_equal(pixels, made[0]) for pixels in made)


def test_no_signal_that_is_meant_for_the_trainer_reaches_a_worker(loader: Loader) -> None:
    expected = digests(loader.batches(0))
    batches = loader.batches(0)
    found = digests(iter([next(batches)]))
    for number in ASKING_OR_HANGUP:
        for worker in workers_of(os.getpid()):
            os.kill(worker, number)
        found += digests(iter([next(batches)]))
    assert found + digests(batches) == expected


def test_signals_while_a_worker_starts_do_not_end_it(index: ShardIndex) -> None:
    """Slurm does not wait until Python has come up."""
    loader = make(index)
    for worker in workers_of(os.getpid()):
        for number in ASKING_OR_HANGUP:
            os.kill(worker, number)
    assert len(digests(loader.batches(0))) == 20
    loader.close()


@pytest.mark.parametrize(
    ("number", "problem"), [(signal.SIGKILL, "was killed .out of memory"), (signal.SIGSEGV, "ended by SIGSEGV")]
)
def test_a_worker_that_dies_is_told_of_and_does_not_hang_the_trainer(
    index: ShardIndex, number: int, problem: str
) -> None:
    loader = make(index)
    batches = loader.batches(0)
    next(batches)
    victim = workers_of(os.getpid())[0]
    os.kill(victim, number)
    with pytest.raises(MachineError, match=problem):
        digests(batches)
    loader.close()
    assert workers_of(os.getpid()) == []


def test_workers_and_their_memory_are_gone_with_a_killed_trainer(index: ShardIndex) -> None:
    def shared() -> set[str]:
        """Of all programs; semaphores come and go with pools of processes, such as a test beside this one may have."""
        return {path.name for path in Path("/dev/shm").iterdir() if not path.name.startswith("sem.")}

    litter = shared()
    trainer = subprocess.Popen([sys.executable, "-c", TRAINER, str(index.folder)], stdout=subprocess.PIPE, text=True)
    assert trainer.stdout is not None and trainer.stdout.readline() == "ready\n"
    workers = workers_of(trainer.pid)
    assert len(workers) == 2 and not any(map(gone, workers))
    maps = [Path(f"/proc/{pid}/maps").read_text().splitlines() for pid in (trainer.pid, *workers)]
    own = {Path(line.split()[5]) for lines in maps for line in lines if "/dev/shm/" in line}  # semaphores as well
    trainer.kill()
    trainer.wait()
    trainer.stdout.close()
    deadline = time.monotonic() + HANG_S
    while not all(map(gone, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(map(gone, workers))
    assert shared() <= litter and not any(path.exists() for path in own)


def test_a_loader_that_nobody_closed_ends_with_its_program(index: ShardIndex) -> None:
    program = TRAINER.replace("time.sleep(60)", "")
    done = subprocess.run(
        [sys.executable, "-c", program, str(index.folder)], capture_output=True, text=True, timeout=HANG_S
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")


def test_workers_are_light_and_open_many_files(loader: Loader) -> None:
    """Torch in each would cost 1.2 s and 350 MB; a large dataset has more shards than most shells allow open files."""
    next(loader.batches(0))
    for worker in workers_of(os.getpid()):
        assert "libtorch" not in Path(f"/proc/{worker}/maps").read_text()
        limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        assert limits[0] == limits[1]


def test_an_earlier_iteration_ends_when_another_begins(loader: Loader) -> None:
    """And has nothing made in memory that is the later one's: often enough to see the worker that would be too late."""
    expected = digests(loader.batches(1))
    for _ in range(30):
        earlier = loader.batches(0)
        next(earlier)
        later = loader.batches(1)
        found = digests(iter([next(later)]))
        with pytest.raises(RuntimeError, match="others of the same Loader"):
            next(earlier)
        assert found + digests(later) == expected


def test_batches_of_all_sizes_take_turns_in_the_same_memory(index: ShardIndex, loader: Loader) -> None:
    whole = b"".join(batch.inputs.numpy().tobytes() for batch in loader.every_sample(160))
    trained = digests(loader.batches(0))
    for size in (1, 150, 7, 64):
        assert b"".join(batch.inputs.numpy().tobytes() for batch in loader.every_sample(size)) == whole
        assert digests(loader.batches(0)) == trained


def test_a_batch_stays_as_it_is(loader: Loader) -> None:
    """It is no view of memory that is filled again."""
    batches = list(loader.batches(0))
    assert digests(iter(batches)) == digests(loader.batches(0))


def test_a_shard_that_is_gone_is_the_filesystems_fault(tmp_path: Path, index: ShardIndex) -> None:
    for file in index.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    moved = open_index(tmp_path, "train")
    moved.shard_path(1).unlink()
    loader = make(moved)
    with pytest.raises(MachineError, match=rf"{moved.shard_path(1).name}: sample .*No such file") as error:
        digests(loader.batches(0))
    assert "medtrain resume" in error.value.fix
    loader.close()


def test_a_fault_in_a_later_piece_names_its_sample(
    tmp_path: Path, index: ShardIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medtrain.loading.pool.MIN_CHUNK", 10)
    for file in index.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damaged = open_index(tmp_path, "train")
    row = damaged.samples[75]
    with damaged.shard_path(row["shard"]).open("r+b") as file:
        file.seek(int(row["offset"]) + 9)
        file.write(b"\0\0\0")
    loader = make(damaged)
    with pytest.raises(InputError, match=row["key"].decode()):
        digests(loader.every_sample(80))
    loader.close()


def test_a_fault_survives_the_way_between_processes() -> None:
    fault = pickle.loads(pickle.dumps(Fault(3, "damaged JPEG", filesystem=True)))
    assert (fault.position, fault.reason, fault.filesystem) == (3, "damaged JPEG", True)


def test_closing_in_the_middle_and_twice(index: ShardIndex) -> None:
    loader = make(index)
    next(loader.batches(0))
    loader.close()
    loader.close()
    assert workers_of(os.getpid()) == []
