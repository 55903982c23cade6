"""A name that a failed start took, and `medtrain rm`: nothing is lost that was not meant."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from medtrain.cli import main
from medtrain.cli.commands import runs
from medtrain.cli.flags import parse_settings
from medtrain.config import configfile
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import append_json, write_json
from medtrain.launch import new_run, resume
from medtrain.runs import removal
from medtrain.runs.run import GROUP_FILE, Run, set_status
from medtrain.runs.run_group import RunGroup


def made(folder: Path, name: str, step: int = 0) -> Run:
    """A run that has failed; with a `step`, after it was saved there."""
    run = Run.create(folder, name)
    configfile.save(configfile.resolve("demo"), run.config_file)
    set_status(run, state="failed", error="it was refused")
    run.log.write_text("it was refused\n")
    append_json(run.attempts, {"event": "begin", "time": 0.0})
    if step:
        (run.checkpoints / f"step-{step:08}").mkdir()
        (run.checkpoints / f"step-{step:08}" / "model.safetensors").write_bytes(bytes(1000))
    return run


def test_a_run_that_failed_before_its_first_step_can_be_started_again_under_its_name(
    demo_shards: Path, tmp_path: Path
) -> None:
    old = made(tmp_path, "first")
    (old.folder / "notes.txt").write_text("mine")
    words = ["demo", "--shards", str(demo_shards), "--runs", str(tmp_path), "--run", "first", "--lr", "0.5"]
    run, config = new_run.new_run(parse_settings("train", words)[0])
    assert configfile.load(run.config_file).optim.lr == 0.5 == config.optim.lr
    assert not run.attempts.exists() and not run.log.exists()
    assert (run.folder / "notes.txt").read_text() == "mine", "what a user laid there stays"


@pytest.mark.parametrize("saved", [True, False])
def test_a_run_that_made_a_step_is_never_replaced(saved: bool, demo_shards: Path, tmp_path: Path) -> None:
    old = made(tmp_path, "first", 3 if saved else 0)
    if not saved:  # it ended before its first checkpoint
        append_json(old.journal, {"kind": "step", "step": 1})
    words = ["demo", "--shards", str(demo_shards), "--runs", str(tmp_path), "--run", "first"]
    with pytest.raises(InputError, match="run first exists already") as refused:
        new_run.new_run(parse_settings("train", words)[0])
    where = f"first --runs {tmp_path}"
    assert f"medtrain resume {where}   remove it: medtrain rm {where}" in refused.value.fix
    assert old.log.exists()


def test_rm_asks_before_steps_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, place = made(tmp_path, "first", 12), ["--runs", str(tmp_path)]
    with pytest.raises(InputError, match=r"run first \(failed\): step 12, 0.0 MB would be lost") as refused:
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        runs.rm("first", tmp_path)
    assert refused.value.fix == f"if that is meant: medtrain rm first --runs {tmp_path} --yes"
    terminal = io.StringIO("no\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert main.run(["rm", "first", *place]) == 2 and run.log.exists()
    assert main.run(["rm", "first", "--yes", *place]) == 0 and not run.folder.exists()


def test_rm_says_what_it_removed_and_what_it_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, other = made(tmp_path, "first"), made(tmp_path, "second")
    (run.folder / "notes.txt").write_text("mine")
    runs.rm("first", tmp_path)  # it never made a step: there is nothing to ask for
    assert capsys.readouterr().out == f"removed {run.folder}, but for what is not of the run: notes.txt\n"
    assert [path.name for path in run.folder.iterdir()] == ["notes.txt"]
    runs.rm("second", tmp_path, json=True)
    assert json.loads(capsys.readouterr().out) == {"removed": [str(other.folder)], "left": {}}
    with pytest.raises(InputError, match="there is no run 'second'"):
        runs.rm("second", tmp_path)


def test_rm_refuses_a_run_that_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medtrain.slurm.queries import JobStatus

    run = made(tmp_path, "first")
    monkeypatch.setattr(removal, "alive", lambda one, sure=False: JobStatus("job", "12", "PENDING"))
    with pytest.raises(InputError, match=r"still under way \(job 12\)"):
        runs.rm("first", tmp_path, yes=True)
    assert removal.make_way(run) is False and run.log.exists()


def test_rm_removes_a_group_with_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("five-1", "five-2", "fives"):
        made(tmp_path, name, 1)
    RunGroup.create(tmp_path, "five", ["five-1", "five-2"], {}, by_slurm=False)
    runs.rm("five", tmp_path, yes=True)
    assert [path.name for path in tmp_path.iterdir()] == ["fives"]
    assert capsys.readouterr().out.splitlines() == [
        f"removed {tmp_path / name}" for name in ("five-1", "five-2", "five")
    ]


def test_resume_of_a_finished_run_says_so_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made(tmp_path, "first", 12)
    set_status(run, state="finished")
    (run.checkpoints / "best").mkdir()
    run.code.mkdir()
    run.evaluation.mkdir()
    write_json(run.report, {})
    assert resume.resume(run, configfile.load(run.config_file)) == 0
    said = capsys.readouterr().out
    assert "run first is finished, and nothing is left to do" in said
    assert f"medtrain resume first --runs {tmp_path} --epochs N   (it has 8)" in said
    assert not (tmp_path / GROUP_FILE).exists() and run.status()["state"] == "finished"
