"""Options of sbatch beside the settings: read, merged by name, counted, and refused where they contradict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from command import medtrain

from medtrain.cli.flags import parse_settings
from medtrain.config import configfile
from medtrain.config.sbatch_options import gpu_type, gpus_per_node, one_process, ranks_per_node, without_once
from medtrain.config.schema import Config, SlurmConfig
from medtrain.core.errors import InputError


def read(*words: str) -> SlurmConfig:
    return parse_settings("submit", ["demo", *words])[0].slurm


@pytest.fixture
def site(tmp_path: Path) -> str:
    """A cluster file with a typed request and options."""
    path = tmp_path / "site.yaml"
    path.write_text("gpus_per_node: a100:4\nmem_gb: 64\nsbatch: [--reservation=deep, --nice=5]\n")
    return str(path)


@pytest.mark.parametrize(
    ("words", "ranks", "gpus", "kind"),
    [
        ("", 1, 0, ""),
        ("--gpus_per_node 4", 4, 4, ""),
        ("--gpus_per_node a100:4", 4, 4, "a100"),
        ("--gpus-per-node=a100:4 --tasks_per_node 2", 2, 4, "a100"),
        ("--gpus-per-node gpu:a100:4", 4, 4, "a100"),
        ("--gres gpu:a100:4", 4, 4, "a100"),
        ("--gres=gpu:2,nvme:1", 2, 2, ""),
        ("--gres gpu", 1, 1, ""),
        ("--gres nvme:1 --gpus_per_node 2", 2, 2, ""),
        ("--gpus h100:8 --nodes 2", 4, 4, "h100"),
        ("--gpus_per_task 1 --tasks_per_node 4", 4, 4, ""),
        ("--gpus_per_task a100:2", 1, 2, "a100"),
        ("--tres_per_task cpu=4,gres/gpu:a100=1 --tasks_per_node 2", 2, 2, "a100"),
        ("--tres-per-task=cpu=4,gres/gpu=1 --tasks_per_node 2", 2, 2, ""),
        ("--gpus-per-socket 2 --tasks_per_node 4", 4, 0, ""),
    ],
)
def test_ranks_and_gpus_of_a_node(words: str, ranks: int, gpus: int, kind: str) -> None:
    slurm = read(*words.split())
    assert (ranks_per_node(slurm), gpus_per_node(slurm), gpu_type(slurm)) == (ranks, gpus, kind)


def test_flags_win_over_the_file_of_a_cluster(site: str) -> None:
    asked = read("--cluster", site)
    assert (asked.gpu_type, asked.gpus_per_node, asked.sbatch) == ("a100", 4, ("--reservation=deep", "--nice=5"))
    fewer = read("--cluster", site, "--gpus_per_node", "2", "--nice=7", "--exclusive")
    assert (fewer.gpu_type, fewer.gpus_per_node) == ("a100", 2)
    assert fewer.sbatch == ("--reservation=deep", "--nice=7", "--exclusive")
    assert read("--cluster", site, "--reservation=").sbatch == ("--nice=5",), "an empty value takes an option away"


def test_another_way_to_ask_for_the_same_takes_the_place_of_the_files(site: str, tmp_path: Path) -> None:
    other = read("--cluster", site, "--gres", "gpu:h100:2", "--mem-per-cpu", "4G")
    assert (other.gpu_type, other.gpus_per_node, other.mem_gb) == ("", 0, 0)
    assert (gpu_type(other), ranks_per_node(other)) == ("h100", 2)
    by_gres = tmp_path / "gres.yaml"
    by_gres.write_text("sbatch: ['--gres=gpu:2', --mem-per-cpu=4G, --hint=nomultithread]\n")
    back = read("--cluster", str(by_gres), "--gpus_per_node", "1", "--mem_gb", "8")
    assert (back.gpus_per_node, back.mem_gb, back.sbatch) == (1, 8, ("--hint=nomultithread",))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--gpus_per_node a100:4 --gres gpu:2", "--gpus_per_node 4 and --gres=gpu:2 ask for the same thing"),
        ("--gpus 4 --gpus_per_task 1", "--gpus=4 and --gpus-per-task=1 ask for the same thing"),
        ("--mem_gb 4 --mem-per-gpu 2G", "--mem_gb 4.0 and --mem-per-gpu=2G ask for the same thing"),
        ("--cpus_per_task 4 --cpus-per-gpu 2", "--cpus_per_task 4 and --cpus-per-gpu=2 ask for the same thing"),
        ("--sbatch=--partition=gpu", "sbatch --partition is the setting partition: give --partition"),
        ("--sbatch=--ntasks=4", "sbatch --ntasks is the setting tasks_per_node: give --tasks_per_node"),
        ("--sbatch=--job-name=x", "sbatch --job-name is the setting run: give --run"),
        ("--sbatch=--no-requeue", "sbatch --no-requeue: a run that is preempted goes back to the queue"),
        ("--sbatch=--output=x.log", "sbatch --output: the log is in the folder of the run"),
        ("--gpus 3 --nodes 2", "--gpus=3 for 2 nodes: give --gpus_per_node N, the same for each"),
        (
            "--gpus 4 --nodes 2 --spare_nodes 1",
            "--gpus=4 is of all nodes, and spare_nodes is 1: give --gpus_per_node N",
        ),
        ("--gpu_type a100", "gpu_type is a100: give --gpus_per_node"),
        ("--gpus-per-socket 1", "--gpus-per-socket: say how many ranks a node has: --tasks_per_node N"),
        ("--sbatch=gres=gpu:4", "'gres=gpu:4' is no option of sbatch: write --NAME=VALUE or --NAME"),
        ("--sbatch", "--sbatch needs a value"),
        ("--reservation", "--reservation needs a value"),
        ("--resarvation x", "does not know --resarvation (did you mean --reservation?)"),
    ],
)
def test_what_cannot_be_is_refused_with_both_names(words: str, said: str) -> None:
    done = medtrain("submit", "demo", "--shards", "none", *words.split(), "--dry-run", check=False)
    assert done.returncode == 2 and said in done.stderr, done.stderr


def test_a_file_says_what_is_wrong_in_it(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("sbatch: [reservation=deep, --qos=high]\ngpus_per_node: gpu:4\n")
    with pytest.raises(InputError, match="gpus_per_node is 'gpu:4': write a whole number, or TYPE:N"):
        configfile.with_cluster(Config(), str(path))
    path.write_text("sbatch: [reservation=deep, --qos=high]\n")
    with pytest.raises(InputError) as refused:
        configfile.check(configfile.with_cluster(Config(), str(path)), "site")
    assert "sbatch is 'reservation=deep': write --NAME=VALUE" in refused.value.problem
    assert "sbatch --qos is the setting qos: give --qos" in refused.value.problem


def test_a_saved_config_is_the_same_when_read_back(tmp_path: Path) -> None:
    config, _ = parse_settings("submit", ["demo", "--gres=gpu:a100:4", "--comment", "a 'word', and: more"])
    configfile.save(config, tmp_path / "config.yaml")
    assert configfile.load(tmp_path / "config.yaml") == config
    typed, _ = parse_settings("submit", ["demo", "--gpus_per_node", "a100:4"])
    configfile.save(typed, tmp_path / "config.yaml")
    assert configfile.load(tmp_path / "config.yaml") == typed


def test_a_job_of_one_process_has_neither_the_gpus_nor_the_nodes_of_a_run() -> None:
    asked = read(
        "--gres", "gpu:a100:4,nvme:1", "--exclusive", "--nodelist", "a,b", "--reservation", "deep", "--nodes", "2"
    )
    alone = one_process(asked)
    assert (alone.nodes, ranks_per_node(alone), gpus_per_node(alone)) == (1, 1, 0)
    assert alone.sbatch == ("--reservation=deep", "--gres=nvme:1")
    one = one_process(asked, gpu=True)
    assert (one.gpu_type, one.gpus_per_node, one.sbatch) == ("a100", 1, alone.sbatch)


def test_when_one_job_may_start_says_nothing_of_the_next() -> None:
    asked = read("--begin", "now+1hour", "--hold", "--reservation", "deep")
    assert without_once(asked).sbatch == ("--reservation=deep",)
    again = replace(asked, sbatch=("--begin=now+2hours", "--hold", "--reservation=deep"))
    assert without_once(again, asked).sbatch == ("--begin=now+2hours", "--reservation=deep"), "what is said anew stays"
