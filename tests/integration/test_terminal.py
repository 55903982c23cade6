"""Commands in a real terminal: whole lines beside bars, and Ctrl-C answered at once."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from command import SMALL, medtrain
from terminal import in_terminal, lines_seen, medtrain_in_terminal

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
TRAINED = [
    r"medtrain train: reading the settings",
    r"run one in .*/runs/one",
    r"starting the ranks: PyTorch, the network, the shards",
    TIME + r"one: test_resnet on 96 images, 1 rank on CPU.*",
    TIME + r"starting from the beginning: no checkpoint is there yet",
]


def test_ctrl_c_is_answered_at_once_and_no_line_is_garbled(demo_shards: Path, tmp_path: Path) -> None:
    words = ["train", "demo", "--shards", demo_shards, "--run", "one", *SMALL, "--epochs", "4000", "--patience", "0"]
    code, written = medtrain_in_terminal(*words, folder=tmp_path, interrupt_after="epoch 1 of 4000")
    assert code == 75, written
    seen = [line for line in lines_seen(written) if line]
    epochs = [line for line in seen if re.match(TIME + r"epoch \d+ of 4000: .*since this start$", line)]
    assert epochs
    last = [
        r"stopping after this step, with a checkpoint; Ctrl-C again ends it at once, without one",
        TIME + r"Stopped by \w+; saved at step \d+",
        r"one: stopped at step \d+; resume: medtrain resume one",
    ]
    others = [line for line in seen if line not in epochs]
    for line, pattern in zip(others, [*TRAINED, *last], strict=True):
        assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r}"
    assert "%|" in written, "there was a bar"


def test_a_command_shows_what_a_pipe_has_and_no_rest_of_its_bar(demo_tree: Path, tmp_path: Path) -> None:
    for words in (
        ["check", "demo", "--root", demo_tree, "--workers", "1"],
        ["shard", "demo", "--root", demo_tree, "--out", "shards", "--workers", "1"],
        ["verify", "shards"],
    ):
        code, written = medtrain_in_terminal(*words, folder=tmp_path)
        assert code == 0 and "%|" in written, written
        piped = medtrain(*words, cwd=tmp_path)
        plain = (piped.stdout + piped.stderr).splitlines()
        busy = ["reading the list of demo"] if words[0] != "verify" else []
        assert sorted(lines_seen(written)[:-1]) == sorted([*busy, *plain])


def test_a_command_that_ctrl_c_ends_says_so(tmp_path: Path) -> None:
    program = """
import sys
from medtrain.cli import main
def interrupted(arguments):
    raise KeyboardInterrupt
main._dispatch = interrupted
sys.exit(main.run(["check", "demo"]))
"""
    assert in_terminal([sys.executable, "-c", program], tmp_path)[0] == 130
    assert lines_seen(in_terminal([sys.executable, "-c", program], tmp_path)[1])[0] == (
        "medtrain check: stopped by Ctrl-C"
    )
