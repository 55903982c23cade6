"""What the tests fork is what they would start: the same words, streams, folder, signals and ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fork_server import Forked, Server
from forked_shell import programs
from interpreter import CHECKOUTS
from limits import HANG_S

TELL = """
import json, os, signal, sys, threading
umask = os.umask(0)
told = {"argv": sys.argv, "cwd": os.getcwd(), "env": os.environ.get("OWN"), "umask": umask, "name": __name__,
        "term": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "int": str(signal.getsignal(signal.SIGINT)),
        "threads": threading.active_count(), "parent": "medtrain" in sys.modules, "in": sys.stdin.read()}
print(json.dumps(told)); print("to stderr", file=sys.stderr); sys.exit(7)
"""
KINDS = [Forked, subprocess.Popen]


def ended(kind: type[subprocess.Popen[str]], code: str, *words: str, **options: object) -> tuple[int, str, str]:
    """Exit code, output and errors of a program."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with kind([sys.executable, "-c", code, *words], text=True, **pipes, **options) as process:  # type: ignore[call-overload]
        out, err = process.communicate("words", timeout=HANG_S)
    return process.returncode, out, err


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    """Without it nothing here would be forked."""
    if Server.control is None:
        Server.start()
    assert not Server.refused, Server.refused


def test_a_program_sees_what_a_fresh_one_sees(tmp_path: Path) -> None:
    environment = {**os.environ, "OWN": "é"}
    forked, started = (ended(kind, TELL, "a", "b c", cwd=tmp_path, env=environment) for kind in KINDS)
    assert forked == started
    assert forked[0] == 7 and json.loads(forked[1])["argv"] == ["-c", "a", "b c"]


@pytest.mark.parametrize("code", ["raise SystemExit('said')", "1 / 0", "import os; os._exit(3)", "pass"])
def test_it_ends_alike(code: str) -> None:
    forked, started = (ended(kind, code) for kind in KINDS)
    assert (forked[0], forked[1]) == (started[0], started[1])
    assert forked[2].splitlines()[-1:] == started[2].splitlines()[-1:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
def test_a_signal_ends_it(number: signal.Signals) -> None:
    code = "import time; print('on', flush=True); time.sleep(60)"
    process = Forked([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "on\n" and process.poll() is None
    process.send_signal(number)
    assert process.wait(HANG_S) == -number
    process.stdout.close()


def test_what_it_starts_is_forked_by_it_and_shown_with_its_words() -> None:
    words = "open('/proc/self/cmdline').read().replace(chr(0), ' ')"
    child = f"import os, sys; print('torch' in sys.modules, os.getppid(), {words}, flush=True)"
    code = "import os, subprocess, sys; print(os.getpid(), flush=True);"
    code += f"subprocess.run([sys.executable, '-c', {child!r}, 'mine'])"
    returned, out, _ = ended(Forked, code)
    parent, shown = out.splitlines()
    assert returned == 0 and shown.startswith(f"True {parent} {sys.executable} -c") and shown.rstrip().endswith("mine")


def test_another_interpreter_is_started_as_ever(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('told at the start')\n")
    assert ended(Forked, "pass", env={**os.environ, "PYTHONPATH": str(tmp_path)})[1] == "told at the start\n"


def test_a_script_finds_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("said = 'hello'\n")
    script = tmp_path / "script.py"
    script.write_text("import sys, beside; print(beside.said, sys.argv, __name__, 'torch' in sys.modules)\n")
    with Forked([sys.executable, str(script), "a"], stdout=subprocess.PIPE, text=True, cwd="/") as process:
        assert process.stdout is not None
        assert process.stdout.read() == f"hello {[str(script), 'a']} __main__ True\n"


def in_shell(text: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What bash does with some lines whose `python` and `medtrain` are forked."""
    environment = {**os.environ, "PATH": f"{programs().path}:{os.environ['PATH']}", **variables}
    return subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, cwd=folder, env=environment, timeout=HANG_S, check=False
    )


def test_a_shell_has_its_programs_forked(tmp_path: Path) -> None:
    code = "import os, sys; print('torch' in sys.modules, os.getcwd(), sys.argv[1:], sys.stdin.read()); sys.exit(7)"
    done = in_shell(f"echo words | python -c {shlex.quote(code)} 'a b'; echo $?; medtrain --version >&2", tmp_path)
    assert done.stdout == f"True {tmp_path} ['a b'] words\n\n7\n"
    assert re.fullmatch(r"[\d.]+\n", done.stderr)
    assert in_shell("python -c 'import os; os.kill(os.getpid(), 9)'; echo $?", tmp_path).stdout == "137\n"


@pytest.mark.parametrize(("beside", "forked"), [("", True), ("torchvision", False)])
def test_a_shell_with_a_medtrain_of_its_own(tmp_path: Path, beside: str, forked: bool) -> None:
    """It is the one that is imported; where it has company, what the server has imported may be another."""
    for name in filter(None, ("medtrain", beside)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"name = 'another {name}'\n")
    code = "import sys, medtrain, torchvision as t; print(medtrain.name, 'torch' in sys.modules, getattr(t, 'name', 0))"
    variables = {"PYTHONPATH": str(tmp_path), CHECKOUTS: "1"}
    expected = "another medtrain True 0\n" if forked else "another medtrain False another torchvision\n"
    assert in_shell(f'python -c "{code}"', tmp_path, **variables).stdout == expected
