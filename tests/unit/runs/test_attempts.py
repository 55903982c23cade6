"""What is told of an attempt is true: why it ended, what it did, what was lost, and what its time was worth.

The files in tests/data are what a real Slurm 22.05 printed: the log of a step (with srun's own lines) that ended in the
way of its name, and `scontrol --oneliner show job` of jobs that an ordinary user had waiting.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from places import RECORDED

from medtrain.core.jsonfiles import append_json, read_json_lines, write_json
from medtrain.runs.attempt_history import attempt_history
from medtrain.runs.attempts import end_row, nodes_to_avoid, note, silent_end, unended
from medtrain.runs.exit_causes import Evidence, diagnose
from medtrain.runs.goodput import Work, goodput, work
from medtrain.runs.run import Run, set_status
from medtrain.runs.status import attempts_table
from medtrain.slurm.pending_reasons import explain_reason
from medtrain.slurm.queries import parse

NOW = 1_000_000.0


def evidence(log: str = "", **known: Any) -> Evidence:
    """Evidence of an attempt that just ended, with a recorded log of its step."""
    said = (RECORDED / f"{log}.log").read_text() if log else ""
    return Evidence(**{"started": NOW - 60, "ended": NOW, "code": 75, "log_tail": said, **known})


STOPPED = {"state": "stopped", "signal": "SIGTERM"}
RUNNING = {"JobState": "RUNNING", "Restarts": "0"}
GRACE = ({**RUNNING, "PreemptTime": "999990"},)
NOT_PREEMPTED = ({**RUNNING, "PreemptTime": "None"},)
USR2 = {"state": "stopped", "signal": "SIGUSR2"}
PEER = {"error": "RuntimeError: Connection closed by peer", "exit_code": 1}
LIVES = {
    "preempted without grace": (evidence("preempted", preemptor="4", status=STOPPED), "preempted by job 4"),
    "preempted by one that is not seen": (evidence("preempted"), "preempted"),
    "preempted in its grace time": (
        evidence("preempted_in_grace", status=STOPPED, preemptor="2", scontrol_records=GRACE),
        "preempted by job 2",
    ),
    "preempted, and killed at the end of its grace time": (
        evidence("killed", preemptor="2", scontrol_records=GRACE),
        "preempted by job 2",
    ),
    "preempted in an earlier life": (
        evidence("preempted_in_grace", status=STOPPED, scontrol_records=({**RUNNING, "PreemptTime": "999000"},)),
        "stopped by SIGTERM",
    ),
    "requeued": (evidence("requeued", status=STOPPED), "requeued by scontrol requeue"),
    "requeued, and the log is gone": (
        evidence(status=STOPPED, scontrol_records=({"JobState": "COMPLETING", "Restarts": "1"},)),
        "requeued by scontrol requeue",
    ),
    "cancelled": (
        evidence("cancelled", status=STOPPED, scontrol_records=({"JobState": "COMPLETING", "Restarts": "0"},)),
        "cancelled by scancel",
    ),
    "a node taken down": (evidence("node_down", status=STOPPED), "node failure (127.0.0.2)"),
    "a rank killed, a peer complains": (
        evidence("killed", code=143, failure=PEER), "rank 1 on 127.0.0.2 killed by signal 9 (SIGKILL)",
    ),
    "a rank's exit code": (evidence("exit_code", code=143), "rank 1 on 127.0.0.2: exited with exit code 3"),
    "a rank's exception": (
        evidence("exit_code", code=143, failure={"error": "ValueError: bad", "exit_code": 1}),
        "rank 1 on 127.0.0.2: ValueError: bad",
    ),
    "memory": (evidence("memory", code=137), "out of memory on 127.0.0.2: 413 MiB used, 200 allowed"),
    "a time limit": (
        evidence(status=USR2, time_limit_at=NOW + 100, warned_s=120, scontrol_records=NOT_PREEMPTED),
        "time limit",
    ),
    "a time limit that came before the save": (
        evidence(status=USR2, scontrol_records=({**RUNNING, "JobState": "COMPLETING", "Reason": "TimeLimit"},)),
        "time limit",
    ),
    "a signal of an earlier attempt": (
        evidence(code=1, status={**USR2, "updated": NOW - 100}), "a rank left with exit code 1",
    ),
    "preempted, and the node was rebooted": (
        evidence(code=None, failed_nodes=("gpu1",), scontrol_records=GRACE),
        "preempted",
    ),
    "failed, and the node was rebooted": (
        evidence(code=None, failed_nodes=("gpu1",), sacct_record={"State": "FAILED"}),
        "ended without a word: node failure, power loss, or everything was killed",
    ),
    "the same signal long before the limit": (
        evidence(status=USR2, time_limit_at=NOW + 5000, warned_s=120), "stopped by SIGUSR2",
    ),
    "medtrain stop": (evidence(status=STOPPED, asked_to_stop=True), "stopped by the user (medtrain stop)"),
    "Ctrl-C": (evidence(status=STOPPED, signal="SIGINT"), "stopped by the user (Ctrl-C)"),
    "Ctrl-C twice": (
        evidence(code=-9, signal="SIGINT", status={"state": "crashed"}), "stopped by the user (Ctrl-C)",
    ),
    "a closed terminal": (
        evidence(status=STOPPED, signal="SIGHUP"), "stopped by the user (its terminal was closed)",
    ),
    "a process here killed": (evidence(code=-9, first="0", failure=PEER), "rank 0 killed by signal 9 (SIGKILL)"),
    "an error here": (evidence(code=1, first="1", failure=PEER), "rank 1: RuntimeError: Connection closed by peer"),
    "finished": (evidence(code=0, status={"state": "finished"}), "finished"),
    "power loss, by sacct": (
        evidence(code=None, failure=PEER, sacct_record={"State": "NODE_FAIL"}, failed_nodes=("gpu1",)),
        "node failure (gpu1)",
    ),
    "power loss, without accounting": (evidence(code=None, failure=PEER, failed_nodes=("gpu1",)),
        "node failure (gpu1)"),
    "cancelled, by sacct": (evidence(code=None, sacct_record={"State": "CANCELLED by 0"}), "cancelled by scancel"),
    "time-out, by sacct": (evidence(code=None, sacct_record={"State": "TIMEOUT"}), "time limit"),
    "nobody knows": (evidence(code=None), "ended without a word: node failure, power loss, or everything was killed"),
}  # fmt: skip


@pytest.mark.parametrize("life", LIVES)
def test_causes(life: str) -> None:
    known, expected = LIVES[life]
    assert diagnose(known).words == expected


def test_a_hang_names_the_rank_and_its_node() -> None:
    error = "no heartbeat for 5 s while step 7: rank 1 does not answer (stopped, or its node is gone)"
    cause = diagnose(evidence("killed", code=1, failure={"error": error, "hung": "1"}))
    assert cause.words.startswith("rank 1 on 127.0.0.2 killed"), "srun saw it die before the others left"
    said = "srun: error: a: task 0: Exited with exit code 1\nsrun: error: b: tasks 1-2: Killed\n"
    cause = diagnose(evidence(code=1, failure={"error": error, "hung": "1"}, log_tail=said))
    assert (cause.kind, cause.words, cause.rank, cause.node) == ("hung", f"hung: {error}", "1", "b")


WAITING = {
    "PartitionTimeLimit": "it asks for more time than partition short gives",
    "PartitionNodeLimit": "it asks for more nodes than partition low gives, or for one that is not in it",
    "Licenses": "the licences that it asks for are in use",
    "launch_failed_requeued_held": "its last start failed on a node, and Slurm holds it now",
}


def test_recorded_reasons_to_wait() -> None:
    jobs = [parse(line) for line in (RECORDED / "waiting_jobs.txt").read_text().splitlines()]
    assert {job["Reason"]: explain_reason(job["Reason"], job).why for job in jobs} == WAITING
    assert all(explain_reason(job["Reason"], {**job, "run": "r", "job": job["JobId"]}).helps for job in jobs)


def test_unknown_reasons_are_told_as_they_are() -> None:
    assert explain_reason("SomethingNew", {}).why == "Slurm says: SomethingNew"
    assert explain_reason("AssocGrpBillingMinutes", {}).why == "the computing time of your account is used up"
    assert explain_reason("QOSMinGRES", {}).why == "it asks for less than your QOS requires: it never starts so"


def step(number: int, when: float) -> dict[str, Any]:
    """A step's line of the journal."""
    return {"kind": "step", "step": number, "epoch": 1, "time": when}


