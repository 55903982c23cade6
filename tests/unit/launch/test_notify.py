"""Who is to be told is told once, in words without a secret or a name of a file; who cannot be is no fault of a run."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from command import medtrain
from webhook import SECRET, Webhook

from medtrain.config import configfile
from medtrain.config.rules import problems
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import append_json
from medtrain.launch import notify
from medtrain.launch.rank_processes import LocalRanks, for_srun
from medtrain.runs.run import Run, set_status
from medtrain.slurm.job_environment import NOTIFY_URL, for_sbatch

# A program that keeps what it is told: its arguments, and what it reads.
PROGRAM = """\
import json, pathlib, sys
pathlib.Path(sys.argv[1]).write_text(json.dumps([sys.argv[2:], json.load(sys.stdin)]))
sys.exit(int(sys.argv[1].rpartition("-")[2]))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own home, in which nobody has an address."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(NOTIFY_URL, raising=False)
    return tmp_path / "config" / "medtrain"


def made(tmp_path: Path, *whom: str, on: tuple[Any, ...] = Config().notify_on) -> Run:
    run = Run.create(tmp_path / "runs", "first")
    configfile.save(Config(run="first", notify=whom, notify_on=on), run.config_file)
    set_status(run, state="finished", step=1234)
    return run


def log(run: Run) -> str:
    return run.log.read_text() if run.log.exists() else ""


def test_a_webhook_and_a_program_are_told_what_chat_programs_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    hook = Webhook()
    monkeypatch.setenv(NOTIFY_URL, hook.address)
    monkeypatch.setenv("SLURM_JOB_ID", "812")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    run = made(tmp_path, "webhook", f"command:{sys.executable} {program} {tmp_path}/told-0")
    notify.tell_of(run, "finished")
    text = "first: finished at step 1,234 (job 812)"
    wanted = {"event": "finished", "run": "first", "step": 1234, "cause": "", "state": "finished", "job": "812",
              "attempts": 0, "text": text}  # fmt: skip
    assert hook.messages == [wanted]
    assert json.loads((tmp_path / "told-0").read_text()) == [[text], wanted]
    assert log(run) == ""
    hook.close()


def test_only_what_one_wants_to_hear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = Webhook()
    monkeypatch.setenv(NOTIFY_URL, hook.address)
    run = made(tmp_path, "webhook", on=("failed",))
    notify.tell_of(run, "finished")
    notify.tell_of(run, "failed", notify.UNUSABLE)
    assert [message["event"] for message in hook.messages] == ["failed"]
    hook.close()


@pytest.mark.parametrize(
    ("answers", "said"),
    [(500, "the server answered 500"), (302, "the server answered 302"), (0, "no answer within 0.5 s")],
)
def test_a_bad_server_is_one_warning_without_its_address(
    answers: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notify, "TIMEOUT_S", 0.5)
    hook = Webhook(answers)
    monkeypatch.setenv(NOTIFY_URL, hook.address)
    run = made(tmp_path, "webhook")
    notify.tell_of(run, "finished")
    assert len(hook.messages) == 1
    assert_one_warning(run, f"webhook: {said}", capfd)
    hook.close()


def assert_one_warning(run: Run, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    warning = f"warning: first: nobody was told by --notify that it is finished: {said}"
    assert log(run).rstrip().endswith(warning) and log(run).count("\n") == 1
    printed = capfd.readouterr()
    assert printed.out == warning + "\n" and printed.err == ""
    assert SECRET not in log(run)


def test_no_server_no_http_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path, "webhook")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv(NOTIFY_URL, f"http://127.0.0.1:{port}/hook/{SECRET}")
    notify.tell_of(run, "finished")
    assert_one_warning(run, "webhook: Connection refused", capfd)
    monkeypatch.setenv(NOTIFY_URL, f"http://[{SECRET}/")
    run.log.unlink()
    notify.tell_of(run, "finished")
    assert_one_warning(run, f"webhook: what {NOTIFY_URL} holds is no address of a webhook", capfd)
    monkeypatch.delenv(NOTIFY_URL)
    notify.tell_of(run, "finished")
    assert f"there is no address, neither in {NOTIFY_URL} nor in " in log(run)


def test_a_program_that_fails_hangs_or_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "TIMEOUT_S", 0.5)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    run = made(tmp_path, f"command:{sys.executable} {program} {tmp_path}/told-3", "command:gone")
    notify.tell_of(run, "finished")
    assert f"{Path(sys.executable).name}: it ended with exit code 3; gone: No such file or directory" in log(run)
    run.log.unlink()
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    configfile.save(Config(run="first", notify=(f"command:{hanging}",)), run.config_file)
    notify.tell_of(run, "finished")
    assert log(run).rstrip().endswith("hanging: no end within 0.5 s")


