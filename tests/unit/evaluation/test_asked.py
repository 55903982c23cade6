"""What predict, evaluate and explain are asked is looked at before torch is imported: a typing error costs a moment."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from command import command_line
from terminal import medtrain_in_terminal

from medtrain.config import configfile
from medtrain.config.schema import DataConfig
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import write_json
from medtrain.evaluation import preconditions
from medtrain.runs.run import Run


def make_run(folder: Path, shards: Path, name: str = "first", checkpoint: bool = True) -> Run:
    run = Run.create(folder, name)
    config = replace(configfile.resolve("demo"), data=DataConfig(shards=str(shards), image_size=32))
    configfile.save(config, run.config_file)
    rows = [{"label": label, "negative": 9, "positive": int(label != "ring")} for label in ("blob", "disc", "ring")]
    write_json(run.labels, rows)
    if checkpoint:
        (run.checkpoints / "step-00000001").mkdir()
        (run.checkpoints / "best").symlink_to("step-00000001")
    return run


def test_wrong_arguments_are_told_without_torch(
    demo_tree: Path, demo_shards: Path, tmp_path: Path, no_torch: dict[str, str]
) -> None:
    make_run(tmp_path / "runs", demo_shards)
    make_run(tmp_path / "runs", demo_shards, "young", checkpoint=False)
    (tmp_path / "page.png").write_text("<html>please log in</html>")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    image = next(demo_tree.rglob("*.*g"))
    for words, said in (
        (["predict", "frist", image], "there is no run 'frist'"),
        (["predict", "young", image], "run young has no checkpoint yet"),
        (["predict", "first", "no.png", image, "none.png"], "no.png (No such file or directory), none.png (No such"),
        (["predict", "first", tmp_path / "empty"], "empty (no image or clip is in it)"),
        (["predict", "first", tmp_path / "pipe"], "pipe (neither a file nor a folder)"),
        (["predict", "first", tmp_path / "page.png"], "page.png: cannot be read as an image"),
        (["predict", "first"], "no image is named"),
        (["predict", "first", image, "--study_type", "rign"], "there is no study type 'rign'"),
        (["evaluate", "first", "--split", "tset"], "there is no split 'tset' (did you mean test?)"),
        (["evaluate", "first", "--study_type", "ring"], "first is one run, and --study_type is for a group of them"),
        (["evaluate", "first", "--shards", tmp_path / "empty"], "no packed dataset"),
        (["evaluate", "first", "--shards", demo_shards], "its classes are blob"),
        (["evaluate", "young"], "run young has no checkpoint yet"),
        (["explain", "first", image, "--labels", "dics"], "knows no label 'dics' (did you mean disc?)"),
        (["explain", "first", image, "--labels", "ring"], "has learned nothing about ring"),
        (["explain", "first", "no.png"], "no.png (No such file or directory)"),
        (["explain", "first", image, "--out", tmp_path / "page.png"], "cannot be a folder for figures"),
    ):
        command = command_line(*words, "--runs", tmp_path / "runs")
        done = subprocess.run(command, env=no_torch, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, ""), (words, done.stderr)
        assert said in done.stderr and len(done.stderr.splitlines()) == 2, (words, done.stderr)


def test_a_folder_stands_for_the_images_in_it(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c/d.tiff", "notes.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "e").write_bytes(bytes(128) + b"DICM")  # PS3.10 7.1: after a preamble of 128 bytes
    (tmp_path / "f").write_bytes(bytes(140))
    found = preconditions.files([tmp_path, tmp_path / "notes.txt"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.jpg", "b.PNG", "c/d.tiff", "e", "notes.txt"]


def test_a_run_is_found_by_its_folder_too(demo_shards: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", demo_shards)
    for runs, name in ((tmp_path / "runs", "first"), ("elsewhere", run.folder)):
        assert [one.folder for one in preconditions.models_for(runs, name)] == [run.folder]
    with pytest.raises(InputError, match="there is no run 'frist'"):
        preconditions.models_for(tmp_path / "runs", "frist")


def test_the_word_comes_before_torch_does(
    demo_tree: Path, demo_shards: Path, tmp_path: Path, no_torch: dict[str, str]
) -> None:
    """Importing torch ends these processes: what stands before was said first."""
    make_run(tmp_path / "runs", demo_shards)
    image = next(demo_tree.rglob("*.jpeg"))
    for words, said in (
        (["evaluate", "first"], "loading the network of first"),
        (["predict", "first", image], "loading the network of first"),
        (["predict", "first", image, "--out", "p.csv"], "loading the network of first"),
        (["explain", "first", image], "loading the network of first"),
        (["export", "first"], "loading the network of first, writing it, and proving it on the test split"),
        (["verify", "first"], "reading the checkpoints of first"),
    ):
        code, written = medtrain_in_terminal(*words, folder=tmp_path, environment=no_torch)
        assert code == 99 and written.splitlines()[0].endswith(f"{said}\x1b[0m"), (words, written)
        assert "torch was imported" in written
