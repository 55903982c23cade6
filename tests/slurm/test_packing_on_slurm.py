"""Packing by Slurm: the bytes of a packing here, whatever is cancelled on the way, and a training that waits for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_user import User, wait_for
from command import NETWORK
from own_images import class_tree, table_of
from slurm_cluster import Cluster

from medtrain.datasets.sources import chest_demo
from medtrain.shards.verify import verify_shards

SMALL = (
    *NETWORK, "--epochs", "1", "--image_size", "32", "--tracker", "none", "--workers", "1", "--schedule", "constant",
)  # fmt: skip


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packing") / "raw"
    chest_demo.download(folder, samples=120)
    return folder


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path) -> User:
    return User(cluster, tmp_path, tmp_path / "shards")


def shard(user: User, raw: Path, out: str, *options: str) -> dict[str, object]:
    words = ("--root", raw, "--out", user.folder / out, "--shard_mb", "0.5", *options, "--json")
    return dict(json.loads(user.medtrain("shard", "chest_demo", *words)))


def packed(folder: Path) -> dict[str, bytes]:
    names = ("*.tar", "*.idx", "manifest.json", "rejects.jsonl")
    return {path.name: path.read_bytes() for name in names for path in sorted(folder.glob(name))}


@pytest.mark.parametrize("encoding", [(), ("--encoding", "jpeg", "--size", "64", "--views", "frontal")])
def test_the_bytes_are_those_of_a_packing_here(user: User, raw: Path, encoding: tuple[str, ...]) -> None:
    """So is the table that names the files, which no shard and no log has."""
    shard(user, raw, "here", *encoding, "--keep_names")
    names = ("--keep_names", "--slurm", "--tasks", "3")
    _, _, last = shard(user, raw, "there", *encoding, *names)["jobs"]  # type: ignore[misc]
    user.cluster.wait(last, "COMPLETED")
    found = packed(user.folder / "there")
    assert len([name for name in found if name.endswith(".tar")]) >= 3
    assert found == packed(user.folder / "here")
    assert not verify_shards(user.folder / "there", "decode", 1)
    assert not (user.folder / "there" / "contents").exists()
    here, there = (user.folder / f"{name}.names.csv" for name in ("here", "there"))
    assert there.read_bytes() == here.read_bytes() and there.stat().st_mode & 0o777 == 0o600
    file = there.read_text().splitlines()[1].partition(",")[2]
    assert all(file not in log.read_text() for log in (user.folder / "there" / "slurm").glob("*.log"))


DATASET_FILE = """
from medtrain.datasets.layouts import class_folders

TITLE, LICENCE, ACCESS = "Pets.", "Our own.", "ask us"
CLASSES, TASK, IMAGES = ("cat", "dog"), "multiclass", 0


def records(root):
    return class_folders("pets", root, CLASSES, "photos", ACCESS)
