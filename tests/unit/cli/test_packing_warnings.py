"""What `shard` warns of: reasons of what was left out, and splits that lack a class."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.cli.packing_warnings import warn_of
from medtrain.shards.plan import PackOptions

IMAGES = PackOptions()


def split(**positives: int) -> dict[str, object]:
    return {"counts": {name: {"positive": count} for name, count in positives.items()}}


def told(manifest: dict[str, object], out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    warn_of({"rejects": 0, "task": "multiclass", **manifest}, IMAGES, out)
    return capsys.readouterr().err


def test_reasons_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = {name: split(cat=1, dog=1) for name in ("train", "val", "test")}
    file = tmp_path / "rejects.jsonl"
    file.write_text('{"image": "a", "reason": "truncated JPEG"}\n')
    said = told({"rejects": 1, "splits": splits}, tmp_path, capsys)
    assert f"1 image cannot be used and was left out; truncated JPEG: 1; the list is {file}" in said
    file.write_text(file.read_text() * 2 + '{"image": "b", "reason": "the file is empty"}\n')
    said = told({"rejects": 3, "splits": splits}, tmp_path, capsys)
    assert "3 images cannot be used and were left out; truncated JPEG: 2, the file is empty: 1;" in said


def test_splits_that_cannot_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both, one = split(cat=5, dog=5), split(cat=1, dog=0)
    assert told({"splits": {"train": both, "val": both, "test": both}}, tmp_path, capsys) == ""
    said = told({"splits": {"train": both, "val": one, "test": both}}, tmp_path, capsys)
    assert said.startswith("warning: val has no image of dog: what is learned about it cannot be validated")
    assert "no split to test on" in told({"splits": {"train": both, "val": both}}, tmp_path, capsys)
    assert "no split to validate on" in told({"splits": {"train": both}}, tmp_path, capsys)
    scores = {"splits": {"train": both, "val": one, "test": one}, "task": "score"}
    assert told(scores, tmp_path, capsys) == ""


def test_patients_in_several_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = split(cat=5, dog=5)
    whole = {"splits": {"train": both, "val": both, "test": both}}
    assert "1 patient has images in several" in told({**whole, "patients_in_several_splits": 1}, tmp_path, capsys)
    assert "2 patients have images in several" in told({**whole, "patients_in_several_splits": 2}, tmp_path, capsys)
