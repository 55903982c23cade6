"""Real `medtrain` commands for tests."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from fork_server import Forked
from limits import HANG_S

# Of timm, made for tests: a step takes a tenth of the time that DenseNet121 needs; it has BatchNorm and dropout, too.
NETWORK = ["--backbone", "test_resnet"]
BRIEF = [
    "--epochs", "2", "--batch_size", "8", "--grad_accumulation", "1", "--precision", "fp32", "--tracker", "none",
    "--workers", "1",
]  # fmt: skip
SMALL = [*NETWORK, *BRIEF]


def command_line(*arguments: object) -> list[str]:
    """`medtrain ARGUMENTS` with this interpreter."""
    return [sys.executable, "-m", "medtrain", *map(str, arguments)]


def run(command: list[str], input: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """As subprocess.run with captured text, forked."""
    piped = {"stdin": subprocess.PIPE} if input is not None else {}
    with Forked(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **piped, **options) as process:
        try:
            out, err = process.communicate(input, timeout=HANG_S)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def medtrain(*arguments: object, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would, forked; with `check`, a failure shows what it printed."""
    done = run(command_line(*arguments), **options)
    assert not check or done.returncode == 0, f"{done.args} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def read_until(words: str, process: subprocess.Popen[str]) -> str:
    """What a process prints, up to the line that holds these words: it fails where the process ends without them."""
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if words in line:
            return printed
    raise AssertionError(f"it ended without {words!r}:\n{printed}")


def wait_until(holds: Callable[[], object], process: subprocess.Popen[Any], what: str = "it") -> None:
    """Until something holds, while a process lives; else what it printed is shown."""
    deadline = time.monotonic() + HANG_S
    while not holds():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
