"""config.moldable: `--nodes A-B` on the command line and in files, what it needs, and what it settles at submit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command import medtrain

from medtrain.cli.flags import parse_settings
from medtrain.config import configfile, moldable
from medtrain.config.node_range import nodes_range
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.slurm import sbatch

GOOD = "--nodes 2-4 --tasks_per_node 2 --cpus_per_task 3 --determinism exact --batch_size 8"


def read(words: str) -> Config:
    return parse_settings("submit", ["demo", *words.split()])[0]


@pytest.mark.parametrize(
    ("value", "span"), [("2-4", (2, 4)), ("4-4", (0, 4)), ("4", None), (4, None), ("0-4", None), ("2-", None)]
)
def test_a_range_is_written_as_for_sbatch(value: object, span: tuple[int, int] | None) -> None:
    assert nodes_range(value) == span


def test_a_file_has_a_range_too_and_a_number_replaces_it(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("nodes: 2-4\ncpus_per_task: 8\n")
    ranged = read(f"--cluster {site}").slurm
    assert (ranged.min_nodes, ranged.nodes) == (2, 4)
    plain = read(f"--cluster {site} --nodes 3").slurm
    assert (plain.min_nodes, plain.nodes) == (0, 3)
    shown = medtrain("cluster", "show", site).stdout
    assert re.search(r"^nodes +2-4$", shown, re.MULTILINE), "one file of a cluster says nothing of exact mode"
    site.write_text("nodes: 2-\n")
    with pytest.raises(InputError, match="nodes is '2-': write a whole number, or A-B"):
        read(f"--cluster {site}")


def test_what_the_widest_attempt_has_is_settled_and_kept(tmp_path: Path) -> None:
    config = moldable.pinned(read(GOOD))
    assert (config.data.global_batch, moldable.virtual_ranks(config)) == (64, 8)
    configfile.check(config, "test")
    configfile.save(config, tmp_path / "config.yaml")
    assert configfile.load(tmp_path / "config.yaml") == config
    assert moldable.pinned(read("--nodes 4")).data.global_batch == 0


def test_slurm_is_asked_for_a_range_and_for_all_cores_of_a_node(tmp_path: Path) -> None:
    script = sbatch.script(sbatch.executor(tmp_path, "run", read(GOOD).slurm), "true")
    assert "#SBATCH --nodes=2-4\n" in script and "#SBATCH --cpus-per-task=6\n" in script
    assert "ntasks" not in script, "Slurm would give no more nodes than there are tasks at 2 nodes"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--nodes 4-2", "nodes is 4-2: write the smaller number first"),
        ("--determinism fast", "only exact mode has the same bits at each number of nodes: give --determinism exact"),
        ("--cpus_per_task 0", "give --cpus_per_task N"),
        ("--spare_nodes 1", "nodes is 2-4 and spare_nodes 1: give one of them"),
        ("--global_batch 32", "32 is 4 micro-batches, and 4 nodes have 8 ranks"),
        ("--gpus 8", "nodes is 2-4 and --gpus: give --gpus_per_node"),
    ],
)
def test_what_cannot_be_is_refused(words: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        configfile.check(read(f"{GOOD} {words}"), "test")
    assert said in refused.value.problem
