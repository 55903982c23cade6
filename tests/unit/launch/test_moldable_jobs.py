"""What a job with a range of nodes is given, avoids and is followed by; real ones are in tests/slurm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from broken_machine import program
from command import medtrain
from slurm_answers import Answers

from medtrain.checkpoints import replay_plan
from medtrain.config import configfile
from medtrain.config.schema import Config, SlurmConfig
from medtrain.datasets.sources import mura_demo
from medtrain.launch import spare_nodes, start_estimate, successor
from medtrain.launch.rank_processes import Srun
from medtrain.runs.run import Run
from medtrain.slurm import queries, sbatch
from medtrain.slurm.queue_times import Wait

RANGE = SlurmConfig(nodes=4, min_nodes=1, tasks_per_node=2, cpus_per_task=3, partition="gpu")
one_version = pytest.mark.parametrize("version", ["22.05"], indirect=True)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "runs", "first")
    configfile.save(Config(determinism="exact", slurm=RANGE), run.config_file)
    return run


@one_version
def test_the_ranks_start_on_all_nodes_that_the_job_has_now(
    answers: Answers, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job has one task a node, with the cores of both ranks."""
    (answers.folder / "node.txt").write_text("".join(f"NodeName=n{i} State=MIXED X=1\n" for i in (1, 2, 3)))
    program(answers.folder, "srun", 'echo "$* cores $SRUN_CPUS_PER_TASK ${SLURM_CPUS_PER_TASK-none}" >srun.words')
    for name, value in {"NTASKS": "3", "JOB_NUM_NODES": "3", "CPUS_PER_TASK": "6", "JOB_ID": "7"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    monkeypatch.chdir(tmp_path)
    ranks = Srun(tmp_path / "log", ["true"])
    spare_nodes.choose(run, ranks, RANGE)
    assert ranks.count == 6
    ranks.start_and_wait({})
    words = (tmp_path / "srun.words").read_text()
    assert words.startswith("--nodes=3 --ntasks=6 --nodelist=n1,n2,n3 ") and words.endswith("cores 3 none\n")


@one_version
def test_a_bad_node_is_avoided_where_the_fewest_nodes_are_left(answers: Answers) -> None:
    program(answers.folder, "sinfo", "echo 'n1|idle|(null)|(null)\nn2|idle|(null)|(null)'")
    assert queries.nodes_without("7", {"n2"}) == ("", "it needs 2 nodes, and of that kind only 1 would be left")
    assert queries.nodes_without("7", {"n2"}, fewest=1) == ("n2", "")


@one_version
def test_each_successor_asks_for_the_range(answers: Answers, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts: list[str] = []

    def send(made: Any, command: str, again: str) -> str:
        scripts.append(sbatch.script(made, command))
        return str(7 + len(scripts))

    monkeypatch.setattr("medtrain.slurm.sbatch.send", send)
    successor.send_chain(run, RANGE, "7", 2)
    assert run.successors() == ["8", "9"]
    for script, before in zip(scripts, "78", strict=True):
        assert "#SBATCH --nodes=1-4\n" in script and f"#SBATCH --dependency=afternotok:{before}\n" in script


def test_a_checkpoint_of_fewer_nodes_is_verified_on_as_many(run: Run) -> None:
    for ranks, nodes, each in ((6, 3, 2), (8, 4, 2), (3, 1, 3)):  # the last is of another number of tasks a node
        told = replay_plan.allocation(run, ranks)
        assert f"salloc --nodes={nodes} --ntasks-per-node={each} --cpus-per-task=3 --partition=gpu" in told


def test_past_waits_of_any_number_of_nodes_in_the_range_count() -> None:
    waits = [Wait(str(nodes), "gpu", nodes, 60.0 * nodes) for nodes in (1, 2, 4, 8)]
    assert start_estimate._alike(waits, "gpu", range(1, 5)) == (waits[:3], True)
    told = {"waited_s": start_estimate._spread([60.0, 120.0]), "partition": "gpu", "same_size": True,
            "nodes": 4, "min_nodes": 1}  # fmt: skip
    assert start_estimate._starts(told).endswith("as your 2 jobs of 1-4 nodes in partition gpu")


def test_only_the_trainings_of_a_pipeline_have_the_range(tmp_path: Path) -> None:
    mura_demo.download(tmp_path / "raw", samples=60)
    words = ["--root", tmp_path / "raw", "--shards", tmp_path / "shards", "--run", "bones", "--nodes", "1-4",
             "--tasks_per_node", "2", "--cpus_per_task", "3", "--determinism", "exact", "--dry-run"]  # fmt: skip
    scripts = medtrain("pipeline", "mura_demo", *words, cwd=tmp_path).stdout.split("#!/bin/bash")[1:]
    asked = {script.partition("--job-name=")[2].split()[0]: script for script in scripts}
    assert [name for name, script in asked.items() if "#SBATCH --nodes=1-4\n" in script] == ["bones-train"]
    assert "#SBATCH --cpus-per-task=6\n" in asked["bones-train"] and "#SBATCH --array=" in asked["bones-train"]
    assert all("#SBATCH --nodes=1\n" in script for name, script in asked.items() if name != "bones-train")
