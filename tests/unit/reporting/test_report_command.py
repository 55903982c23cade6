"""The command report: what it writes where, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from page_checks import checked
from written_run import written

from medtrain.cli.commands import report as commands
from medtrain.core.errors import InputError
from medtrain.runs.run import set_status
from medtrain.runs.run_group import RunGroup


def test_a_run_that_has_no_report_yet_says_what_to_do(tmp_path: Path) -> None:
    run = written(tmp_path, "multiclass")
    run.report.unlink()
    set_status(run, state="running")
    (run.checkpoints / "best").unlink()
    (run.checkpoints / "step-00000008-epoch-002").rename(run.folder / "elsewhere")
    with pytest.raises(InputError, match="run one has no report yet") as raised:
        commands.report("one", runs=tmp_path)
    assert "medtrain resume one --runs" in raised.value.fix and "evaluate" not in raised.value.fix
    (run.folder / "elsewhere").rename(run.checkpoints / "step-00000008-epoch-002")
    with pytest.raises(InputError) as raised:
        commands.report("one", runs=tmp_path)
    assert "medtrain evaluate one --runs" in raised.value.fix and not run.page.exists()


def test_no_file_that_is_no_report_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, "score")
    precious, mine = tmp_path / "precious.html", tmp_path / "mine.html"
    precious.write_text("<html>a thesis</html>")
    with pytest.raises(InputError, match="is no report of medtrain"):
        commands.report("one", out=precious, runs=tmp_path)
    assert precious.read_text() == "<html>a thesis</html>"
    with pytest.raises(InputError, match="is a folder"):
        commands.report("one", out=tmp_path, runs=tmp_path)
    with pytest.raises(InputError, match="there is no such folder"):
        commands.report("one", out=tmp_path / "not" / "there.html", runs=tmp_path)
    for _ in range(2):  # an earlier report is replaced, and not by a page of another kind
        commands.report("one", out=mine, runs=tmp_path)
    with pytest.raises(InputError, match="is the report of a run, which a model card would replace"):
        commands.report("one", out=mine, markdown=True, runs=tmp_path)
    checked(mine)
    capsys.readouterr()
    commands.report("one", runs=tmp_path, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "run": "one", "report": str(tmp_path / "one" / "report.html"), "split": "test",
        "bytes": (tmp_path / "one" / "report.html").stat().st_size,
    }  # fmt: skip


def test_a_card_that_was_edited_is_kept(tmp_path: Path) -> None:
    run = written(tmp_path, "score")
    for _ in range(2):  # one as it was written is written anew
        commands.report("one", markdown=True, runs=tmp_path)
    text = run.model_card.read_text()
    mark, _, rest = text.partition("\n")
    for edited, words in (
        (text.replace("*To be written by the authors.*", "Research only.", 1), "was edited"),
        (f"{text}\nOne line more.\n", "was edited"),
        (f"<!-- medtrain report: a model card -->\n{rest}", "has no checksum"),
    ):
        run.model_card.write_text(edited)
        with pytest.raises(InputError, match=words) as raised:
            commands.report("one", markdown=True, runs=tmp_path)
        assert raised.value.fix == "give another --out, or move it" and run.model_card.read_text() == edited
    commands.report("one", out=tmp_path / "other.md", markdown=True, runs=tmp_path)
    assert (tmp_path / "other.md").read_text() == text and mark in text


def test_a_name_that_is_neither_a_run_nor_a_group(tmp_path: Path) -> None:
    written(tmp_path, "score", "first")
    with pytest.raises(InputError, match=r"no run and no group of runs 'frist'.*did you mean first"):
        commands.report("frist", runs=tmp_path)
    with pytest.raises(InputError, match=r"no run and no group of runs 'frist'.*did you mean first"):
        commands.report(f"{tmp_path}/frist")
    commands.report(f"{tmp_path}/first/")
    assert (tmp_path / "first" / "report.html").is_file()


def test_no_torch(tmp_path: Path, no_torch: dict[str, str]) -> None:
    written(tmp_path, "multiclass")
    command = [sys.executable, "-m", "medtrain", "report", "one", "--runs", str(tmp_path)]
    done = subprocess.run(command, env=no_torch, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"report: {tmp_path / 'one' / 'report.html'}\n"


def test_flags_of_one_run_are_refused_for_a_group(tmp_path: Path) -> None:
    RunGroup.create(tmp_path, "both", ["one", "two"], {}, False)
    with pytest.raises(InputError, match="both is a group of runs") as raised:
        commands.report("both", markdown=True, runs=tmp_path)
    assert "one, two" in raised.value.fix