"""


def test_data_of_one_s_own_by_the_copy_of_its_dataset_file(user: User) -> None:
    """A table whose paths are relative to it; a dataset file that its author breaks while the jobs wait."""
    photos = class_tree(user.folder / "photos", each=12)
    lines = [f"{path.relative_to(user.folder)},{path.parent.name}" for path in sorted(photos.glob("*/*.jpg"))]
    table_of(user.folder / "t.csv", "file,kind", *lines)
    plugin = user.folder / "pets.py"
    plugin.write_text(DATASET_FILE)
    kinds = {
        "csv": ("--table", user.folder / "t.csv", "--image", "file", "--labels", "kind"),
        "pets": ("--root", photos, "--plugin", plugin),
    }
    for dataset, words in kinds.items():
        user.medtrain("shard", dataset, *words, "--out", user.folder / f"{dataset}-here")
        there = ("--out", user.folder / f"{dataset}-there", "--slurm", "--tasks", "2", "--json")
        last = json.loads(user.medtrain("shard", dataset, *words, *there))["jobs"][-1]
        plugin.write_text("broken(" if dataset == "pets" else DATASET_FILE)
        user.cluster.wait(last, "COMPLETED")
        assert packed(user.folder / f"{dataset}-there") == packed(user.folder / f"{dataset}-here")


def test_a_cancelled_task_ends_it_and_the_same_command_goes_on(user: User, raw: Path) -> None:
    """Nothing is left in the queue, and nothing that was packed is packed again."""
    urgent = user.cluster.sbatch("--partition=high", "--nodes=2", "--exclusive", script="#!/bin/bash\nsleep 600\n")
    user.cluster.wait(urgent, "RUNNING")
    read, _, last = shard(user, raw, "out", "--slurm", "--tasks", "2", "--partition", "low")["jobs"]  # type: ignore[misc]
    user.cluster.run("scancel", f"{read}_1")
    user.cluster.run("scancel", urgent)
    user.cluster.wait(last, "CANCELLED")
    assert not list((user.folder / "out").glob("*.tar"))
    assert list((user.folder / "out" / "contents").glob("*.npy"))  # what the other task has read
    again = shard(user, raw, "out", "--slurm", "--tasks", "5")["jobs"]
    user.cluster.wait(again[-1], "COMPLETED")  # type: ignore[index]
    shard(user, raw, "here")
    assert packed(user.folder / "out") == packed(user.folder / "here")


def test_of_an_array_one_task_is_cancelled_alone(user: User, raw: Path, slow_to_start: Path) -> None:
    """The last task has the number of the whole array, and a signal ends each before it listens."""
    read, _, last = shard(user, raw, "out", "--slurm", "--tasks", "2", "--partition", "low")["jobs"]  # type: ignore[misc]
    for task in (f"{read}_0", f"{read}_1"):
        user.cluster.wait(task, "RUNNING")
    wait_for(slow_to_start)
    user.cluster.run("scancel", f"{read}_1")
    user.cluster.wait(last, "CANCELLED")
    user.cluster.wait(f"{read}_0", "COMPLETED")
    ends = [user.cluster.job(task) for task in (f"{read}_0", f"{read}_1")]
    assert [(end["JobState"], end["Restarts"]) for end in ends] == [("COMPLETED", "0"), ("CANCELLED", "0")]


def test_a_training_waits_for_it(user: User, raw: Path) -> None:
    urgent = ("--partition=high", "--nodes=2", "--exclusive", "--wrap", "sleep 600")
    others = user.cluster.sbatch(*urgent)  # or a busy machine has packed before the training is sent
    user.cluster.wait(others, "RUNNING")
    last = shard(user, raw, "out", "--slurm", "--tasks", "2")["jobs"][-1]  # type: ignore[index]
    words = ("--shards", user.folder / "out", "--run", "first", "--dependency", last, *SMALL)
    job = json.loads(user.medtrain("submit", "chest_demo", *words, "--json"))["job"]
    assert user.cluster.job(job)["Dependency"].startswith(f"afterok:{last}")
    user.cluster.run("scancel", others)
    user.until("first", "finished", lambda s: s["state"] == "finished" and s["where"] is None)
    report = json.loads((user.run("first") / "evaluation" / "test.json").read_text())
    assert report["samples"] > 0
    user.medtrain("resume", "first", "--epochs", "2")  # whatever it once waited for is long gone
    user.until("first", "finished again", lambda s: s["epoch"] == 2 and s["state"] == "finished" and s["where"] is None)


def test_what_shows_late_is_said_in_the_log(user: User, raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    for path in sorted((tmp_path / "raw" / "images").iterdir())[:20]:
        path.write_bytes(b"no image")
    _, _, last = shard(user, tmp_path / "raw", "out", "--slurm", "--max_rejects", "5")["jobs"]  # type: ignore[misc]
    user.cluster.wait(last, "FAILED")
    logs = "".join(path.read_text() for path in (user.folder / "out" / "slurm").glob("*.log"))
    assert "20 images cannot be used" in logs


def test_one_packing_at_a_time(user: User, raw: Path) -> None:
    urgent = user.cluster.sbatch("--partition=high", "--nodes=2", "--exclusive", script="#!/bin/bash\nsleep 600\n")
    user.cluster.wait(urgent, "RUNNING")
    jobs = shard(user, raw, "out", "--slurm", "--partition", "low", "--tasks", "1")["jobs"]
    command = [sys.executable, "-m", "medtrain", "shard", "chest_demo", "--root", raw, "--out", user.folder / "out"]
    done = subprocess.run(
        [*map(str, command), "--slurm", "--tasks", "2"], capture_output=True, text=True, env=user.env, check=False
    )
    assert done.returncode == 2
    assert f"is packed by job {jobs[0]} already (pending)" in done.stderr  # type: ignore[index]
    user.cluster.run("scancel", urgent, *jobs)  # type: ignore[misc]


def test_refusals(user: User, raw: Path) -> None:
    command = [sys.executable, "-m", "medtrain", "shard", "chest_demo", "--root", str(raw), "--slurm"]
    for words, problem in (
        (["--partition", "nowhere"], "Slurm did not take the job"),
        (["--tasks", "0"], "tasks is 0"),
        (["--cluster", "nowhere"], "there is no cluster file"),
        (["--size", "64"], "size needs an encoding"),
        (["--root", "/nowhere"], "/nowhere holds no generated chest X-rays"),
    ):
        done = subprocess.run(
            [*command, *words], capture_output=True, text=True, cwd=user.folder, env=user.env, check=False
        )
        assert done.returncode in (1, 2)
        assert problem in done.stderr
