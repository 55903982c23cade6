"""Real `medtrain` processes for tests."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

# Of timm, made for tests: a step takes a tenth of the time that DenseNet121 needs; it has BatchNorm and dropout, too.
NETWORK = ["--backbone", "test_resnet"]
BRIEF = [
    "--epochs", "2", "--batch_size", "8", "--accumulate", "1", "--precision", "fp32", "--tracker", "none",
    "--workers", "1",
]  # fmt: skip
SMALL = [*NETWORK, *BRIEF]


def command_line(*arguments: object) -> list[str]:
    """`medtrain ARGUMENTS` with this interpreter."""
    return [sys.executable, "-m", "medtrain", *map(str, arguments)]


def medtrain(*arguments: object, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would; with `check`, a failure shows what it printed."""
    command = command_line(*arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, **options)
    assert not check or done.returncode == 0, f"{command} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done
