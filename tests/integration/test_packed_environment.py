"""`medtrain env pack` with real tools: one file, mounted where ranks start, gone behind the last, however it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
import torch
from command import medtrain
from limits import HANG_S
from places import REPOSITORY
from short_training import arguments
from squashfs_there import MISSING, REASON

from medtrain.launch.environment_mount import archive_code, mounted

pytestmark = pytest.mark.skipif(bool(MISSING), reason=REASON)
SAY = "import sys, of_a_checkout, packed_one; print(sys.prefix, packed_one.__file__, flush=True); "


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed environment with one package of its own and one of a checkout."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", symlinks=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    for place in (packages / "packed_one", folder / "checkout" / "of_a_checkout"):
        place.mkdir(parents=True)
        (place / "__init__.py").touch()
    (folder / "checkout" / "data").write_text("not of the package")
    (packages / "editable.pth").write_text(f"{folder / 'checkout'}\n")
    made = medtrain("env", "pack", folder / "env.squashfs", "--python", folder / "venv" / "bin" / "python", "--json")
    told = json.loads(made.stdout)
    assert told["bytes"] == Path(told["file"]).stat().st_size and told["files"] > 500
    shutil.rmtree(folder / "venv")
    shutil.rmtree(folder / "checkout")
    return Path(told["file"])


def start(image: Path, scratch: Path, code: str, words: list[str] | None = None, **more: str) -> subprocess.Popen[str]:
    """What a rank would be, with a program in its place."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "PYTHON"))}
    command = words or mounted(str(image), [sys.executable, "-c", code])
    env = {**kept, "TMPDIR": str(scratch), **more}
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def mounts(scratch: Path) -> list[str]:
    """The mount points in a folder."""
    return [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if str(scratch) in line]


def until_gone(scratch: Path) -> None:
    """Wait for the process in the background that unmounts."""
    deadline = time.monotonic() + HANG_S
    while mounts(scratch):
        assert time.monotonic() < deadline, f"{mounts(scratch)} is still mounted"
        time.sleep(0.02)


def test_ranks_share_a_mount_that_goes_with_the_last(image: Path, tmp_path: Path) -> None:
    words = mounted(str(image), [sys.executable, "-c", SAY + "sys.stdin.read()"])
    ranks = [start(image, tmp_path, "", words) for _ in range(3)]
    said = [rank.stdout.readline().split() for rank in ranks if rank.stdout]
    (place,) = mounts(tmp_path)
    assert {tuple(line) for line in said} == {
        (
            place,
            f"{place}/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages/packed_one/__init__.py",
        )
    }
    ranks[0].kill()
    ranks[1].communicate()
    assert ranks[2].poll() is None and mounts(tmp_path) == [place], "one still runs from it"
    ranks[2].kill()
    until_gone(tmp_path)
    for rank in ranks:
        rank.communicate()


@pytest.mark.parametrize(("ends", "code"), [("sys.exit(75)", 75), ("import os; os.kill(os.getpid(), 9)", -9)])
def test_in_a_step_the_first_rank_unmounts_before_it_ends(image: Path, tmp_path: Path, ends: str, code: int) -> None:
    """What is left in the background would be killed with the step."""
    rank = start(image, tmp_path, SAY + ends, SLURM_LOCALID="0")
    rank.communicate()
    assert rank.returncode == code and not mounts(tmp_path)


def test_a_signal_is_for_the_rank(image: Path, tmp_path: Path) -> None:
    """Slurm sends it to each process of the step: the shell waits for what the rank makes of it, and what the rank
    imports while it saves is still there."""
    code = """if True:
        import signal, sys
        def save(*_):
            import packed_one
            sys.exit(75)
        signal.signal(15, save), print(1, flush=True), signal.pause()"""
    rank = start(image, tmp_path, code, SLURM_LOCALID="0")
    assert rank.stdout and rank.stdout.readline()
    (child,) = Path(f"/proc/{rank.pid}/task/{rank.pid}/children").read_text().split()
    fuse = squashfuse(tmp_path, rank.pid, int(child))
    for process in (fuse, rank.pid, int(child)):
        for number in (signal.SIGUSR1, signal.SIGTERM) if process == fuse else (signal.SIGTERM,):
            os.kill(process, number)
    rank.communicate()
    assert rank.returncode == 75 and not mounts(tmp_path)


def runs_from(command_line: Path, scratch: Path) -> bool:
    """Whether a process has a file of this folder in its command line."""
    try:
        return str(scratch).encode() in command_line.read_bytes()
    except OSError:  # it has ended meanwhile
        return False


