"""What `submit --when` says of waits and plans, and that damaged notes do not stop it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medtrain.launch.start_estimate import _alike, _of_run, _spread, text
from medtrain.runs import planned_starts
from medtrain.runs.run import Run
from medtrain.slurm.queries import JobStatus
from medtrain.slurm.queue_times import Wait

TOLD = {"accepted": True, "refused_why": "", "partition": "gpu", "nodes": 2, "min_nodes": 2, "waited_s": None,
        "same_size": False, "jobs_waiting": 0, "planned_starts": [], "plan_error_s": None}  # fmt: skip


def spread(*values: float) -> dict[str, Any]:
    found = _spread(list(values))
    assert found
    return found


def test_the_middle_of_many_waits_and_all_of_few() -> None:
    assert _spread([]) is None
    assert spread(60.0, 3600.0, 120.0) == {"count": 3, "low": 60.0, "median": 120.0, "high": 3600.0}
    many = spread(*map(float, range(101)))
    assert (many["low"], many["median"], many["high"]) == (10.0, 50.0, 90.0)


def test_jobs_of_as_many_nodes_count_where_there_are_enough() -> None:
    waits = [Wait(str(n), "gpu", nodes, 1.0) for n, nodes in enumerate((1, 1, 1, 2, 2))]
    assert _alike(waits, "gpu", range(1, 2)) == (waits[:3], True)
    assert _alike(waits, "gpu", range(2, 3)) == (waits, False)
    assert _alike(waits, "cpu", range(1, 2)) == ([], False)
    assert _alike(waits[3:], "gpu", range(2, 3)) == (waits[3:], True)


def test_the_words() -> None:
    lines = text(TOLD).splitlines()
    assert lines[0].startswith("starts    unknown: no past wait of yours in partition gpu is known")
    assert lines[3] == "plans     how good Slurm's are is unknown: medtrain status has seen none for your runs"
    known = {"waited_s": spread(30.0, 7200.0), "same_size": True, "plan_error_s": spread(-600.0, 60.0)}
    lines = text({**TOLD, **known, "jobs_waiting": 2, "planned_starts": [1.9e9]}).splitlines()
    assert lines[0] == (
        "starts    30 s to 2.0 h (median 60 min) after it is sent, as your 2 jobs of 2 nodes in partition gpu"
    )
    planned = "queue     2 jobs waiting in the partition; Slurm has planned 1 of them, the last for 2030-03-1"
    assert lines[2].startswith(planned)
    assert lines[3] == "plans     your jobs started 10 min early to 60 s late against them (2 plans)"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "r")
    run.slurm.mkdir(parents=True)
    run.config_file.write_text("slurm: {partition: gpu, nodes: 2}\n")
    run.job_file.write_text(json.dumps({"job": "7", "submitted": 100.0}))
    rows = [{"event": "start", "attempt": n + 1, "time": when, "step": 0, "job": "7", "nodes": "n1", "restarts": n}
            for n, when in enumerate((160.0, 500.0))]  # fmt: skip
    run.attempts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def waiting(start: float, restarts: int, reason: str = "Resources") -> JobStatus:
    return JobStatus("job", "7", "PENDING", reason, {"StartTime": f"{start:.0f}", "Restarts": str(restarts)})


def test_a_plan_is_noted_once_in_each_life_of_a_job(run: Run) -> None:
    planned_starts.note(run, waiting(90, 0, "BeginTime"))  # a requeue's delay
    assert not planned_starts.file_of(run).exists()
    for place in (waiting(150, 0), waiting(155, 0), waiting(700, 1), waiting(900, 2)):
        planned_starts.note(run, place)
    assert planned_starts.errors(run) == [10.0, -200.0]  # the third life has not begun


def test_damaged_notes_are_left_out(run: Run) -> None:
    planned_starts.file_of(run).write_text('{"job": "7", "restarts": "x", "planned": 1}\n{"job": 7}\nnot json\n')
    assert planned_starts.errors(run) == []
    assert _of_run(run, "batch") == Wait("7", "gpu", 2, 60.0)
    run.config_file.write_text("slurm: {dependency: '6'}\n")
    assert _of_run(run, "batch") is None
    run.config_file.write_text("}{")
    assert _of_run(run, "batch") is None
    run.config_file.write_text("slurm: {partition: gpu}\n")
    run.job_file.write_text("{}")
    assert _of_run(run, "batch") is None


def test_a_folder_that_cannot_be_written_is_no_fault_of_who_looks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    planned_starts.file_of(run).mkdir()  # as good as a full disk, for root too
    monkeypatch.setattr(planned_starts, "_planned", lambda run: {})
    planned_starts.note(run, waiting(150, 0))
    assert planned_starts.file_of(run).is_dir()