def test_the_address_lies_in_a_file_of_its_owner_alone(home: Path) -> None:
    home.mkdir(parents=True)
    file = home / "notify-url"
    file.write_text(f" https://chat.example.org/hook/{SECRET}\n")
    file.chmod(0o600)
    assert notify.address() == f"https://chat.example.org/hook/{SECRET}"
    for mode in (0o640, 0o604):
        file.chmod(mode)
        with pytest.raises(InputError, match=rf"others can read it \(it has mode {mode:o}\)") as refused:
            notify.address()
        assert SECRET not in str(refused.value) + refused.value.fix and "chmod 600" in refused.value.fix
    file.chmod(0o600)
    for text in ("", "ftp://there/x", f"hook/{SECRET}", "http://", f"http://a b/{SECRET}"):
        file.write_text(text)
        with pytest.raises(InputError, match="no address of a webhook") as refused:
            notify.address()
        assert SECRET not in str(refused.value) + refused.value.fix


def test_ranks_and_programs_do_without_the_address_and_a_successor_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NOTIFY_URL, f"http://127.0.0.1/{SECRET}")
    code = f"import os, sys; open(sys.argv[1], 'w').write(str('{NOTIFY_URL}' in os.environ))"
    assert LocalRanks(1, [sys.executable, "-c", code, str(tmp_path / "rank")]).start_and_wait({}) == 0
    assert (tmp_path / "rank").read_text() == "False"
    assert NOTIFY_URL not in for_srun() and NOTIFY_URL in for_sbatch(os.environ)
    notify._run([sys.executable, "-c", code, str(tmp_path / "program")], {"text": ""})
    assert (tmp_path / "program").read_text() == "False"


def test_settings_hold_no_address_and_are_refused_without_it() -> None:
    for whom in ((f"webhook:https://x/{SECRET}",), (f"https://x/{SECRET}", "post")):
        (problem,) = problems(Config(notify=whom))
        assert "which is a secret" in problem and SECRET not in problem
    assert "write webhook, command:/path" in problems(Config(notify=("post",)))[0]
    assert problems(Config(notify=("command:",))) and not problems(
        Config(notify=("webhook", "command:/x y", "mail:me@x.org"))
    )


def test_submitting_looks_at_it_and_shows_no_address(demo_shards: Path, tmp_path: Path) -> None:
    line = ["submit", "mednist", "--shards", demo_shards, "--runs", tmp_path / "runs", "--run", "one", "--dry-run"]
    gone = medtrain(*line, "--notify", "webhook", check=False)
    assert gone.returncode == 2 and "--notify webhook: there is no address" in gone.stderr
    gone = medtrain(*line, "--notify", "command:/nowhere/script", check=False)
    assert gone.returncode == 2 and "--notify: /nowhere/script is no program that can be run" in gone.stderr
    mailed = medtrain(*line, "--notify", "mail:me@example.org", "--notify_on", "finished", "failed", "given_up")
    assert "#SBATCH --mail-type=END,FAIL\n#SBATCH --mail-user=me@example.org\n" in mailed.stdout
    own = medtrain(*line, "--notify", "mail", "--mail_type", "REQUEUE")
    assert "#SBATCH --mail-type=REQUEUE\n" in own.stdout and "mail-user" not in own.stdout
    environment = {**os.environ, NOTIFY_URL: f"https://chat.example.org/hook/{SECRET}"}
    sent = medtrain(*line, "--notify", "webhook", env=environment)
    assert "#SBATCH" in sent.stdout and SECRET not in sent.stdout + sent.stderr


def test_a_run_that_comes_no_further_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = Webhook()
    monkeypatch.setenv(NOTIFY_URL, hook.address)
    run = made(tmp_path, "webhook")
    append_json(run.attempts, {"event": "begin", "time": 0.0})
    for attempt in range(1, 9):
        notify.tell_of_a_standstill(run)
        end = {"attempt": attempt, "event": "end", "time": 1.0, "state": "stopped", "kind": "preempted"}
        append_json(run.attempts, {**end, "step": 0 if attempt == 1 else 20})
    (message,) = hook.messages
    assert message["event"] == "stuck"
    assert message["cause"] == "5 attempts ended without a newer checkpoint (the last: preempted)"
    hook.close()


def test_a_run_that_is_no_job_has_nobody_who_sends_its_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    run = made(tmp_path, "mail")
    notify.tell_of(run, "finished")
    assert log(run).rstrip().endswith("mail: Slurm sends it, and this run is no job")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    run.log.unlink()
    notify.tell_of(run, "finished")
    assert log(run) == ""
