"""A training of some seconds, as a command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from command import SMALL, medtrain

QUICK = [*SMALL, "--image_size", "32", "--eval_batch_size", "4"]  # 12 test images: every rank of 3 has some


def arguments(shards: Path, runs: Path, name: str, *options: object) -> list[object]:
    return ["train", "mednist", "--shards", shards, "--runs", runs, "--run", name, *QUICK, *options]


def train(
    shards: Path, runs: Path, name: str, *options: object, check: bool = True
) -> subprocess.CompletedProcess[str]:
    return medtrain(*arguments(shards, runs, name, *options), check=check)


def rows(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]
