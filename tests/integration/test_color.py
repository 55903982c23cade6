"""Images that only their color tells apart: packed, learned, resumed, explained, exported by what a user types."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from command import medtrain
from own_images import colored_spots
from short_training import QUICK

LEARNS = ["--epochs", "4", "--lr", "0.003", "--batch_size", "8"]


def test_what_only_color_tells_is_learned(tmp_path: Path) -> None:
    colored_spots(tmp_path / "photos", each=60)
    told = medtrain("shard", "folder", "--root", "photos", "--name", "spots", cwd=tmp_path).stdout
    line = told.split("medtrain train ")[1].split()
    again = medtrain("shard", "folder", "--root", "photos", "--name", "spots", cwd=tmp_path)
    assert again.stdout == told and "note:" not in again.stderr
    assert line[1:] == ["--color_mode", "rgb", "--channels", "3", "--shards", "shards/spots"]
    medtrain("train", *line, "--run", "spots", *QUICK, *LEARNS, cwd=tmp_path)
    run = tmp_path / "runs" / "spots"
    assert json.loads((run / "evaluation" / "test.json").read_text())["accuracy"] > 0.9

    said = json.loads(
        medtrain("predict", "spots", "photos/red/0.png", "photos/green/1.jpg", "--json", cwd=tmp_path).stdout
    )
    assert [one["class"] for one in said] == ["red", "green"]
    medtrain("explain", "spots", "photos/red/0.png", "--out", "maps", cwd=tmp_path)
    figure = cv2.imread(str(tmp_path / "maps" / "0-explained.png")).astype(int)
    assert (np.ptp(figure[:, : figure.shape[1] // 4], axis=2) > 60).mean() > 0.01, "the image beside the map has color"
    medtrain("report", "spots", "--with_images", cwd=tmp_path)
    medtrain("export", "spots", "--to", "torch_export", cwd=tmp_path)
    assert json.loads((run / "exports" / "torch_export" / "medtrain.json").read_text())["input"]["channels"] == 3
    of_export = json.loads(
        medtrain("predict", run / "exports" / "torch_export", "photos/red/0.png", "--json", cwd=tmp_path).stdout
    )
    assert abs(of_export[0]["probability"] - said[0]["probability"]) < 0.05  # bf16

    done = medtrain("explain", run / "exports" / "torch_export", "photos/red/0.png", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "is an export, and this needs the run" in done.stderr

    medtrain("shard", "folder", "--root", "photos", "--color_mode", "gray", "--out", "gray", cwd=tmp_path)
    for shards, words in (("gray", "was trained on images in color"), ("shards/spots", "")):
        done = medtrain("evaluate", "spots", "--shards", shards, cwd=tmp_path, check=False)
        assert (done.returncode == 0) == (not words) and words in done.stderr
    medtrain("train", "mednist", "--shards", "gray", "--run", "gray", *QUICK, "--epochs", "1", cwd=tmp_path)
    done = medtrain("evaluate", "gray", "--shards", "shards/spots", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "give shards that were packed with --color_mode gray" in done.stderr
