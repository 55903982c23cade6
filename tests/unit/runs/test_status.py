"""What is said of a run is true: who still lives, what Slurm does not say, and every line of a log, once."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medtrain.core.jsonfiles import append_json, write_json
from medtrain.runs import status
from medtrain.runs.run import Run, resume_command, set_status
from medtrain.runs.status import alive, describe, follow, rarely, status_table


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that was started and said so."""
    made = Run.create(tmp_path / "runs", "first")
    made.config_file.write_text("")
    set_status(made, state="running", step=7, epoch=1, epochs=3)
    return made


@pytest.fixture
def supervisor() -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a supervisor."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "medtrain"])
    yield process
    process.kill()
    process.wait()


def started(run: Run, pid: int, when: float, host: str = socket.gethostname()) -> None:
    """Note the start of an attempt, as the supervisor does."""
    append_json(
        run.attempts,
        {"attempt": 1, "event": "start", "time": when, "nodes": host, "job": "", "pid": pid, "step": 0, "ranks": 1},
    )


def test_a_supervisor_of_this_machine_is_found_while_it_lives(run: Run, supervisor: subprocess.Popen[bytes]) -> None:
    assert alive(run) is None
    started(run, supervisor.pid, time.time())
    place = alive(run)
    assert place is not None
    assert (place.kind, place.id, describe(run)["state"]) == ("process", str(supervisor.pid), "running")
    supervisor.kill()
    supervisor.wait()
    assert alive(run) is None
    assert (describe(run)["state"], describe(run)["note"]) == ("interrupted", f"resume: {resume_command(run)}")


def test_another_process_of_the_same_number_is_not_the_supervisor(
    run: Run, supervisor: subprocess.Popen[bytes]
) -> None:
    started(run, supervisor.pid, time.time() - 3600)  # before this process was there: the machine restarted since
    assert alive(run) is None


def test_other_hosts_and_other_programs_are_not_it(run: Run, supervisor: subprocess.Popen[bytes]) -> None:
    started(run, supervisor.pid, time.time(), host="elsewhere")
    assert alive(run) is None
    started(run, 1, time.time())  # init
    assert alive(run) is None


@pytest.mark.skipif(shutil.which("squeue") is None, reason="no squeue here")
def test_a_silent_controller_does_not_make_a_job_look_dead(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real squeue with settings of a cluster that is down: the job may well run on."""
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=gone\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=9\nMessageTimeout=2\n"
                    "NodeName=a\nPartitionName=p Nodes=a\nAuthType=auth/munge\n")  # fmt: skip
    monkeypatch.setenv("SLURM_CONF", str(conf))
    write_json(run.job_file, {"job": "42"})
    place = alive(run)
    assert place is not None, "resume would start a second supervisor on the same folder"
    assert (place.kind, place.id, place.state) == ("job", "42", status.NO_ANSWER)
    assert "Slurm does not answer" in describe(run)["note"]


def test_without_slurm_a_job_is_over(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    write_json(run.job_file, {"job": "42"})
    assert alive(run) is None


def test_the_table_shows_a_row_for_each_run(run: Run) -> None:
    header, rule, row = status_table([describe(run)]).splitlines()
    assert header.split()[:3] == ["run", "state", "epoch"]
    assert set(rule) == {"-", " "}
    assert row.split()[:4] == ["first", "interrupted", "1/3", "7"]


def test_the_best_has_the_name_of_its_metric(run: Run) -> None:
    row = {**describe(run), "watch": "macro_auroc", "best": 0.98765}
    assert "macro_auroc 0.9877" in status_table([row])


def test_follow_yields_whole_lines_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "ASK_SECONDS", 0.05)
    log, done = tmp_path / "train.log", threading.Event()

    def write() -> None:
        time.sleep(0.3)  # the log is not there yet
        with log.open("wb", buffering=0) as file:
            for piece in (b"one\ntw", b"o\nbad \xff byte\n", b"last, without an end"):
                file.write(piece)
                time.sleep(0.5)
        done.set()

    threading.Thread(target=write).start()
    assert list(follow(log, done.is_set)) == ["one", "two", "bad \ufffd byte", "last, without an end"]


def test_follow_of_a_run_that_is_over_reads_what_is_there(tmp_path: Path) -> None:
    assert list(follow(tmp_path / "none.log", lambda: True)) == []
    (tmp_path / "train.log").write_text("one\ntwo\n")
    assert list(follow(tmp_path / "train.log", lambda: True)) == ["one", "two"]


def test_the_cluster_is_asked_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    question = rarely(lambda: asked.append(1) is not None)  # always False
    assert not any(question() for _ in range(1000))
    assert len(asked) == 1
    monkeypatch.setattr(status, "ASK_SECONDS", 0.0)
    answers = iter([False, True])
    ever = rarely(lambda: next(answers))
    assert [ever(), ever(), ever(), ever()] == [False, True, True, True], "never again after a yes"
