"""The command line as a user meets it: real processes, what they print, what they import, how they exit."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import medtrain
from snippets import in_forks

from medtrain.cli.command_table import COMMANDS
from medtrain.config import configfile, fingerprint
from medtrain.core.jsonfiles import write_json
from medtrain.datasets.sources import mura_demo
from medtrain.runs.run import Run

BOXES = re.compile("[\u2500-\u257f]")
COLOUR = "\x1b["


def on_a_terminal(*arguments: object, **environment: str) -> str:
    """What a command shows on a terminal, which is a real pseudo-terminal."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "medtrain", *map(str, arguments)]
    unset = {"NO_COLOR", "TERM", "COLUMNS"}
    env = {**{key: value for key, value in os.environ.items() if key not in unset}, "TERM": "xterm", **environment}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env):
        os.close(theirs)
        shown = b""
        try:
            while some := os.read(ours, 65536):
                shown += some
        except OSError:  # the last process that held the other end is gone
            pass
    os.close(ours)
    return shown.decode()


def test_the_guard_against_torch_works(no_torch: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", "import torch"], env=no_torch, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (99, b"torch was imported\n")


def imports_of(code: str) -> set[str]:
    """Every module that a fresh Python imports to run `code`."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    lines = subprocess.run(command, text=True, check=True, capture_output=True).stderr.splitlines()
    return {line.rpartition("|")[2].strip() for line in lines}


def test_help_lists_every_command_and_imports_next_to_nothing() -> None:
    text = medtrain("--help").stdout
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.what)}$", text, re.MULTILINE), name
    assert text == medtrain("help").stdout == medtrain("-h").stdout == medtrain().stdout
    more = imports_of("from medtrain.cli import main as cli; cli.run(['--help'])") - imports_of("pass")
    assert more <= {
        "gc",
        "medtrain",
        "medtrain.cli",
        "medtrain.cli.main",
        "medtrain.cli.command_table",
        "medtrain.core",
        "medtrain.core.errors",
        "collections",
        "collections.abc",
    }


def test_every_command_exists_and_explains_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from medtrain.cli import flags

    monkeypatch.setenv("COLUMNS", "80")
    for name, command in COMMANDS.items():
        told = (["--help"], ["--help-all"]) if command.usage else (["--help"],)
        for words in told:
            call = flags.call_with_settings if command.usage else functools.partial(flags.call, command.place)
            assert call(name, words) == 0
            text = capsys.readouterr().out
            assert text.startswith((f"usage: medtrain {name} ", f"medtrain {name}")), name
            assert max(map(len, text.splitlines())) <= 80, name
            assert not re.search(r"None\b(?! that)|\{,|'' |default: \)| \.\.\.$|\(default[^)]*\)\.? \(default", text), (
                text
            )
            flagged = re.findall(r"(?m)^  (?:-\w, )?(--[\w-]+)", text)
            assert len(flagged) == len(set(flagged)) > 0, name


def test_light_commands_do_without_torch(
    no_torch: dict[str, str], demo_tree: Path, demo_shards: Path, tmp_path: Path
) -> None:
    configfile.save(configfile.resolve("mednist"), Run.create(tmp_path / "runs", "first").config_file)
    (tmp_path / "here").mkdir()
    dry = ["submit", "mednist", "--dry-run", "--shards", demo_shards, "--time", "1:00:00", "--partition", "gpu"]
    lines = (
        ["--help"],
        ["--version"],
        ["recipes"],
        ["status", "--runs", tmp_path / "runs"],
        ["status", "first", "--json", "--runs", tmp_path / "runs"],
        ["data", "list"],
        ["check", "demo", "--root", demo_tree],
        ["verify", demo_shards],
        dry,
        ["train", "mednist", "--help"],
        ["submit", "mednist", "--help-all"],
        ["train", "--help"],
        ["train", "demo", "--check_data", "--root", demo_tree, "--metadata_only"],
        *(  # every other command's help
            [*command.split(), "--help"] for command, about in COMMANDS.items() if not about.usage
        ),
    )
    snippets = {
        " ".join(words): f"sys.argv[1:] = {words!r}; import runpy; runpy.run_module('medtrain', run_name='__main__')"
        for words in ([str(word) for word in line] for line in lines)
    }
    prelude = "import sys, numpy, yaml, tyro"  # what a command takes of medtrain it imports itself
    for words, answer in in_forks(prelude, snippets, env=no_torch, cwd=tmp_path / "here").items():
        assert answer.code == 0 and answer.out, f"{words}: {answer}"
    assert not list((tmp_path / "here").iterdir()), "none of these writes anything"


def test_dry_run_prints_a_batch_script_without_slurm(demo_shards: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PATH": str(tmp_path)}
    words = ["--shards", demo_shards, "--partition", "gpu", "--nodes", 2, "--run", "first"]
    script = medtrain("submit", "mednist", "--dry-run", *words, env=env, cwd=tmp_path).stdout
    assert script.startswith("#!/bin/bash\n")
    assert {"#SBATCH --nodes=2", "#SBATCH --partition=gpu", "#SBATCH --requeue"} <= set(script.splitlines())
    done = medtrain("submit", "mednist", *words, env=env, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no Slurm here" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trian", "there is no command 'trian' (did you mean train?)"),
        ("data lst", "there is no command 'data lst' (did you mean data list?)"),
        ("train mednst", "there is no recipe 'mednst' (did you mean mednist?)"),
        ("submit mednst --dry-run", "there is no recipe 'mednst' (did you mean mednist?)"),
        ("train chest --metadata all.csv", "trains from shards, and --metadata names a table"),
        ("train mura --check_data", "mura: --root is not given"),
        ("train mura_baseline --check-data --root .", "has neither train/ and valid/"),
        ("submit demo --gpus_per_node a100", "--gpus-per-node: 'a100' is no number; write a whole one"),
        ("train demo --lr fast", "--lr: 'fast' is no number; write one like 0.5"),
        ("train mura --check_data --root . --epochs 3", "medtrain check does not know --epochs"),
        ("train mrua --check_data --root .", "there is no recipe 'mrua' (did you mean mura?)"),
        ("train chest --check_data --root .", "recipe chest is of no one dataset"),
        ("train --check_data mura --root .", "--check_data comes before the name"),
        ("submit mura --check_data", "medtrain submit mura does not know --check_data"),
        ("train mednist --epochz 3", "--epochz (did you mean --epochs?)"),
        ("train mednist --epochs three", "--epochs"),
        ("train mednist --epochs 0", "epochs is 0: at least 1 is needed"),
        ("train mednist -c nowhere.yaml", "nowhere.yaml: cannot be read (No such file or directory)"),
        ("train --epochs 3", "--epochs comes before the name"),
        ("shard demo", "--root"),
        ("shard demmo --root .", "there is no dataset 'demmo' (did you mean demo?)"),
        ("shard demo --roots .", "--roots (did you mean --root?)"),
        ("verify nowhere", "nowhere"),
        ("status first", "there is no run 'first'"),
        ("logs first -f", "there is no run 'first'"),
        ("logs first --folow", "--folow (did you mean --follow?)"),
        ("resume first", "there is no run 'first'"),
    ],
)
def test_a_users_mistake_is_two_lines_and_exit_code_2(words: str, said: str, tmp_path: Path) -> None:
    done = medtrain(*words.split(), check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    problem, fix = done.stderr.splitlines()
    assert problem.startswith("error: ")
    assert said in problem
    assert fix.startswith("  fix: ")
    assert COLOUR not in done.stderr


def test_piped_help_is_plain_text() -> None:
    for words in (["train", "mednist", "--help"], ["status", "--help"], ["--help"], ["recipes"]):
        done = medtrain(*words, env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"})
        assert not BOXES.search(done.stdout), words
        assert COLOUR not in done.stdout
    text = medtrain("train", "mednist", "--help-all").stdout
    for name, value in fingerprint.flat(configfile.resolve("mednist")).items():
        own = name.split(".")[-1]
        shown = f"{value:g}" if type(value) is float else str(value) if type(value) is int else ""
        assert f"  --{own} {shown}" in text, f"help shows the recipe's own value of {name}"


def test_what_most_runs_need_is_one_screen_of_help() -> None:
    for words in (["mednist"], ["echo"], ["mura"], []):
        for command in ("train", "submit", "pipeline"):
            lines = medtrain(command, *words, "--help", env={**os.environ, "COLUMNS": "80"}).stdout.splitlines()
            assert len(lines) <= 61 and max(map(len, lines)) <= 80, (command, words)
    clip, image = (medtrain("train", name, "--help").stdout for name in ("echo", "mednist"))
    assert "--frames 32 " in clip and "--frames" not in image and "--study_type" not in image
    assert "--lr 0.0001 " in image and "all 119 settings: medtrain train mednist --help-all" in image
    resumed = medtrain("resume", "--help").stdout
    assert "--update-code " in resumed and "--lr" not in resumed
    assert medtrain("help", "train").stdout == medtrain("train", "--help").stdout


def test_no_color_is_honoured_on_a_terminal() -> None:
    for words in (["status", "--help"], ["trian"], ["status", "--rnus", "x"]):
        assert COLOUR in on_a_terminal(*words), words
        assert COLOUR in on_a_terminal(*words, NO_COLOR=""), "empty counts as not set (no-color.org)"
        plain = on_a_terminal(*words, NO_COLOR="1")
        assert plain
        assert COLOUR not in plain


def test_status_ends_where_the_terminal_does_and_colours_states(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "a-name-of-some-length")
    configfile.save(configfile.resolve("mednist"), run.config_file)
    write_json(run.status_file, {"state": "failed", "error": "a sentence that is longer than a terminal is wide " * 2})
    shown = on_a_terminal("status", "--runs", tmp_path)
    assert "\x1b[31mfailed\x1b[0m" in shown
    lines = re.sub(r"\x1b\[\d*m", "", shown).splitlines()
    assert max(map(len, lines)) == 80 and lines[2].endswith("…")
    piped = medtrain("status", "--runs", tmp_path).stdout
    assert COLOUR not in piped and "longer than a terminal is wide a sentence" in piped


def test_json_is_one_document(tmp_path: Path) -> None:
    assert set(json.loads(medtrain("recipes", "--json").stdout)) == set(configfile.recipe_names())
    assert json.loads(medtrain("status", "--json", cwd=tmp_path).stdout) == []


def test_train_checks_data_as_check_does(tmp_path: Path) -> None:
    mura_demo.download(tmp_path / "bones", samples=50)
    for recipe, dataset, folder in (
        ("mura_demo", "mura_demo", "bones"),
        ("mura", "mura", "bones/MURA-v1.1"),
        ("mura_baseline", "mura", "bones"),
    ):
        for more in ([], ["--json", "--metadata_only"]):
            words = ["--root", folder, *more]
            told = medtrain("train", recipe, "--check_data", *words, cwd=tmp_path).stdout
            assert told == medtrain("check", dataset, *words, cwd=tmp_path).stdout
            assert (json.loads(told)["records"] == 50) if more else "XR_WRIST" in told
    assert [path.name for path in tmp_path.iterdir()] == ["bones"], "nothing is trained"


def test_data_alone_lists_its_commands() -> None:
    for words in (["data"], ["data", "--help"]):
        text = medtrain(*words).stdout
        assert all(name in text for name in COMMANDS if name.startswith("data "))
        assert "submit" not in text


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for words in (["--help"], ["train", "mednist", "--help"], ["recipes"]):
        command = [sys.executable, "-m", "medtrain", *words]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
        assert (done.returncode, done.stderr) == (0, b""), words
    os.close(writer)


def test_the_installed_command_is_the_same() -> None:
    installed = shutil.which("medtrain", path=str(Path(sys.executable).parent))
    if installed is None:
        pytest.skip("medtrain is not installed beside this Python: pip install -e .")
    done = subprocess.run([installed, "trian"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, medtrain("trian", check=False).stderr)


def test_a_bug_keeps_its_traceback() -> None:
    code = "from medtrain.cli import main as cli; cli.COMMANDS['recipes'].place = 'runs:nothing';cli.run(['recipes'])"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
