"""What reaches a terminal: never a stranger's commands to it, and errors of the system in two lines."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import command_line, medtrain

from medtrain.cli import main
from medtrain.core import console
from medtrain.core.errors import REMEDIES, of_system

EVIL = "a\x1b]0;owned\x07\x1b[2J\x9b31m\rb\u202egnp.exe"
SHOWN = "a\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\x0db\\u202egnp.exe"


def test_escape_codes_and_line_breaks_of_names_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    """C0 and C1 controls (ECMA-48 5.2, 5.3), marks of direction (Unicode TR36); a byte that is no UTF-8 (PEP 383)."""
    console.say(f"{EVIL}\nsecond line\tof ours")
    console.warn(f"{EVIL}\nerror: not ours")
    console.show_error(f"{EVIL}\nerror: not ours", f"rm {EVIL}\n")
    console.say(console.table((EVIL, "a\nb"), [(EVIL, "c\td")]))
    console.say(os.fsdecode(b"caf\xe9.png"))
    out, err = capsys.readouterr()
    assert not {*"\x1b\x07\x9b\r\u202e"} & {*out, *err}
    assert out.splitlines()[:2] == [SHOWN, "second line\tof ours"]
    assert err.splitlines() == [f"warning: {SHOWN}\\nerror: not ours", f"error: {SHOWN}\\nerror: not ours",
                                f"  fix: rm {SHOWN}\\n"]  # fmt: skip
    assert f"{SHOWN}  c\\td" in out and "a\\nb" in out and out.endswith("caf\\xe9.png\n")


def test_ordinary_text_of_any_language_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("Röntgen", "胸部X線", "שלום", "👩‍⚕️", "a\tb", "50 % ± 3"):
        console.say(text)
        assert capsys.readouterr().out == f"{text}\n"


@pytest.mark.parametrize("words", [["data", "info"], ["check"], ["train"], ["status"], ["predict", "x"], ["shard"]])
def test_a_name_on_the_command_line_is_not_obeyed_either(words: list[str], tmp_path: Path) -> None:
    more = ["--root", "."] if words[0] in ("check", "shard") else []
    done = medtrain(*words, EVIL, *more, check=False, cwd=tmp_path)
    assert done.returncode == 2 and not {*"\x1b\x07\x9b\u202e"} & {*done.stderr}
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("number", sorted(REMEDIES))
def test_what_the_system_refuses_is_two_lines(
    number: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Raised where any command's own code would meet it; a full disk and others are met for real below."""

    def refused(arguments: list[str]) -> int:
        raise OSError(number, os.strerror(number), "/data/x")

    monkeypatch.setattr(main, "_dispatch", refused)
    before = os.dup(1)
    try:
        assert main.run(["check"]) == 1
    finally:
        os.dup2(before, 1)
        os.close(before)
    assert capfd.readouterr().err == f"error: /data/x: {os.strerror(number)}\n  fix: {REMEDIES[number]}\n"


def test_an_error_that_no_user_can_change_keeps_its_traceback() -> None:
    assert of_system(OSError("no number")) is None and of_system(OSError(errno.EINVAL, "x")) is None


def test_real_refusals_of_the_system_are_two_lines(tmp_path: Path, demo_shards: Path) -> None:
    (tmp_path / "file").touch()
    long, settings = "n" * 300, ["--shards", demo_shards, "--run", "a"]
    cases = [
        (["data", "download", "demo", "--root", tmp_path / "file" / "demo"], "File exists"),
        (["data", "download", "demo", "--root", tmp_path / long], "File name too long"),
        (["train", "demo", *settings, "--runs", tmp_path / "file" / "runs"], "Not a directory"),
        (["train", "demo", *settings, "--runs", tmp_path / long], "File name too long"),
        (["status", "--runs", f"/{long}"], "File name too long"),
    ]
    for words, said in cases:
        done = medtrain(*words, check=False, cwd=tmp_path)
        assert done.returncode in (1, 2) and said in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 2 and done.stderr.startswith("error: "), done.stderr


def test_a_full_disk_behind_standard_output_is_two_lines() -> None:
    for words in (["recipes"], ["data", "list"], ["--help"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(command_line(*words), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 2, done.stderr
        assert "No space left on device" in done.stderr


def test_a_standard_output_that_was_closed_from_the_beginning_is_no_fault() -> None:
    script = f"exec {sys.executable} -m medtrain recipes >&-"
    done = subprocess.run(["sh", "-c", script], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
