"""A bar and lines in a real terminal: no line is written into a bar, none is lost; in a pipe there is no bar."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import in_terminal, lines_seen

from medtrain.core import progress
from medtrain.core.progress import Progress

PROGRAM = """
import logging, sys, warnings
from medtrain.core.console import busy, note, say, show_error, warn
from medtrain.core.progress import Progress
logging.basicConfig(format="%(message)s")
before = sys.stdout, sys.stderr
bar = Progress(400, "packing", "images")
handler = logging.StreamHandler()
logging.getLogger("late").addHandler(handler)
logging.getLogger("late").propagate = False
for number in range(400):
    bar.advance(1, f"image {number}")
    if number % 40 == 20:
        say(f"say {number}")
        warn(f"warn {number}")
        note(f"note {number}")
        busy(f"busy {number}")
        warnings.warn_explicit(f"python {number}", UserWarning, "file.py", number)
        logging.getLogger("late").warning(f"log {number}")
        print("in ", end="")
        print(f"pieces {number}")
show_error("problem", "remedy")
sys.stderr.write("no end of line")
bar.close()
bar.close()
assert (sys.stdout, sys.stderr) == before
print("\\nend")
"""
KINDS = ("say", "warning: warn", "note: note", "busy", "file.py:{0}: UserWarning: python", "log", "in pieces")
SEEN = [
    *(f"{kind.format(number)} {number}" for number in range(20, 400, 40) for kind in KINDS),
    "error: problem",
    "  fix: remedy",
    "no end of line",
    "end",
]


def test_every_line_stands_above_the_bar_whoever_writes_it(tmp_path: Path) -> None:
    code, written = in_terminal([sys.executable, "-c", PROGRAM], tmp_path)
    assert code == 0, written
    assert "packing:" in written and "image 399" in written, "there was a bar"
    assert [line for line in lines_seen(written) if line] == SEEN


def test_a_pipe_or_a_file_has_the_lines_and_no_bar() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    expected = [line for line in SEEN if not line.startswith("busy")]
    assert [line for line in done.stdout.splitlines() if line] == expected


def test_lines_of_a_pipe_are_no_results(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They go to standard error: standard output may be one JSON document."""
    now = iter([0.0, 10.0, 31.0, 31.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    bar = Progress(100, "reading", "images")
    for _ in range(3):
        bar.advance(10)
    bar.close()
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"reading: 20 of 100 images, 0\.\d/s\n", err), err
