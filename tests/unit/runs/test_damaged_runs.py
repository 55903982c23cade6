"""One bad byte in a run's files: the other runs are told all the same, and the run itself says which file it is."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from medtrain.cli.commands import runs
from medtrain.cli.main import run as command
from medtrain.core.jsonfiles import DamagedFile, append_json, read_json_lines, write_json
from medtrain.launch.group_status import statuses
from medtrain.runs import attempts
from medtrain.runs.run import Run, run_names, set_status
from medtrain.runs.run_group import RunGroup

START = {"attempt": 1, "event": "start", "time": 1.7e9, "step": 0, "job": "", "nodes": "a", "ranks": 1, "pid": 1,
         "restarts": 0, "until": None, "log_at": 0}  # fmt: skip
END = {"attempt": 1, "event": "end", "time": 1.7e9 + 60, "step": 12, "first": 0, "reached": 12, "step_seconds": 6.0,
       "exit_code": 0, "cause": "finished", "kind": "finished", "rank": "", "node": "",
       "state": "finished"}  # fmt: skip


def made(folder: Path, name: str) -> Run:
    """A run that has trained for 12 steps and ended, with a file of each kind that `status` reads."""
    run = Run.create(folder, name)
    run.config_file.write_text("recipe: demo\nepochs: 3\n")
    set_status(run, state="finished", step=12, epoch=3, epochs=3, best=0.5, best_epoch=2)
    for row in ({"event": "begin", "time": 1.7e9}, START, END):
        append_json(run.attempts, row)
    for step in range(1, 13):
        append_json(run.journal, {"kind": "step", "step": step, "epoch": 1, "loss": 0.5, "time": 1.7e9 + step})
    (run.checkpoints / "step-00000012-epoch-003").mkdir()
    write_json(run.job_file, {"job": ""})
    write_json(run.labels, [{"label": "a", "negative": 3, "positive": 4}])
    (run.numbers).mkdir()
    (run.numbers / "1.lock").write_text("{}")
    (run.numbers / "1.end").touch()
    return run


READ = ("status.json", "attempts.jsonl", "metrics.jsonl", "slurm/job.json", "attempts/1.lock", "config.yaml")


@pytest.mark.parametrize("file", READ)
def test_a_flipped_bit_anywhere_in_what_status_reads_hides_no_run_and_gives_no_traceback(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every byte of the small files, 60 drawn ones of the large: one bit of each, by a seeded draw."""
    draw = random.Random(f"14 {file}")
    run = made(tmp_path, "bad")
    made(tmp_path, "good")
    path = run.folder / file
    whole = path.read_bytes()
    for at in draw.sample(range(len(whole)), min(60, len(whole))):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        told = {row["run"]: row for row in statuses([], tmp_path)}
        assert told.keys() == {"bad", "good"}, at
        assert (told["good"]["state"], told["good"]["step"]) == ("finished", 12)
        for names in ((), ("bad",)):
            runs.status(names, tmp_path)  # as a table
            runs.status(names, tmp_path, json=True)
        assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b'"text"', b"\xff\xfe", b'{"state": 3}', b"[" * 100_000])
@pytest.mark.parametrize("file", ["status.json", "slurm/job.json", "attempts.jsonl", "failure.json"])
def test_a_file_of_another_kind_is_one_row_of_status(content: bytes, file: str, tmp_path: Path) -> None:
    run = made(tmp_path, "bad")
    made(tmp_path, "good")
    (run.folder / file).write_bytes(content + b"\n")
    told = {row["run"]: row["state"] for row in statuses([], tmp_path)}
    assert told.keys() == {"bad", "good"}
    assert told["good"] == "finished"


def test_a_damaged_row_says_what_is_wrong_and_the_command_succeeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path, "bad")
    made(tmp_path, "good")
    run.job_file.write_bytes(b'{"job": \xff}')
    assert command(["status", "--runs", str(tmp_path), "--json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    (bad,) = [row for row in rows if row["run"] == "bad"]
    assert bad["state"] == "damaged"
    assert str(run.job_file) in bad["note"]


def test_a_damaged_group_is_one_row_too(tmp_path: Path) -> None:
    made(tmp_path, "good")
    group = RunGroup.create(tmp_path, "seven", ["good"], {}, False)
    group.file.write_bytes(b'{"runs": ["good"')
    told = {row["run"]: row["state"] for row in statuses([], tmp_path)}
    assert told == {"good": "finished", "seven": "damaged"}
    group.file.write_bytes(b'{"runs": 7}')
    assert {row["run"]: row["state"] for row in statuses([], tmp_path)}["seven"] == "damaged"


def test_lines_stand_by_themselves_and_a_damaged_one_is_warned_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": \xff}\n[2]\n\n{"a": 3}\n{"a": 4')
    for _ in range(3):
        assert read_json_lines(path) == [{"a": 1}, {"a": 3}]
    assert capsys.readouterr().err.splitlines() == [f"warning: {path}: line 2, 3 is damaged and is left out"]


@pytest.mark.parametrize("damage", [("event", "starr"), ("attempt", "1"), ("nodes", 7), ("time", None)])
def test_a_line_of_an_attempt_without_what_it_must_have_is_left_out(damage: tuple[str, Any], tmp_path: Path) -> None:
    run = made(tmp_path, "one")
    append_json(run.attempts, {**START, "attempt": 2, damage[0]: damage[1]})
    assert [row["event"] for row in attempts.rows_of(run)] == ["begin", "start", "end"]


def test_a_folder_beside_the_checkpoints_is_none(tmp_path: Path) -> None:
    run = made(tmp_path, "one")
    for name in ("step-backup", "step-00000099.old", "step-00000099-epoch", "step-"):
        (run.checkpoints / name).mkdir()
    assert run.last_step() == 12
    assert statuses(["one"], tmp_path)[0]["saved_step"] == 12


def test_damaged_counts_of_labels_name_their_file(tmp_path: Path) -> None:
    run = made(tmp_path, "one")
    for content in ('[{"label": "a"}]', "7", "[7]", "\x00"):
        run.labels.write_text(content)
        with pytest.raises(DamagedFile, match=r"labels\.json: is damaged"):
            run.counts()


def test_all_runs_are_found_whatever_their_settings_say(tmp_path: Path) -> None:
    made(tmp_path, "one").config_file.write_bytes(b"\xff")
    assert run_names(tmp_path) == ["one"]
    assert [row["run"] for row in statuses([], tmp_path)] == ["one"]
