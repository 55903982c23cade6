"""What Slurm suspended is told in words and counts neither as a step nor against the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medtrain.core.jsonfiles import append_json
from medtrain.runs import attempts, suspensions
from medtrain.runs.attempt_history import attempt_history
from medtrain.runs.goodput import work
from medtrain.runs.run import Run
from medtrain.slurm import queries
from medtrain.slurm.queries import preemptor

NOW = 1_000_000.0
START = {
    "attempt": 1,
    "event": "start",
    "time": NOW,
    "step": 0,
    "job": "7",
    "nodes": "n1",
    "ranks": 2,
    "until": NOW + 60,
}


def stop(seconds: float, job: str = "") -> dict[str, Any]:
    return {"attempt": 1, "event": "suspended", "time": NOW, "seconds": seconds, "preemptor": job}


def test_words() -> None:
    assert suspensions.words([]) == ""
    assert suspensions.words([stop(15.2, "812")]) == "suspended by Slurm for 15 s (preempted by job 812)"
    assert suspensions.words([stop(600), stop(8000, "9"), stop(4000, "9")]) == (
        "suspended by Slurm 3 times, for 3.5 h in all (preempted by job 9)"
    )
    assert suspensions.words([stop(60, job) for job in "4567"]).endswith(
        "4 min in all (preempted by jobs 4, 5, 6, ...)"
    )


@pytest.mark.parametrize(
    ("answer", "noted"),
    [
        ({"JobState": "RUNNING", "SuspendTime": str(int(NOW))}, True),
        ({"JobState": "RUNNING", "SuspendTime": "None"}, False),  # a person stopped a process, or the machine was busy
        ({"JobState": "RUNNING", "SuspendTime": str(int(NOW) - 3600)}, False),
        ({}, True),  # the controller does not answer
    ],
)
def test_only_what_slurm_did_is_noted(answer: dict[str, str], noted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspensions, "show", lambda job: (answer, ""))
    monkeypatch.setattr(suspensions, "preemptor", lambda *about, within_s: "8")
    monkeypatch.setattr(suspensions.time, "time", lambda: NOW)
    assert suspensions.suspension(START, 15.0) == (stop(15.0, "8") if noted else None)


def test_who_suspends_a_job_starts_with_that(monkeypatch: pytest.MonkeyPatch) -> None:
    began = {"3": NOW - 900, "8": NOW + 1, "9": NOW + 900}
    rows = [f"{job}|RUNNING|high|normal||n1|{when:.0f}" for job, when in began.items()]
    rows.append("10|PENDING|high|normal|n1||N/A")
    monkeypatch.setattr(queries, "ask_controller", lambda *command: ("\n".join(rows), ""))
    ours = {"JobId": "7", "Partition": "low", "QOS": "normal"}
    assert preemptor(ours, "n1", NOW, within_s=5.0) == "8"
    assert preemptor(ours, "n1", NOW + 100, within_s=5.0) == ""
    assert preemptor(ours, "n1", NOW + 1000) == "10"


def test_a_suspension_of_three_hours_is_no_step_and_no_loss(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    steps = [{"kind": "step", "step": n, "epoch": 1, "time": NOW + n + (10_800 if n > 5 else 0)} for n in range(1, 11)]
    steps[5]["suspended_seconds"] = 10_800.0
    run.journal.write_text("".join(json.dumps(row) + "\n" for row in steps))
    assert work(run.journal, NOW, 0).seconds == pytest.approx(10)
    end = {"attempt": 1, "event": "end", "time": NOW + 10_820, "step": 10, "first": 0, "reached": 10}
    for row in (START, stop(10_800.0), {**end, "step_seconds": 10.0, "cause": "finished", "state": "finished"}):
        append_json(run.attempts, row)
    (run.checkpoints / "step-00000010").mkdir()
    told = attempt_history(run, None)[0]
    assert told["goodput_percent"] == pytest.approx(50) and told["suspended_seconds"] == 10_800
    steps[5]["suspended_seconds"] = "damaged"
    run.journal.write_text("".join(json.dumps(row) + "\n" for row in steps))
    assert work(run.journal, NOW, 0).reached == 10


def test_a_time_limit_moves_by_what_the_job_was_suspended(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    assert attempts._left_behind(run, START)["time_limit_at"] == NOW + 60
    append_json(run.attempts, stop(100.0))
    assert attempts._left_behind(run, START)["time_limit_at"] == NOW + 160
