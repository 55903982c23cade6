"""A run under another name: it resumes to the same bits, and is verified."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import medtrain
from older_run import end_of
from short_training import train

from medtrain.core.errors import InputError
from medtrain.runs.renaming import rename
from medtrain.runs.run import Run
from medtrain.runs.run_group import RunGroup


def test_a_renamed_run_resumes_to_the_same_bits(demo_shards: Path, tmp_path: Path) -> None:
    train(demo_shards, tmp_path, "calm", "--epochs", "2")
    train(demo_shards, tmp_path, "typo", "--epochs", "1")
    done = medtrain("rename", "typo", "first", "--runs", tmp_path, "--json")
    assert json.loads(done.stdout) == {"run": "first", "folder": str(tmp_path / "first")}
    assert not (tmp_path / "typo").exists()
    medtrain("verify", "first", "--runs", tmp_path, "--files_only")
    medtrain("resume", "first", "--runs", tmp_path, "--epochs", "2")
    calm, first = (Run(tmp_path / name) for name in ("calm", "first"))
    assert end_of(first)[0] and end_of(first) == end_of(calm)
    assert "run: first" in first.config_file.read_text()


def test_what_cannot_be_renamed(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "one")
    run.config_file.write_text("recipe: mednist\n")
    RunGroup.create(tmp_path, "bones", ["bones-1"], {}, by_slurm=False)
    member = Run.create(tmp_path, "bones-1")
    member.config_file.write_text("recipe: mednist\n")
    (tmp_path / "there").mkdir()
    for which, name, problem in (
        (run, "../two", "cannot be used"),
        (run, "there", "exists already"),
        (run, "bones", "is a group of 1 run"),
        (run, "bones-1", "exists already"),
        (member, "two", "is one of the group bones"),
    ):
        with pytest.raises(InputError, match=problem):
            rename(which, name)
    assert run.config_file.exists() and member.config_file.exists()
    assert rename(run, "two").name == "two"
