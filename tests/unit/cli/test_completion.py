"""A real shell completes commands, recipes, datasets, runs and flags."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from command import medtrain

from medtrain import datasets
from medtrain.cli.command_table import COMMANDS
from medtrain.config import configfile


@cache
def script(shell: str) -> str:
    return medtrain("completion", shell).stdout


def completed(line: str, folder: Path, **variables: str) -> set[str]:
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}"
    code = f"{script('bash')}\n{asked}\n_medtrain\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    env = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), **variables}
    done = subprocess.run(["bash", "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=True)
    assert not done.stderr
    return set(done.stdout.split())


def test_bash_completes(tmp_path: Path) -> None:
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "mine.yaml").touch()
    assert completed("medtrain ", tmp_path) == {name.split()[0] for name in COMMANDS}
    assert completed("medtrain st", tmp_path) == {"status", "stop"}
    assert completed("medtrain recipe ", tmp_path) == {"new", "schema"}
    assert completed("medtrain train ", tmp_path) == {*configfile.recipe_names(), "mine.yaml"}
    assert completed("medtrain shard ", tmp_path) == set(datasets.names())
    assert completed("medtrain data info f", tmp_path) == {"folder"}
    assert completed("medtrain resume ", tmp_path) == {"first"}
    assert completed("medtrain train mednist --batch", tmp_path) == {"--batch_size"}
    assert completed("medtrain data explore folder --ro", tmp_path) == {"--root"}
    assert "--help-all" in completed("medtrain submit mednist --help", tmp_path)
    assert completed("medtrain train mednist --shards ", tmp_path) == set(), "files, which bash itself has"


def test_bash_completes_clusters(tmp_path: Path) -> None:
    """By the names of the files in all folders, and by paths behind --cluster."""
    for file in ("config/medtrain/clusters/own.yaml", "the lab's/lab.yaml", "here.yaml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    named = {"MEDTRAIN_CLUSTERS": f"{tmp_path}/the lab's:{tmp_path}/nowhere"}
    assert completed("medtrain cluster show ", tmp_path, **named) == {"lab", "own", "example"}
    assert completed("medtrain submit mednist --cluster l", tmp_path, **named) == {"lab"}
    assert completed("medtrain doctor --cluster ", tmp_path) == {"own", "example", "here.yaml"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_another_shell_reads_its_own(shell: str, tmp_path: Path) -> None:
    """By the shell where it is there; else its lines are looked at."""
    text = script(shell)
    if shell == "zsh":
        assert text.endswith(script("bash"))
    else:
        told = {line.split(" -a ")[1].split()[0] for line in text.splitlines() if "use_subcommand -a " in line}
        assert told == {name.split()[0] for name in COMMANDS}
    if program := shutil.which(shell):
        (tmp_path / "script").write_text(text)
        done = subprocess.run([program, "-n", str(tmp_path / "script")], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
