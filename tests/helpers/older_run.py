"""Runs that older versions made, at a place of their own, and what they end with."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

from command import medtrain
from places import RECORDED

from medtrain.core.jsonfiles import read_json, read_json_lines
from medtrain.runs.run import Run
from medtrain.runs.step_times import KEYS


def unpacked(archive: str, folder: Path, name: str = "flat") -> Run:
    """A run of an archive in tests/data, whose paths began with /data."""
    folder.mkdir()
    with tarfile.open(RECORDED / archive) as file:
        file.extractall(folder, filter="tar")  # `data` would refuse the link to the site's cluster files
    run = Run(folder / "runs" / name)
    run.config_file.write_text(run.config_file.read_text().replace(" /data/", f" {folder}/"))
    return run


def end_of(run: Run) -> tuple[dict[str, str], list[dict[str, object]]]:
    """SHA-256 of the last checkpoint's tensors, and the curve without its times."""
    last = (run.checkpoints / "last").resolve()
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in last.glob("*.safetensors")}
    timed = ("time", "seconds", *KEYS.values())
    rows = [{key: value for key, value in row.items() if key not in timed} for row in read_json_lines(run.journal)]
    return sums, rows


def replay_and_evaluate(run: Run, from_step: int) -> None:
    """Its last steps trained again give its bits, and evaluating it again its report."""
    replayed = medtrain("verify", run.folder, "--from_step", from_step)
    assert "bit for bit" in replayed.stdout, replayed.stdout
    before = read_json(run.report)
    medtrain("evaluate", run.name, "--runs", run.folder.parent)
    assert read_json(run.report) == before
