"""A subset of the real MedNIST, from JPEGs on disk to a tested model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from command import NETWORK, medtrain
from places import SHARED

ARCHIVE = SHARED / "MedNIST.tar.gz"


@pytest.mark.skipif(
    not ARCHIVE.exists(), reason="!!! NOT TESTED on real data: no MedNIST here (../shared/data/MedNIST.tar.gz)"
)
@pytest.mark.parametrize("network", ["small", pytest.param("of_the_recipe", marks=pytest.mark.slow)])
def test_a_subset_is_learnt_to_97_percent(network: str, tmp_path: Path) -> None:
    every_tenth = ["--wildcards", "*0.jpeg"]
    subprocess.run(["tar", "--extract", "--file", ARCHIVE, "--directory", tmp_path, *every_tenth], check=True)
    medtrain("shard", "mednist", "--root", tmp_path, "--out", tmp_path / "shards")
    settings = ["--epochs", "1", "--batch_size", "32", "--grad_accumulation", "1", "--schedule", "cosine"]
    settings += [*NETWORK, "--lr", "3e-3"] if network == "small" else ["--lr", "1e-3"]
    medtrain("train", "mednist", "--shards", tmp_path / "shards", "--runs", tmp_path, "--run", "subset",
             "--tracker", "none", *settings)  # fmt: skip
    report = json.loads((tmp_path / "subset" / "evaluation" / "test.json").read_text())
    assert report["samples"] > 550
    assert report["accuracy"] >= 0.97, report