@pytest.mark.parametrize("whole", [False, True])
def test_what_a_killed_step_left_is_removed_by_the_next(image: Path, tmp_path: Path, whole: bool) -> None:
    """By another job's, and where squashfuse was killed too, and its mount answers no more, by the same job's."""
    words = mounted(str(image), [sys.executable, "-c", SAY + "sys.stdin.read()"])
    rank = start(image, tmp_path, "", words, SLURM_LOCALID="0")
    assert rank.stdout and rank.stdout.readline()
    (old,) = mounts(tmp_path)
    (child,) = Path(f"/proc/{rank.pid}/task/{rank.pid}/children").read_text().split()
    rank.kill()
    for process in (int(child), *([squashfuse(tmp_path, rank.pid, int(child))] if whole else [])):
        os.kill(process, signal.SIGKILL)
    rank.communicate()
    assert mounts(tmp_path) == [old]
    after = start(image, tmp_path, SAY, words if whole else None, SLURM_LOCALID="0")
    assert after.communicate()[0].startswith(old) == whole and after.returncode == 0
    assert not mounts(tmp_path)
    left = [path.name for path in tmp_path.glob("medtrain-*/*") if path.name.startswith(Path(old).name)]
    assert whole or not left


def squashfuse(scratch: Path, *others: int) -> int:
    """The process that serves what is mounted in this folder."""
    found = (int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if runs_from(path, scratch))
    (process,) = set(found) - set(others)
    return process


def test_what_was_not_compiled_is_in_the_image(image: Path, tmp_path: Path) -> None:
    """uv compiles nothing, and each rank would. A source that lies in the image is never newer (PEP 552)."""
    code = "import packed_one, sys; sys.stdout.buffer.write(open(packed_one.__cached__, 'rb').read(8)[4:])"
    assert start(image, tmp_path, code).communicate()[0].encode() == b"\1\0\0\0"
    until_gone(tmp_path)


def test_the_runs_own_code_is_unpacked_on_the_node(image: Path, tmp_path: Path) -> None:
    """Ranks look for hundreds of files in it. What somebody edited counts, and what is no copy of a run has no file."""
    copy, scratch = tmp_path / "code", tmp_path / "scratch"
    scratch.mkdir()
    (copy / "medtrain").mkdir(parents=True)
    source, packed = copy / "medtrain" / "__init__.py", copy / "medtrain.tar"
    source.write_text("own = __file__, 'old'\n")
    archive_code(copy)
    assert not packed.exists()
    (copy / "manifest.json").write_text("{}")
    archive_code(copy)
    made = packed.stat().st_ino
    archive_code(copy)
    assert packed.stat().st_ino == made, "one file for all attempts"
    source.write_text("own = __file__, 'new'\n")
    os.utime(source, (1, 1))
    archive_code(copy)
    code = "import sys; sys.path.insert(0, sys.argv[1]); import medtrain; print(*medtrain.own, medtrain.__cached__)"
    words = mounted(str(image), [sys.executable, "-c", code, str(copy)])
    half = scratch / f"medtrain-{os.getuid()}" / f"{words[5]}.code" / ".new" / "medtrain"
    half.mkdir(parents=True)  # as of a rank that was killed meanwhile
    half.parents[2].chmod(0o700)
    told = start(image, scratch, "", words, SLURM_LOCALID="0", PYTHONDONTWRITEBYTECODE="1").communicate()[0].split()
    own, version, cached = told
    assert version == "new"
    assert all(path.startswith(f"{scratch}/medtrain-") and ".code/medtrain/" in path for path in (own, cached))
    assert not mounts(scratch) and not list(scratch.glob("medtrain-*/*.code"))
    packed.write_bytes(packed.read_bytes()[:3000])
    archive_code(copy)
    assert packed.stat().st_size > 3000, "what is not whole is written anew"


def test_a_run_here_and_what_is_asked_of_it(image: Path, tmp_path: Path, demo_shards: Path) -> None:
    """Two ranks from one mount, without Slurm: the run is as any other to status, verify and resume."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    packages = str(Path(torch.__file__).parents[1])  # too large to be packed in a test
    env = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": f"{REPOSITORY}:{packages}", "OMP_NUM_THREADS": "1"}
    here = {"env": env, "cwd": tmp_path}
    words = arguments(demo_shards, tmp_path / "runs", "packed", "--tasks_per_node", "2", "--epochs", "1")
    medtrain(*words, "--packed_environment", image, **here)
    run = tmp_path / "runs" / "packed"
    until_gone(scratch)
    assert (run / "code" / "medtrain.tar").exists()
    assert json.loads(medtrain("status", "packed", "--json", **here).stdout)[0]["state"] == "finished"
    proof = json.loads(medtrain("verify", "packed", "--json", **here).stdout)
    assert proof["replay"]["same"], proof
    until_gone(scratch)
    source = run / "code" / "medtrain" / "launch" / "rank_main.py"
    source.write_text(source.read_text() + "raise SystemExit('edited')\n")
    told = medtrain("resume", "packed", "--epochs", "2", check=False, **here)
    assert (
        told.returncode == 2 and "the run's copy of medtrain was changed (medtrain/launch/rank_main.py)" in told.stderr
    )
    medtrain("resume", "packed", "--update-code", **here)
    contained = ("--epochs", "2", "--packed_environment", "", "--container", image)
    refused = medtrain("resume", "packed", *contained, check=False, **here)
    assert refused.returncode == 2 and "containers are for ranks that srun starts" in refused.stderr
