"""Standard output and error that go away: work goes on, says so in its log, and keeps its exit code."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from command import SMALL, command_line
from limits import HANG_S

from medtrain.core import output_streams
from medtrain.core.output_streams import Outlet

PRINTER = (
    "import sys, types; from medtrain.cli import main as cli;"
    "cli.COMMANDS['bench'] = type(cli.COMMANDS['check'])('this:work', ''); this = types.ModuleType('this');"
    "sys.modules['medtrain.cli.commands.this'] = this; exec(sys.argv.pop(1), vars(this));"
    "cli.main()"
)


def working(body: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A command `medtrain bench` that does `body`: one of those that do more than print."""
    code = "def work() -> int:\n    " + body.replace("\n", "\n    ")
    command = [sys.executable, "-c", PRINTER, code, "bench"]
    return subprocess.run(command, text=True, check=False, timeout=HANG_S, **options)  # type: ignore[call-overload, no-any-return]


def broken_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_work_outlives_the_reader_of_its_output_and_keeps_its_exit_code(tmp_path: Path) -> None:
    body = f"""
import sys, warnings, pathlib
from medtrain.core.console import say, warn
for number in range(3):
    say(str(number)); warn("a"); warnings.warn("b"); print("c"); print("d", file=sys.stderr); sys.stderr.write("e")
pathlib.Path({str(tmp_path / "done")!r}).touch()
return 3"""
    writer = broken_pipe()
    assert working(body, stdout=writer, stderr=writer).returncode == 3
    assert (tmp_path / "done").exists()
    os.close(writer)


def test_a_broken_pipe_of_the_work_itself_is_no_success() -> None:
    done = working("raise BrokenPipeError('of a pool')", capture_output=True)
    assert done.returncode == 1
    assert "BrokenPipeError: of a pool" in done.stderr


def test_a_full_disk_below_standard_output_is_told_by_work_that_has_no_log() -> None:
    with Path("/dev/full").open("w") as full:  # full(4): every write gives ENOSPC
        done = working("print('result')\nreturn 0", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert "what it printed is not whole: No space left on device" in done.stderr


def test_what_is_printed_goes_into_no_file_where_standard_output_is_closed(tmp_path: Path) -> None:
    body = f"""
import os
import signal
with open({str(tmp_path / "data")!r}, "w") as file:
    print("printed"); os.write(1, b"written"); os.write(2, b"written")
    file.write("data")
return 0"""
    done = working(body, preexec_fn=lambda: os.closerange(0, 3))
    assert (done.returncode, (tmp_path / "data").read_text()) == (0, "data")
    closed = subprocess.run(
        command_line("recipes"), preexec_fn=lambda: os.closerange(0, 3), check=False, timeout=HANG_S
    )
    assert closed.returncode == 0


def test_a_name_that_the_terminal_cannot_show_ends_no_work() -> None:
    for name in ("'\\u00e9\\u4e16'", "'\\udcff'"):  # beyond ASCII; a byte of a file name that is no UTF-8
        done = working(f"print({name})\nreturn 0", capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert (done.returncode, done.stdout.strip()) == (0, name.strip("'").replace("\\u00", "\\x")), done.stderr


def test_a_reader_that_takes_nothing_stops_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """`medtrain train | less`, or Ctrl-S on a terminal: the text is dropped, and comes again with the reader."""
    monkeypatch.setattr(output_streams, "STALL_MS", 10)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    one = Outlet(writer, wait=False)
    stream = io.TextIOWrapper(io.BufferedWriter(one), "utf-8")
    for _ in range(20):
        print("x" * 1000, file=stream, flush=True)
    assert one.reason == "nobody reads it"
    assert not one.gone
    assert len(os.read(reader, 100_000)) <= 4096
    print("again", file=stream, flush=True)
    assert os.read(reader, 100) == b"again\n"
    for descriptor in (reader, writer):
        os.close(descriptor)


def test_a_training_outlives_its_terminal_and_its_pipe(demo_shards: Path, tmp_path: Path) -> None:
    """The terminal closes: saved, exit code 75. Resumed into a pipe whose reader has left: trained to its end."""
    master, terminal = os.openpty()

    def on_the_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup

    epochs = 12
    place = ["--shards", demo_shards, "--runs", tmp_path, "--run", "one"]
    arguments = ["train", "demo", *place, *SMALL, "--image_size", "32", "--epochs", epochs]
    process = subprocess.Popen(
        command_line(*arguments), stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=on_the_terminal,
    )  # fmt: skip
    os.close(terminal)
    run, deadline = tmp_path / "one", time.monotonic() + HANG_S
    while not (run / "metrics.jsonl").exists() or (run / "metrics.jsonl").read_text().count("\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline
        os.set_blocking(master, False)
        with open(master, "rb", closefd=False, buffering=0) as screen:
            screen.read(65536)
        time.sleep(0.02)
    os.close(master)  # the kernel sends HUP, and every write gives EIO from now on
    assert process.wait(HANG_S) == 75
    log = (run / "train.log").read_text()
    step = json.loads((run / "checkpoints/last/state.json").read_text())["step"]
    assert 2 <= step < epochs * 12
    assert "Traceback" not in log
    assert f"Stopped by SIGTERM; saved at step {step}" in log
    assert f"one: stopped at step {step}; resume: medtrain resume one --runs {tmp_path}" in log
    assert "takes nothing more (Input/output error)" in log

    writer = broken_pipe()
    resume = command_line("resume", "one", "--runs", tmp_path)
    assert subprocess.run(resume, stdout=writer, stderr=writer, check=False, timeout=HANG_S).returncode == 0
    os.close(writer)
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(1, epochs * 12 + 1))
    log = (run / "train.log").read_text()
    assert "takes nothing more (Broken pipe)" in log
    assert "finished (all epochs done)" in log
