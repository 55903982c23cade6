"""The files of a run folder outlive crashes: half a line, half a file and an empty file are all survived."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import append_json, read_json_lines, write_json
from medtrain.runs.run import Run, default_name, run_names, set_status
from medtrain.runs.run_group import RunGroup


def test_a_line_cut_off_by_a_crash_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "attempts.jsonl"
    append_json(path, {"attempt": 1})
    with path.open("a") as file:
        file.write('{"attempt": 2, "ev')  # the power went here
    assert read_json_lines(path) == [{"attempt": 1}]
    append_json(path, {"attempt": 3})
    append_json(path, {"attempt": 4})
    assert read_json_lines(path) == [{"attempt": 1}, {"attempt": 3}, {"attempt": 4}]
    assert read_json_lines(tmp_path / "none.jsonl") == []


def test_an_emptied_status_is_no_word_and_the_next_word_mends_it(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    assert run.status() == {}
    for damage in ("", '{"state": "run'):
        run.status_file.write_text(damage)
        assert run.status() == {}
        set_status(run, state="running")
        assert run.status()["state"] == "running"
    set_status(run, step=3)
    assert (run.status()["state"], run.status()["step"]) == ("running", 3)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_json(path, {"a": 1})
    before = path.stat().st_ino
    write_json(path, {"a": 2})
    assert path.stat().st_ino != before, "written anew beside it, then renamed: a reader never sees half of it"
    assert [file.name for file in tmp_path.iterdir()] == ["status.json"]


def test_runs_are_private_and_never_overwritten(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "runs", "first")
    assert run.folder.stat().st_mode & 0o777 == 0o700
    run.config_file.write_text("")
    with pytest.raises(InputError, match="run first exists already"):
        Run.create(tmp_path / "runs", "first")
    assert Run.find(tmp_path / "runs", "first").folder == run.folder
    with pytest.raises(InputError, match=r"no run 'frist'.*did you mean first\?"):
        Run.find(tmp_path / "runs", "frist")
    assert run_names(tmp_path / "runs") == ["first"]


def test_last_step_is_read_from_the_names(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "first")
    assert run.last_step() == 0
    for name in ("step-00000009", "step-00000100-epoch-001", ".tmp-step-00000200"):
        (run.checkpoints / name).mkdir()
    assert run.last_step() == 100


def test_a_requeued_job_finds_its_run_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_name("mednist", "4711") == "mednist-4711"
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert default_name("mednist") != "mednist-4711", "two runs that are submitted from one job have two names"
    assert default_name("mednist").startswith("mednist-")


def test_the_path_of_a_run_is_as_good_as_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        Run.create(tmp_path / "runs", name).config_file.write_text("")
    RunGroup.create(tmp_path / "runs", "both", ["first", "second"], {}, by_slurm=False)
    monkeypatch.chdir(tmp_path)
    for path in ("runs/first", "runs/first/", "./runs/first", str(tmp_path / "runs" / "first"), "runs/second/../first"):
        run = Run.find("elsewhere", path)
        assert (run.name, run.folder) == ("first", tmp_path / "runs" / "first"), path
    group = RunGroup.find("elsewhere", "runs/both/")
    assert group is not None and group.name == "both" and RunGroup.find("elsewhere", "both") is None
    with pytest.raises(InputError, match=r"no run 'frist' in .*/runs \(did you mean first\?\)"):
        Run.find("elsewhere", "runs/frist")
    with pytest.raises(InputError, match="both is a group of 2 runs"):
        Run.find("elsewhere", "runs/both")
    monkeypatch.chdir(tmp_path / "runs" / "first")
    assert Run.find("runs", ".").name == "first" and Run.find("runs", "../second").name == "second"
    with pytest.raises(InputError, match="no run 'first'"):
        Run.find("elsewhere", "first")
