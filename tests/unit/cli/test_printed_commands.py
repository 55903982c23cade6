"""Every command that medtrain prints works where it is printed: it names the folder of the runs, and is quoted."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

import medtrain
from medtrain.cli import main
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import write_json
from medtrain.runs.run import Run, again_command, command_for, set_status

PACKAGE = Path(medtrain.__file__).parent
OF_A_RUN = r"medtrain (status|logs|stop|resume|retry|report|evaluate|predict|explain|verify|diff|sync|rm) (?:'|\")?$"
QUOTED = ("shlex.quote", "here", "there", "folder")  # verify takes a path too, which is quoted there


def placed_by_hand(tree: ast.AST) -> list[str]:
    """f-strings that write a command and a name by themselves, where command_for would add --runs and quote."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for before, after in zip(node.values, node.values[1:], strict=False):
            text = before.value if isinstance(before, ast.Constant) else ""
            if re.search(OF_A_RUN, str(text)) and isinstance(after, ast.FormattedValue):
                value = ast.unparse(after.value)
                found += [] if value.startswith(QUOTED) else [f"{node.lineno}: {text}{{{value}}}"]
    return found


def test_no_command_for_a_run_is_written_by_hand() -> None:
    by_hand = {path.name: placed_by_hand(ast.parse(path.read_text())) for path in PACKAGE.rglob("*.py")}
    assert not {name: lines for name, lines in by_hand.items() if lines}, "use run.command_for"


def test_the_reader_sees_them() -> None:
    assert placed_by_hand(ast.parse('f"see why: medtrain logs {run.name} -f"'))
    assert not placed_by_hand(ast.parse('f"see why: {command_for(run, 1)} -f"'))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs, beside the one that commands are typed in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Path("..") / "my runs; $HOME"


def test_a_printed_command_finds_the_run_from_there(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.create(runs, "first one")
    run.config_file.write_text("recipe: mednist\n")
    set_status(run, state="crashed", step=5)
    assert main.run(["status", "--runs", str(runs), "--json"]) == 0
    note = medtrain_words(capsys.readouterr().out.split('"note": "')[1].split('",')[0])
    assert note[:2] == ["resume", "first one"]
    assert main.run(["status", *note[1:]]) == 0
    assert "first one" in capsys.readouterr().out
    with pytest.raises(InputError) as raised:
        Run.find(runs, "frist one")
    assert main.run(medtrain_words(raised.value.fix)) == 0
    assert "first one" in capsys.readouterr().out


def medtrain_words(text: str) -> list[str]:
    """The words of the command in a text, as a shell takes them."""
    return shlex.split(text.replace('\\\\"', '"').partition("medtrain ")[2].partition("   ")[0])


def test_the_default_folder_is_not_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_for(Run("runs/first"), "logs") == "medtrain logs first"
    assert command_for(Run(tmp_path / "runs" / "first"), "logs") == "medtrain logs first"
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert command_for(Run(tmp_path / "runs" / "first"), "logs") == f"medtrain logs first --runs {tmp_path}/runs"


def test_a_run_that_never_began_goes_on_with_its_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run.create("runs", "bones-XR_HAND")
    (tmp_path / "runs" / "bones").mkdir()
    write_json(tmp_path / "runs" / "bones" / "group.json", {"runs": ["bones-XR_HAND"], "packing": {"out": "x"}})
    assert again_command(run) == "medtrain retry bones"
