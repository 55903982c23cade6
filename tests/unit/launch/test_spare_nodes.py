"""launch.spare_nodes: on which nodes of a job the ranks start, and when that has too few good ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slurm_answers import Answers

from medtrain.config.schema import SlurmConfig
from medtrain.launch import spare_nodes
from medtrain.launch.rank_processes import Srun
from medtrain.runs import attempts
from medtrain.runs.run import Run
from medtrain.slurm import sbatch

pytestmark = pytest.mark.parametrize("version", ["22.05"], indirect=True)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "runs", "first")


@pytest.fixture
def ranks(answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Srun:
    """The ranks of a job with four nodes and two tasks on each."""
    for name, value in {"JOB_NODELIST": "n[1-4]", "JOB_NUM_NODES": "4", "NTASKS": "8"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    in_state(answers)
    return Srun(tmp_path / "log", ["false"])


def in_state(answers: Answers, **states: str) -> None:
    """Nodes of the job that are not in service."""
    rows = [f"NodeName=n{i} State={states.get(f'n{i}', 'MIXED')} ThreadsPerCore=1\n" for i in range(1, 5)]
    (answers.folder / "node.txt").write_text("".join(rows))


def chosen(run: Run, ranks: Srun, spare: int) -> tuple[str, ...]:
    spare_nodes.choose(run, ranks, SlurmConfig(spare_nodes=spare))
    return ranks._nodes


def crash(run: Run, node: str) -> None:
    """Two attempts that crashed on a node."""
    end: dict[str, Any] = {"event": "end", "attempt": 1, "state": "crashed", "step": 1, "kind": "killed", "node": node}
    for _ in range(2):
        attempts.note(run, end)


def test_the_first_nodes_that_are_good_are_taken_at_one_number_of_ranks(
    answers: Answers, run: Run, ranks: Srun
) -> None:
    assert chosen(run, ranks, 0) == () and ranks.count == 8, "all of them"
    assert chosen(run, ranks, 1) == ("n1", "n2", "n3") and ranks.count == 6
    crash(run, "n2")
    assert chosen(run, ranks, 1) == ("n1", "n3", "n4")
    assert chosen(run, ranks, 2) == ("n1", "n3") and ranks.count == 4
    in_state(answers, n1="MIXED+DRAIN")
    assert chosen(run, ranks, 1) == ("n2", "n3", "n4"), "sooner one where it crashed than one that is drained"
    in_state(answers, n1="MIXED+DRAIN", n3="DOWN*")
    assert chosen(run, ranks, 1) == ("n1", "n2", "n4") and ranks.count == 6, "and never fewer"


def test_a_job_that_can_have_no_spare_nodes_starts_on_all(
    run: Run, ranks: Srun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(run, ranks, 4) == ()
    monkeypatch.setenv("SLURM_NTASKS", "7")
    assert chosen(run, ranks, 1) == (), "not as many tasks on each node"
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "1")
    assert chosen(run, ranks, 1) == ()


def test_whether_there_are_enough(answers: Answers, ranks: Srun) -> None:
    in_state(answers, n1="DRAINING")
    nodes, problem = spare_nodes.of_job("n[1-4]")
    assert (len(nodes), problem, spare_nodes.lost(nodes)) == (4, "", ["n1"])
    assert spare_nodes.enough(nodes, {"n1"}, 1) and not spare_nodes.enough(nodes, {"n1", "n2"}, 1)
    assert spare_nodes.enough(nodes, {"n1", "n2"}, 2) and not spare_nodes.enough(nodes, set(), 0)


def test_they_are_asked_for_besides(version: str, tmp_path: Path) -> None:
    request = SlurmConfig(nodes=2, spare_nodes=1, tasks_per_node=4)
    text = sbatch.script(sbatch.executor(tmp_path, "first", request), "true")
    assert "#SBATCH --nodes=3\n" in text and "no-kill" not in text