def test_work_is_what_the_journal_tells_of_an_attempt(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert work(path, NOW, 5) == Work(5, 5, 0.0, 0.0)
    old = [step(n, NOW - 2000 + n) for n in range(1, 1501)]  # more than a block
    new = [step(1501, NOW + 10), step(1502, NOW + 12), {"kind": "epoch", "step": 1502, "epoch": 1, "time": NOW + 50}]
    new += [step(1503, NOW + 52), step(1504, NOW + 54)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*old, *new]) + '{"kind": "st')
    assert work(path, NOW, 1500) == Work(1500, 1504, 8.0, NOW + 54, NOW + 10), (
        "validating is no step; the first counts as usual"
    )
    held_up = [step(n, NOW + n) for n in range(100)] + [step(100, NOW + 10_000)]
    path.write_text("".join(json.dumps(row) + "\n" for row in held_up))
    assert work(path, NOW, 0).seconds < 1200, "a step of three hours among steps of a second does not shine"


def test_goodput() -> None:
    assert goodput(50, done=100, lost=0, wall_s=100) == 0.5
    assert goodput(50, done=100, lost=100, wall_s=100) == 0.0
    assert goodput(50, done=100, lost=20, wall_s=100) == pytest.approx(0.4)
    assert goodput(0, done=0, lost=0, wall_s=100) == goodput(1, 1, 0, 0) == 0.0
    assert goodput(50, done=10, lost=12, wall_s=100) == 0.0, "the next went back beyond where this one began"


