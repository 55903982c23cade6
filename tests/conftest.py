"""Small drawn datasets, packed once a session."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from places import SHARED

# At the import of one of these the process ends at once: no `except ImportError` can hide it.
FORBID = """\
import os, sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "torchvision", "accelerate", "timm"):
            os.write(2, f"{name} was imported\\n".encode())
            os._exit(99)
sys.meta_path.insert(0, Forbid())
"""

# Users have their modules compiled once; an image that does not would have each process of the tests do it again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.umask(0o077)  # as every process of medtrain has it
# Several processes train at once on few cores; more threads than cores would fight each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A script's background job has INT ignored, and so would have every program that the tests send one to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What takes longest, and mostly waits, first: no worker is left with it at the end.
ORDER = ("storm", "slurm/test_training", "slurm/test_status", "slurm/test_groups", "integration/test_export", "slurm",
         "integration", "unit")  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """The storm's length and draw, and other proofs that can be had longer, or take much memory."""
    parser.addoption("--faults", type=int, default=10, help="faults in the storm (default: 10; a long run: 100)")
    parser.addoption("--preemptions", type=int, default=3, help="of the storm of each other mode (long: 100)")
    parser.addoption("--storm-seed", type=int, default=1, help="which faults, in which order")
    parser.addoption("--kills", type=int, default=3, help="SIGKILLs of a training with W&B (default: 3; long: 20)")
    parser.addoption("--lives", action="store_true", help="every kind of a job's life with Slurm's accounting too")
    parser.addoption("--study-types", type=int, default=3, help="tasks of the array of trainings (default: 3; all: 7)")
    parser.addoption("--slow", action="store_true", help="also what costs minutes and is much like what runs anyway")
    parser.addoption("--large", action="store_true", help="also train ConvNeXt-Large, 196 million parameters")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort them by ORDER. Leave out what is slow, and say so."""
    items.sort(key=lambda item: place_of(item.path.relative_to(Path(__file__).parent).as_posix()))
    for item in items if not config.getoption("--slow") else ():
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: pytest --slow   (benchmarks/RESULTS.md has its result)"))


def place_of(file: str) -> int:
    """Where a file of tests stands in ORDER."""
    return next(number for number, begin in enumerate(ORDER) if file.startswith(begin))


@pytest.fixture(scope="session")
def demo_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 drawn images in six class folders."""
    from medtrain.datasets.sources import demo

    root = tmp_path_factory.mktemp("raw") / "demo"
    demo.download(root, samples=120)
    return root


@pytest.fixture(scope="session")
def demo_shards(demo_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, packed: 96 + 12 + 12 images."""
    from medtrain.datasets.sources import demo
    from medtrain.shards.pack import pack

    out = tmp_path_factory.mktemp("packed") / "demo"
    pack(demo.records(demo_tree), demo.CLASSES, out, workers=1)
    return out


@pytest.fixture(scope="session")
def no_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which importing torch ends the process with exit code 99."""
    folder = tmp_path_factory.mktemp("forbid")
    (folder / "sitecustomize.py").write_text(FORBID)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a filesystem of so many bytes; needs root."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"NOT TESTED: a full disk needs root to mount a small one ({done.stderr.strip()})")
        return disk

    yield mount
    subprocess.run(["umount", str(disk)], check=False)


@pytest.fixture(scope="session")
def openi_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real OpenI reports, unpacked."""
    root = tmp_path_factory.mktemp("openi")
    archive = SHARED / "openi" / "NLMCXR_reports.tgz"
    subprocess.run(["tar", "xzf", archive, "-C", root], check=True)
    return root
