"""launch.restart: which job is kept after a crash, and which goes back to the queue, by what Slurm says of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from slurm_answers import Answers

from medtrain.config.schema import SlurmConfig
from medtrain.launch import restart
from medtrain.launch.rank_processes import Srun
from medtrain.runs import attempts
from medtrain.runs.run import Run, set_status

# Shortened from what Slurm 22.05.8 printed.
NODES = """\
NodeName=n1 Arch=x86_64 NodeAddr=n1 Version=22.05.8 State=MIXED ThreadsPerCore=1 Partitions=low
NodeName=n2 Arch=x86_64 NodeAddr=n2 Version=22.05.8 State=MIXED ThreadsPerCore=1 Partitions=low
"""
BATCH = "StepId=7.batch UserId=0 State=RUNNING Partition=low NodeList=n1 Name=batch SrunHost:Pid=(null):0\n"
LAST = "StepId=7.0 UserId=0 State=RUNNING Partition=low NodeList=n[1-2] Name=python SrunHost:Pid=n1:{pid}\n"
WARNED = SlurmConfig(signal_seconds=120)
pytestmark = pytest.mark.parametrize("version", ["22.05", "26.05"], indirect=True)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose first attempt took 200 s to start, and saved in 7."""
    made = Run.create(tmp_path / "runs", "first")
    attempts.note(made, {"attempt": 1, "event": "start", "time": 9.0, "step": 4, "job": "7", "nodes": "n[1-2]"})
    set_status(made, state="crashed", save_seconds=7.0)
    return made


@pytest.fixture
def ranks(answers: Answers, tmp_path: Path) -> Srun:
    """The ranks that have just crashed, and nodes in service."""
    (answers.folder / "node.txt").write_text(NODES)
    for name in ("step", "last"):
        (answers.folder / f"{name}.txt").write_text(BATCH)
    running(answers)
    return Srun(tmp_path / "log", ["false"])


def running(answers: Answers, left_s: float = 3600.0, **changed: str) -> None:
    """The job as it is now, with so much time left."""
    answers.now("job_running", EndTime=f"{time.time() + left_s:.0f}", **changed)


def why(run: Run, ranks: Srun, leaving: bool = False, **end: Any) -> str:
    crash = {"attempt": 1, "event": "end", "kind": "killed", "cause": "killed", "step": 6, "start_seconds": 200.0}
    return restart.why_not_here(run, {**crash, **end}, ranks, WARNED, lambda: leaving)


def test_a_crash_after_something_was_saved_keeps_the_job(answers: Answers, run: Run, ranks: Srun) -> None:
    for kind in attempts.CRASHES:
        assert why(run, ranks, kind=kind) == ""
    for kind in ("preempted", "node failure", "time limit", "requeued", "cancelled", "asked", "lost"):
        assert why(run, ranks, kind=kind, cause="a cause") == "a cause"
    assert why(run, ranks, step=4) == "it has saved nothing new"
    assert why(run, ranks, leaving=True) == "it was asked to stop"
    running(answers, JobState="SIGNALING")
    assert why(run, ranks) == "", "RUNNING for all but a moment"


def test_a_job_that_slurm_takes_away_starts_no_step(answers: Answers, run: Run, ranks: Srun) -> None:
    for state in ("COMPLETING", "CANCELLED", "PENDING", "SUSPENDED", "STOPPED"):
        running(answers, JobState=state)
        assert why(run, ranks) == f"the job is {state}"
    answers.now("job_in_grace")
    assert why(run, ranks) == "the job is preempted"
    answers.now("job_in_grace", PreemptTime="1789999000", EndTime=f"{time.time() + 3600:.0f}")
    assert why(run, ranks) == "", "that was in an earlier life"


@pytest.mark.parametrize("state", ["DOWN+DRAIN", "MIXED+DRAIN", "MIXED*", "ALLOCATED+FAIL", "ALLOCATED+NOT_RESPONDING"])
def test_a_node_out_of_service_needs_the_queue(answers: Answers, run: Run, ranks: Srun, state: str) -> None:
    answers.change("node", "n2 Version=22.05.8 State=MIXED", f"n2 Version=22.05.8 State={state}")
    assert why(run, ranks) == "out of service: n2"


def test_a_restart_that_would_be_warned_of_the_limit_at_once_is_none(answers: Answers, run: Run, ranks: Srun) -> None:
    running(answers, left_s=400)  # 200 to start, a warning 120 before the limit and up to 60 too early
    assert why(run, ranks) == ""
    running(answers, left_s=370)
    assert why(run, ranks).startswith("its time limit is near")
    assert why(run, ranks, start_seconds=3.0) == ""
    running(answers, left_s=200)
    assert why(run, ranks, start_seconds=3.0).endswith("and 210 s needed"), "no start is reckoned with less than 30 s"
    running(answers, left_s=400)
    set_status(run, save_seconds=250.0)
    assert why(run, ranks).endswith("and 450 s needed")
    answers.now("job_running", EndTime="Unknown")
    assert why(run, ranks) == ""


def test_two_crashes_on_a_node_need_the_queue_where_that_helps(
    answers: Answers, run: Run, ranks: Srun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attempt in (2, 3):
        place = {"job": "7", "nodes": "n[1-2]", "step": 4}
        attempts.note(run, {"attempt": attempt, "event": "start", "time": 9.0, **place})
        end = {"attempt": attempt, "event": "end", "time": 9.0, "step": 6, "state": "crashed"}
        attempts.note(run, {**end, "kind": "killed", "node": "n2"})
    monkeypatch.setattr("medtrain.slurm.queries.nodes_without", lambda *_: ("n2", ""))
    assert why(run, ranks) == "two attempts crashed on n2"
    monkeypatch.setattr("medtrain.slurm.queries.nodes_without", lambda *_: ("", "it needs 2 nodes"))
    assert why(run, ranks) == "", "the queue would give it the same node"
    assert attempts.rows_of(run)[-1]["problem"] == "it needs 2 nodes"


def test_a_step_that_is_still_there_is_ended_and_waited_for(answers: Answers, run: Run, ranks: Srun) -> None:
    ranks._pid = 4711
    (answers.folder / "step.txt").write_text(
        BATCH + LAST.format(pid=4712) + LAST.format(pid=4711).replace("7.0", "7.1")
    )
    assert why(run, ranks) == ""
    assert answers.orders() == ["scancel 7.1"], "another one of the job is left alone"


def test_a_step_that_never_ends_needs_the_queue(
    answers: Answers, run: Run, ranks: Srun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart, "STEP_S", 0.0)
    ranks._pid = 4711
    for name in ("step", "last"):
        (answers.folder / f"{name}.txt").write_text(BATCH + LAST.format(pid=4711))
    assert why(run, ranks) == "step 7.0 does not end"


def test_a_controller_that_is_away_is_waited_for(
    answers: Answers, run: Run, ranks: Srun, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.silent(times=3)
    assert why(run, ranks) == ""
    monkeypatch.setattr(restart, "SILENT_S", 0.0)
    answers.silent(times=100)
    assert "is DOWN" in why(run, ranks)