def ended(run: Run, attempt: int, when: float, job: str = "", restarts: int = 0, **facts: Any) -> None:
    """Lines of an attempt that started and ended."""
    place = {"step": 0, "job": job, "restarts": restarts, "nodes": "here", "ranks": 1, "pid": 1}
    note(run, {"attempt": attempt, "event": "start", "time": when, **place})
    end = {"attempt": attempt, "event": "end", "time": when + 9, "step": 0, "cause": "x", "state": "crashed"}
    note(run, {**end, **facts})


def test_two_failures_on_one_node_are_counted_since_a_person_started_the_run(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    note(run, {"event": "begin", "time": NOW})
    ended(run, 1, NOW, kind="killed", node="a")
    ended(run, 2, NOW, kind="preempted", node="a")
    ended(run, 3, NOW, kind="memory", node="a")
    assert nodes_to_avoid(read_json_lines(run.attempts)) == set(), "only one was the node's fault"
    ended(run, 4, NOW, kind="hung", node="a")
    assert nodes_to_avoid(read_json_lines(run.attempts)) == {"a"}
    note(run, {"event": "exclude", "attempt": 4, "time": NOW, "nodes": ["a"], "problem": ""})
    assert nodes_to_avoid(read_json_lines(run.attempts)) == set(), "done already"
    note(run, {"event": "begin", "time": NOW})
    ended(run, 5, NOW, kind="killed", node="b")
    assert nodes_to_avoid(read_json_lines(run.attempts)) == set()


def test_lost_steps_are_counted_from_where_the_next_attempt_began(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    ended(run, 1, NOW, kind="killed", first=0, reached=30, step_seconds=6.0)
    ended(run, 2, NOW + 20, kind="killed", first=20, reached=25, step_seconds=1.0)
    (run.checkpoints / "step-00000022").mkdir()
    told = attempt_history(run, None)
    assert [(row["steps"], row["lost"]) for row in told] == [(30, 10), (5, 3)]
    assert told[0]["goodput_percent"] == pytest.approx(100 * 6 * (20 / 30) / 9, abs=0.1)


def test_an_attempt_in_the_allocation_of_the_one_before_it_is_told_apart(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    lives = [(NOW, "7", 0), (NOW + 12, "7", 0), (NOW + 100, "7", 1), (NOW + 121, "7", 1), (NOW + 150, "", 0)]
    for number, (when, job, restarts) in enumerate(lives, 1):
        if number == 4:
            note(run, {"event": "begin", "time": NOW + 120})  # by hand, in an salloc shell
        done = {"kind": "killed", "first": 10 * number - 10, "reached": 10 * number, "step_seconds": 6.0}
        ended(run, number, when, job, restarts, **done)
    (run.checkpoints / "step-00000050").mkdir()
    told = attempt_history(run, None)
    assert [row["same_allocation"] for row in told] == [False, True, False, False, False]
    assert told[1]["goodput_percent"] == 50, "of 12 s, with the 3 s between the two"
    assert told[2]["goodput_percent"] == pytest.approx(100 * 6 / 9, abs=0.1), "without its wait in the queue"
    table = attempts_table({"history": told, "waiting": None})
    assert re.findall(r"^ +\d  (queue|same job|-) ", table, re.M) == ["queue", "same job", "queue", "queue", "-"]
    assert "  from  " not in attempts_table({"history": told[2:], "waiting": None})


def test_an_attempt_that_ends_now_is_told_as_finished(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    ended(run, 1, NOW, kind="killed", first=0, reached=20, step_seconds=2.0)
    start = {"attempt": 2, "event": "start", "time": NOW + 20, "step": 20, "job": "", "nodes": "here", "ranks": 1}
    append_json(run.attempts, start)
    (run.checkpoints / "step-00000020").mkdir()
    for step in (21, 22):
        append_json(run.journal, {"kind": "step", "step": step, "epoch": 2, "loss": 1.0, "time": NOW + step})
    (run.checkpoints / "step-00000022").mkdir()
    told = attempt_history(run, None, finishes_at=NOW + 25)
    assert [(row["cause"], row["steps"], row["lost"], row["end"]) for row in told][1] == ("finished", 2, 0, NOW + 25)
    assert 0 < told[1]["goodput_percent"] <= 100
    assert attempt_history(run, None)[1]["cause"] != "finished", "read later, it is one that nobody saw end"


def test_an_end_is_written_once_and_by_the_next_attempt_where_nobody_else_could(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    start = {"attempt": 1, "event": "start", "time": time.time() - 5, "step": 0, "job": "", "nodes": "here", "ranks": 1}
    append_json(run.attempts, start)
    set_status(run, state="running", step=3)
    assert unended(read_json_lines(run.attempts)) == start
    end = silent_end(run, start)
    assert (end["kind"], end["state"], end["found_later"]) == ("lost", "stopped", True)
    assert abs(end["time"] - time.time()) < 2, "its last heartbeat"
    note(run, end)
    assert unended(read_json_lines(run.attempts)) is None


def test_what_cannot_be_found_out_does_not_end_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.create(tmp_path, "first")
    start = {"attempt": 1, "event": "start", "time": time.time(), "step": 0, "job": "", "nodes": "here", "ranks": 2}
    run.failure_file.mkdir()  # as unreadable as a stale file of a file server
    end = end_row(run, start, 3, "1", "", 120)
    assert (end["cause"], end["state"]) == ("rank 1: left with exit code 3", "crashed")
    assert "why attempt 1 ended is not known for sure: IsADirectoryError" in capsys.readouterr().err


def test_a_failure_is_told_from_what_the_rank_wrote(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    run.config_file.write_text("recipe: mednist\n")
    start = {"attempt": 1, "event": "start", "time": time.time(), "step": 0, "job": "", "nodes": "here", "ranks": 2}
    write_json(run.failure_file, {"exit_code": 1, "error": "ValueError: bad", "fix": "", "rank": 1, "host": "node7"})
    end = end_row(run, start, 1, "1", "", 120)
    assert (end["cause"], end["kind"]) == ("rank 1 on node7: ValueError: bad", "crashed")
