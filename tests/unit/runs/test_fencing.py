"""A run has one owner: who is no longer it publishes nothing, and nobody is taken for dead who only sleeps."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from command import SMALL, command_line
from limits import HANG_S
from process_table import children

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import append_json, write_json
from medtrain.runs import attempts, fencing, ownership
from medtrain.runs.fencing import HELD, Owner, Superseded, claim, ensure_highest, myself, numbers, release
from medtrain.runs.ownership import alive, take
from medtrain.runs.run import Run, set_status


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run.create(tmp_path / "runs", "first")
    made.config_file.write_text("")
    yield made
    HELD.pop(made.folder, None)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def owned(run: Run, owner: Owner) -> int:
    """Another process takes the next number."""
    number = max(numbers(run.folder), default=0) + 1
    assert claim(run.folder, number, owner)
    HELD.pop(run.folder)
    return number


def of(pid: int) -> Owner:
    return replace(myself(), pid=pid, ticks=fencing.started(pid))


def test_a_number_has_one_owner_however_many_reach_for_it(run: Run) -> None:
    won: list[int] = []
    together = threading.Barrier(8)

    def reach(who: int) -> None:
        together.wait()
        if claim(run.folder, 1, myself()):
            won.append(who)

    threads = [threading.Thread(target=reach, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert numbers(run.folder) == [1]


def test_a_number_that_was_cleared_away_while_its_taker_slept_is_not_taken(run: Run) -> None:
    for number in range(1, 9):
        assert claim(run.folder, number, myself())
    assert numbers(run.folder) == [5, 6, 7, 8]
    assert not claim(run.folder, 2, myself())
    assert numbers(run.folder) == [5, 6, 7, 8]


def test_an_owner_of_old_publishes_no_status_no_attempt_no_journal_and_no_checkpoint(run: Run, tmp_path: Path) -> None:
    from medtrain.checkpoints.retention import CheckpointStore
    from medtrain.checkpoints.writer import Team
    from medtrain.config.schema import CheckpointConfig
    from medtrain.tracking.run_log import RunLog

    take(run)
    set_status(run, state="running")
    tracker = RunLog(run, True, 9, 0, 8, "images")
    tracker.step(1, 1, 0.5, 0.1)
    checkpoints = CheckpointStore(run.checkpoints, CheckpointConfig(), Team(0, 1, "word"), {})
    hidden = run.checkpoints / ".tmp-word-1"
    hidden.mkdir()
    fencing.file(run.folder, 2, "lock").write_text(json.dumps(asdict(replace(myself(), host="elsewhere", pid=7))))
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    fencing._looked.clear()  # a step looks once a second
    for publish in (
        lambda: set_status(run, state="failed"),
        lambda: attempts.note(run, {"event": "end"}),
        lambda: tracker.step(2, 1, 0.5, 0.1),
        lambda: tracker.epoch({"step": 2, "epoch": 1}),
        lambda: checkpoints._publish(hidden, "step-00000002", best=True),
        lambda: checkpoints.start_from(None),
    ):
        with pytest.raises(Superseded, match=r"taken over as attempt 2 \(process 7 on elsewhere\): attempt 1 leaves"):
            publish()
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before
    assert hidden.exists()
    assert Superseded.exit_code == 75


def test_an_owner_lives_as_its_process_does_also_a_stopped_one_and_no_clock_is_asked(
    run: Run, sleeper: subprocess.Popen[bytes]
) -> None:
    row = {"attempt": 1, "event": "start", "time": 1e12, "nodes": "x", "job": "", "pid": 1, "step": 0}
    append_json(run.attempts, row)
    owned(run, of(sleeper.pid))
    sleeper.send_signal(signal.SIGSTOP)
    place = alive(run)
    assert place is not None
    assert (place.kind, place.id, place.state) == ("process", str(sleeper.pid), "RUNNING")
    with pytest.raises(InputError, match=f"run first is still under way .process {sleeper.pid}."):
        take(run)
    sleeper.kill()
    sleeper.wait()
    assert alive(run) is None
    take(run)
    assert numbers(run.folder) == [1, 2]


def test_a_process_of_the_same_number_is_not_the_owner(run: Run, sleeper: subprocess.Popen[bytes]) -> None:
    owned(run, replace(of(sleeper.pid), ticks=fencing.started(sleeper.pid) - 1))
    assert alive(run) is None


def test_a_rank_that_outlives_its_supervisor_is_waited_for(run: Run, sleeper: subprocess.Popen[bytes]) -> None:
    number = owned(run, replace(of(sleeper.pid), ticks=1))
    fencing.file(run.folder, number, "rank0").write_text(json.dumps(asdict(of(sleeper.pid))))
    with pytest.raises(InputError, match="still under way"):
        take(run, wait_s=0)
    threading.Timer(0.3, lambda: (sleeper.kill(), sleeper.wait())).start()
    take(run)
    assert numbers(run.folder) == [1, 2]


def test_an_owner_that_left_is_over_while_its_process_does_something_else(run: Run) -> None:
    take(run)
    release(run.folder)
    HELD.clear()
    assert alive(run) is None
    take(run)
    ensure_highest(run.folder)


@pytest.mark.parametrize("state", ["RUNNING", "SUSPENDED", "STOPPED", "COMPLETING", "COMPLETED", "NODE_FAIL"])
def test_in_slurm_the_state_of_the_job_tells(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """JOB STATE CODES of squeue(1): a job that is suspended, stopped or completing still has its processes."""
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho 'JobId=42 JobState={state} Reason=None Restarts=0'\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    owned(run, replace(myself("42"), machine="another", host="node7"))
    place = alive(run, sure=True)
    assert (place is None) == (state in ("COMPLETED", "NODE_FAIL"))
    assert place is None or (place.kind, place.id, place.state) == ("job", "42", state)


@pytest.mark.parametrize("readable", [True, False])
def test_on_another_machine_only_a_growing_count_is_life(
    run: Run, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    monkeypatch.setattr(fencing, "BEAT_S", 0.05)
    number = owned(run, replace(myself(), machine="another boot", host="node7", pid=12))
    lock, beat = (fencing.file(run.folder, number, kind) for kind in ("lock", "beat"))
    if not readable:
        lock.write_bytes(b'{"host": "nod')
    told = alive(run)
    assert told is not None
    assert told.state == "UNKNOWN"
    over = threading.Event()

    def live() -> None:
        count = 0
        while not over.wait(0.02):
            beat.write_text(str(count := count + 1))

    thread = threading.Thread(target=live)
    thread.start()
    for _ in range(3):
        place = alive(run, sure=True)
        assert place is not None
        assert (place.kind, place.id) == ("host", "node7, process 12" if readable else "unknown")
    over.set()
    thread.join()
    assert alive(run, sure=True) is None
    take(run)
    assert numbers(run.folder) == [1, 2]


def test_a_file_server_that_hangs_makes_nobody_dead(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fencing, "BEAT_S", 0.05)
    number = owned(run, replace(myself(), machine="another boot"))
    signs, looks = ownership._signs, []

    def slow(run: Run, number: int) -> list[bytes] | None:
        looks.append(number)
        if 1 < len(looks) < 8:
            time.sleep(0.06)  # the look itself takes longer than a period
        elif len(looks) == 8:
            fencing.file(run.folder, number, "beat").write_text("again")
        return signs(run, number)

    monkeypatch.setattr(ownership, "_signs", slow)
    assert ownership._beats(run, number)


def test_a_run_of_an_older_version_has_no_numbers_and_is_taken(run: Run) -> None:
    row = {"attempt": 1, "event": "start", "time": time.time(), "nodes": "elsewhere", "job": "", "pid": 1, "step": 0}
    append_json(run.attempts, row)
    (run.folder / "lock").touch()
    assert alive(run) is None
    take(run)
    assert numbers(run.folder) == [1]


def test_damaged_and_strange_files_among_the_numbers_are_no_owners(run: Run) -> None:
    take(run)
    for name in ("x.lock", "-3.lock", "\u0663.lock", "9.lock.bak", "2"):
        (run.folder / "attempts" / name).touch()
    assert numbers(run.folder) == [1]
    for text in ("null", "[]", "{}", '{"pid": "1"}', json.dumps({**asdict(myself()), "pid": "1"})):
        lock = fencing.file(run.folder, 1, "lock")
        lock.write_text(text)
        assert fencing.read(lock) is None


def content(run: Path) -> dict[str, str]:
    """What a run has published: everything but its log and the numbers."""
    files = [path for path in run.rglob("*") if path.is_file() and path.name != "train.log"]
    own = [path for path in files if not {"attempts", "trackers", "__pycache__"} & set(path.relative_to(run).parts)]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in own}


def descendants(pid: int) -> list[int]:
    return [pid, *(below for child in children(pid) for below in descendants(child))]


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: another machine is made with unshare, which needs root")
def test_an_owner_that_slept_leaves_and_the_run_is_whole_without_any_file_lock(
    demo_shards: Path, tmp_path: Path
) -> None:
    """On this machine the stopped owner is seen. A machine without Slurm that cannot see its processes takes over, and
    the owner, when it wakes, leaves with 75 and changes nothing. flock(2) fails everywhere, as without support."""
    (tmp_path / "sitecustomize.py").write_text(
        "import errno, fcntl\ndef none(*arguments):\n    raise OSError(errno.ENOTSUP, 'none')\nfcntl.flock = none\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    arguments = ["train", "demo", "--shards", demo_shards, "--runs", tmp_path, "--run", "one", *SMALL, "--epochs", "9"]
    owner = subprocess.Popen(command_line(*arguments), env=environment, stdout=subprocess.PIPE, text=True)
    run, deadline = tmp_path / "one", time.monotonic() + HANG_S
    while not (run / "metrics.jsonl").exists() or (run / "metrics.jsonl").read_text().count("\n") < 3:
        assert owner.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    asleep = descendants(owner.pid)
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    resume = command_line("resume", "one", "--runs", tmp_path)
    here = subprocess.run(resume, env=environment, capture_output=True, text=True, check=False, timeout=HANG_S)
    assert here.returncode == 2, here.stderr
    assert f"run one is still under way (process {owner.pid})" in here.stderr
    there = ["unshare", "--pid", "--fork", "--mount-proc", *resume]
    taken = subprocess.run(there, env=environment, capture_output=True, text=True, check=False, timeout=HANG_S)
    assert taken.returncode == 0, taken.stderr
    before = content(run)
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    for pid in reversed(asleep):
        os.kill(pid, signal.SIGCONT)
    assert owner.wait(HANG_S) == 75
    assert "leaves and writes nothing more" in (run / "train.log").read_text()
    assert content(run) == before
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(1, 9 * 12 + 1))


def test_a_run_in_the_queue_is_released_by_who_sent_it(run: Run) -> None:
    from medtrain.launch.submit import note_sent

    take(run)
    note_sent(run, "42")
    assert run.folder not in HELD
    assert fencing.file(run.folder, 1, "end").exists()
    write_json(run.job_file, {"job": ""})
    assert alive(run) is None
