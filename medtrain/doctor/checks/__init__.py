"""What `medtrain doctor` looks at: small checks with one finding each."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

TOO_LONG_SECONDS = 30.0
ADMIN = "ask the administrators of the cluster"


@dataclass(frozen=True)
class Finding:
    """What a check found: good, doubtful, or an obstacle; `fix` says what to do about the last two."""

    state: Literal["ok", "warn", "FAIL"]
    text: str
    fix: str = ""


def ok(text: str) -> Finding:
    """All is well, or there is nothing to worry about."""
    return Finding("ok", text)


def warn(text: str, fix: str) -> Finding:
    """Training works, but something will hurt."""
    return Finding("warn", text, fix)


def fail(text: str, fix: str) -> Finding:
    """Training will not work."""
    return Finding("FAIL", text, fix)


Check = Callable[[], Finding | None]


def examine(check: Check) -> Finding | None:
    """A check's finding; a check that crashes is a finding too."""
    try:
        return check()
    except ModuleNotFoundError as error:
        return fail(f"the package {error.name} is missing", "see the check `packages`")
    except Exception as error:
        return fail(
            f"this check crashed: {type(error).__name__}: {error}",
            "please report it, with the output of: medtrain doctor",
        )


@dataclass(frozen=True)
class Answer:
    """What a command said: its exit code (None: it took too long) and its output."""

    code: int | None
    out: str
    error: str

    @property
    def reason(self) -> str:
        """Why it did not work, as one short line."""
        if self.code is None:
            return "no answer in time"
        said = (self.error or self.out).strip()
        if "Traceback" in said:
            said = said.splitlines()[-1]
        return " ".join(said.split())[-300:] or f"exit code {self.code}"


def ask(*command: str, seconds: float = TOO_LONG_SECONDS, cwd: str | None = None) -> Answer:
    """Run a command that may hang: a dead controller or a broken driver must not hold the doctor up."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds, cwd=cwd)
    except subprocess.TimeoutExpired:
        return Answer(None, "", "")
    return Answer(done.returncode, done.stdout, done.stderr)
