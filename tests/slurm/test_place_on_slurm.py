"""Each rank takes the GPU that Slurm gave it, and all meet at an address, for every way of asking."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import SMALL, medtrain
from slurm_cluster import Cluster
from slurm_there import MISSING, REASON

# What a rank does before it imports torch, and what torch would then choose from.
RANK = """
import os
from medtrain.core.errors import MachineError
from medtrain.distributed.rank_environment import gpu_index, set_rank_environment
try:
    set_rank_environment()
except MachineError as error:
    raise SystemExit("refused: " + error.problem)
shown = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
said = ["rank", os.environ["RANK"], os.environ["SLURMD_NODENAME"], shown[gpu_index(len(shown))]]
os.write(1, " ".join([*said, os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"], "\\n"]).encode())
"""
BATCH = """
import sys
from pathlib import Path
from medtrain.launch.rank_processes import Srun
sys.exit(Srun(Path(sys.argv[1]), [sys.executable, "-c", Path(sys.argv[2]).read_text()]).start_and_wait({}))
"""


@pytest.fixture(scope="module")
def gpus() -> Iterator[Cluster]:
    """Two nodes of four GPUs, of which another job has the first."""
    if MISSING:
        pytest.skip(REASON)
    with Cluster(nodes=2, cpus=8, gpus_per_node=4) as cluster:
        cluster.wait(cluster.sbatch("--nodes=2", "--gpus-per-node=1", "--wrap", "sleep 600"), "RUNNING")
        yield cluster


def ranks(cluster: Cluster, folder: Path, *options: str) -> tuple[list[tuple[str, ...]], str]:
    """Start ranks as the supervisor does; returns their (rank, node, GPU, address, port), and all that was printed."""
    (folder / "rank.py").write_text(RANK)
    (folder / "batch.py").write_text(BATCH)
    log = folder / "ranks.log"
    log.unlink(missing_ok=True)
    script = f"#!/bin/bash\n{sys.executable} {folder}/batch.py {log} {folder}/rank.py\n"
    job = cluster.sbatch("--nodes=2", "--ntasks-per-node=2", *options, script=script)
    cluster.wait(job, {"COMPLETED", "FAILED"})
    text = log.read_text()
    return sorted(re.findall(r"rank (\d) (\S+) (\d) (\S+) (\d+) $", text, re.MULTILINE)), text


WAYS = [
    "--gpus-per-node=2",
    "--gres=gpu:2",
    "--gpus-per-task=1",
    "--gpus=4 --gpus-per-node=2",
    "--gpus-per-node=2 --gpu-bind=none",
    "--gpus-per-node=2 --gpu-bind=single:1",
    "--gpus-per-node=2 --gpu-bind=map_gpu:1,2",
    "--gpus-per-node=2 --gpu-bind=closest",
    "--gpus-per-node=3",
    "--gpus-per-node=2 --export=NONE",
]


@pytest.mark.parametrize("way", WAYS)
def test_no_two_ranks_and_no_other_job_on_a_gpu(gpus: Cluster, tmp_path: Path, way: str) -> None:
    found, text = ranks(gpus, tmp_path, *way.split())
    nodes = {rank: (node, gpu) for rank, node, gpu, _, _ in found}
    assert sorted(nodes) == ["0", "1", "2", "3"], text
    assert len(set(nodes.values())) == 4, f"two ranks on one GPU: {nodes}"
    assert all(gpu in ("1", "2", "3") for _, gpu in nodes.values()), f"GPU 0 is another job's: {nodes}"
    (address,) = {where for *_, where, _ in found}
    assert ipaddress.ip_address(address), "an address, not a name"
    assert len({port for *_, port in found}) == 1


def test_fewer_gpus_than_ranks_are_refused_with_the_node(gpus: Cluster, tmp_path: Path) -> None:
    found, text = ranks(gpus, tmp_path, "--gpus-per-node=1")
    assert "3" not in {rank for rank, *_ in found}
    assert re.search(r"refused: 127\.0\.0\.[12]: Slurm gave it 1 GPU, and rank [13] is the 2\. rank there", text)


def test_the_shell_of_salloc_on_a_node_is_a_job_and_not_a_task(gpus: Cluster) -> None:
    ask = "from medtrain.slurm.environment import in_slurm_job; print(in_slurm_job())"
    step = ["srun", "--interactive", "--nodes=1", "--ntasks=1", sys.executable, "-c", ask]
    shell = gpus.run("salloc", "--nodes=2", "--ntasks-per-node=2", *step)
    assert shell.stdout.strip() == "True", shell.stderr
    task = gpus.run("srun", sys.executable, "-c", ask)
    assert task.stdout.strip() == "False", task.stderr


def test_training_under_ones_own_srun_is_refused_with_the_node(gpus: Cluster, tmp_path: Path) -> None:
    train = [sys.executable, "-m", "medtrain", "train", "mednist", "--runs", tmp_path, "--run", "first"]
    done = gpus.run("srun", "--ntasks=2", "--nodes=2", *map(str, train))
    assert "127.0.0.2: srun started medtrain 2 times, and each of them would train alone" in done.stderr
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


def test_typed_gpus_by_a_variable_of_sbatch(gpus: Cluster, demo_shards: Path, tmp_path: Path) -> None:
    """As the page on Slurm says (docs/operations/slurm.md)."""
    words = ("--shards", demo_shards, "--runs", tmp_path, "--run", "typed", "--tasks_per_node", "2", "--json", *SMALL)
    env = {**os.environ, **gpus.env, "SBATCH_GRES": "gpu:fake:2"}
    job = json.loads(medtrain("submit", "demo", *words, env=env).stdout)["job"]
    assert "TresPerNode=gres:gpu:fake:2" in gpus.run("scontrol", "show", "job", job).stdout
    gpus.run("scancel", job)
