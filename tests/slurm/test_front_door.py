"""run_hpc_training.sh on a cluster: packing and training submitted at once, each after what it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import NETWORK
from front_door import front_door
from limits import HANG_S
from places import REPOSITORY
from slurm_cluster import Cluster

from medtrain.datasets.sources import chest_demo, mura_demo

SMALL = (
    *NETWORK, "--weights", "", "--image_size", "32", "--batch_size", "8", "--epochs", "1",
    "--tracker", "none", "--workers", "1",
)  # fmt: skip


@pytest.fixture
def door(tmp_path: Path) -> Path:
    """The script in a folder of its own, with an environment that is set up already: this one."""
    folder = front_door(tmp_path / "checkout")
    (folder / ".venv/bin/python").symlink_to(sys.executable)
    medtrain = folder / ".venv/bin/medtrain"
    medtrain.write_text(f'#!/bin/sh\nexec {sys.executable} -m medtrain "$@"\n')
    medtrain.chmod(0o755)
    return folder


def call(door: Path, *words: object, env: dict[str, str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **env}
    command = [str(door / "run_hpc_training.sh"), *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=HANG_S, check=False, cwd=cwd or door
    )


def test_several_datasets_through_slurm(door: Path, cluster: Cluster, tmp_path: Path) -> None:
    for seed, name in enumerate(("nih", "chest_demo")):
        chest_demo.download(tmp_path / "raw" / name, samples=60, seed=seed)
    words = ("--root", tmp_path / "raw", "--datasets", "nih", "chest_demo", "--size", "64", "--encoding", "jpeg")
    # Packing that is done before the training is sent would be nothing to wait for.
    busy = f"#!/bin/bash\nuntil [ -e {door}/runs/first/slurm/job.json ]; do sleep 0.2; done\n"
    cluster.wait(cluster.sbatch("--partition=high", "--nodes=2", "--exclusive", script=busy), "RUNNING")
    done = call(door, "chest", *words, "--tasks", "2", "--run", "first", *SMALL, env=cluster.env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "images      not looked for" in done.stdout  # the check of nih on the login node
    assert "nih is packed by Slurm jobs" in done.stdout
    report = json.loads((door / "runs/first/evaluation/test.json").read_text())
    assert set(report["per_dataset"]) == {"nih", "chest_demo"}
    manifest = json.loads((door / "shards/nih/manifest.json").read_text())
    assert (manifest["encoding"], manifest["options"]["size"]) == ("jpeg", 64)
    scripts = [path.read_text() for path in (door / "runs/first/slurm").glob("*.sh")]
    assert any("#SBATCH --dependency=afterok:" in script for script in scripts)
    again = call(door, "chest", *words, "--run", "second", *SMALL, env=cluster.env)  # packed already
    assert again.returncode == 0, again.stdout + again.stderr
    assert "no fault (level quick)" in again.stdout


def test_a_model_for_each_study_type_is_a_chain(door: Path, cluster: Cluster, tmp_path: Path) -> None:
    """The recipe of another name is of the same dataset; its flags may have dashes."""
    urgent = cluster.sbatch("--partition=high", "--nodes=2", "--exclusive", script="#!/bin/bash\nsleep 600\n")
    cluster.wait(urgent, "RUNNING")
    mura_demo.download(tmp_path / "drawn", samples=60)
    (tmp_path / "drawn" / "MURA-v1.1").rename(tmp_path / "MURA-v1.1")
    words = ("--root", tmp_path / "MURA-v1.1", "--study-type", "all", "--tasks", "3", "--pack_partition", "low")
    done = call(door, "mura_baseline", *words, "--run", "bones", "--weights", "", "--max_rejects", "5", env=cluster.env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "└ evaluate" in done.stdout and "follow it: medtrain status bones" in done.stdout
    request = json.loads((door / "shards" / "mura" / "request.json").read_text())
    assert (request["tasks"], request["request"]["max_rejects"]) == (3, 5)
    refused = call(door, "mura", *words, "--partial", env=cluster.env)
    assert "the chain packs the whole dataset" in refused.stderr


def test_here_without_slurm(door: Path, tmp_path: Path) -> None:
    chest_demo.download(tmp_path / "mine", samples=60)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.yaml").write_text("seed: 7\n")
    paths = ("--root", "../mine", "--runs", "my/runs", "--weights_dir", "models", "-c", "mine.yaml", "--share", "group")
    done = call(door, "chest", *paths, "--datasets", "nih", "--here", "--run", "first", *SMALL, env={}, cwd=elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "records     60" in done.stdout
    assert (elsewhere / "my/runs/first/evaluation/test.json").exists() and (elsewhere / "models/first").is_dir()
    assert "\nseed: 7\n" in (elsewhere / "my/runs/first/config.yaml").read_text()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["mine.yaml", "models", "my"]
    assert not (door / "runs").exists() and (door / "shards/nih/manifest.json").stat().st_mode & 0o777 == 0o640


def test_a_table_of_ones_own(door: Path, tmp_path: Path) -> None:
    chest_demo.download(tmp_path / "raw" / "nih", samples=60)
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    table = tmp_path / "mine.csv"
    subprocess.run(
        [door / ".venv/bin/medtrain", "data", "metadata", "--root", tmp_path / "raw", "--out", table],
        check=True, env=env, capture_output=True,
    )  # fmt: skip
    done = call(door, "chest", "--metadata", table, "--here", "--run", "first", *SMALL, env={})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "records     60" in done.stdout
    assert (door / "shards/metadata/manifest.json").exists()
    assert (door / "runs/first/evaluation/test.json").exists()


def test_refusals(door: Path) -> None:
    for words, problem, fix in (
        (("chest", "--root", "/data"), "chest trains on several datasets", "--datasets nih chexpert"),
        (("mednist",), "shards/mednist holds no packed dataset", "mednist --root DIR"),
        (("demo", "--weights", "no.pt"), f"{door}/no.pt: there is no such file of weights", "--weights FILE.safe"),
        (("demo", "-c", "no.yaml"), f"{door}/no.yaml: there is no such file of settings", "give -c FILE.yaml"),
        (("nosuch", "--root", "/"), "there is no dataset 'nosuch'", "medtrain data list"),
    ):
        done = call(door, *words, "--here", env={})
        assert done.returncode != 0
        assert problem in done.stderr, done.stderr
        assert fix in done.stderr
    assert not (door / "data").exists(), "all of it is told before anything is drawn or packed"
