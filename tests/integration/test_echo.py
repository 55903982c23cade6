"""The echo system from end to end: drawn clips are packed, trained on, scored and judged, and nobody's name is left."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from command import BRIEF, command_line, medtrain
from fork_server import Forked
from PIL import Image
from svg_words import words_of
from test_elastic import result, stop_after

from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json, read_json_lines
from medtrain.datasets.record import SCORE
from medtrain.datasets.sources import echo_demo
from medtrain.evaluation.predict import EchoPredictor, Predictor
from medtrain.evaluation.score_table import read_scores
from medtrain.imaging.video.clip_frames import Clip, read_clip
from medtrain.imaging.video.clip_tiff import Shape
from medtrain.loading.clip_sampling import ClipSetup
from medtrain.loading.loader import LabelRule, Loader
from medtrain.reporting import heat_figures
from medtrain.reporting.misclassified import draw_misclassified, moments
from medtrain.runs.run import Run
from medtrain.shards.index import open_index
from medtrain.tasks.multilabel import Multilabel

TINY = ["--weights", "", "--frames", "4", "--stride", "4", "--image_size", "32", "--clips", "2", "--lr", "1e-3"]
SIDE = 64  # of a packed frame: the model sees it smaller
SEEN = ClipSetup(Shape(SIDE, 1), frames=4, stride=4, fps=0, windows=1)
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 drawn clips."""
    root = tmp_path_factory.mktemp("raw") / "echo"
    echo_demo.download(root, samples=48)
    return root


@pytest.fixture(scope="module")
def shards(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, packed."""
    out = tmp_path_factory.mktemp("packed") / "echo"
    medtrain("shard", "echo_demo", "--root", tree, "--out", out, "--size", SIDE)
    return out


@pytest.fixture(scope="module")
def trained(shards: Path) -> Run:
    """A run of two epochs, in the first of which the head alone trains."""
    runs = shards.parent / "runs"
    own = ["--unfreeze", "1,6", "--unfreeze_every", "1", "--eval_batch_size", "4"]
    medtrain("train", "echo", "--shards", shards, "--runs", runs, "--run", "heart", *BRIEF, *TINY, *own)
    return Run(runs / "heart")


def pages(tar: Path, offset: int) -> np.ndarray:
    """The pages of a TIFF in a tar, by another library: uint8 [N, side, side]."""
    found = []
    with Image.open(io.BytesIO(tar.read_bytes()[offset:])) as image:
        for number in range(image.n_frames):
            image.seek(number)
            found.append(np.asarray(image))
    return np.stack(found)


def clips_of(tree: Path) -> list[tuple[Path, Clip]]:
    """Each file, and the clip in it as it is packed."""
    return [(record.path, read_clip(record.path, Shape(SIDE, 1))) for record in echo_demo.records(tree)]


def test_the_packed_clips_are_those_of_the_files(tree: Path, shards: Path) -> None:
    """What another library reads from the tar are the frames of the files; the index knows their number and times."""
    expected = {clip.frames[..., 0].tobytes(): clip for _, clip in clips_of(tree)}
    assert len(expected) == 48
    for split in SPLITS:
        index = open_index(shards, split)
        for row in index.samples:
            frames = pages(index.shard_path(int(row["shard"])), int(row["offset"]))
            clip = expected.pop(frames.tobytes())
            assert row["frames"] == len(frames) and row["frame_ms"] == pytest.approx(clip.frame_ms, rel=1e-5)
            assert row["mean"] == pytest.approx([frames.mean()] * 3, rel=1e-5)
            assert row["deviation"] == pytest.approx([frames.std()] * 3, rel=1e-5)
            assert (row["score"] >= 0.5) == row["labels"][0]
    assert not expected


def test_the_same_bytes_each_time(tree: Path, shards: Path, tmp_path: Path) -> None:
    medtrain("shard", "echo_demo", "--root", tree, "--out", tmp_path / "again", "--size", SIDE, "--workers", "1")
    for path in sorted(shards.glob("*.tar")) + sorted(shards.glob("*.idx")):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    assert medtrain("verify", shards, "--level", "decode").stdout.endswith("no fault (level decode)\n")


def test_a_run_is_trained_scored_and_judges_files(trained: Run, tree: Path, shards: Path) -> None:
    report = read_json(trained.report)
    assert report["samples"] == len(open_index(shards, "test"))
    log = trained.log.read_text()
    assert "the last 1 of 6 blocks train: fc (513 of 31,300,638 parameters)" in log
    assert "epoch 2: the last 6 of 6 blocks train" in log

    # A file of the test split gets the score that the evaluation gave its clip in the shards.
    scores = read_scores(trained.evaluation / "test.csv")
    index = open_index(shards, "test")
    of_key = dict(zip(scores.images.tolist(), scores.scores[:, 0].tolist(), strict=True))
    files = {clip.frames[..., 0].tobytes(): path for path, clip in clips_of(tree)}
    own = [
        (files[pages(index.shard_path(0), int(row["offset"])).tobytes()], of_key[row["key"].decode()])
        for row in index.samples
    ]
    paths = [path for path, _ in own]
    said = json.loads(medtrain("predict", "heart", *paths, "--runs", trained.folder.parent, "--json").stdout)
    found = [one["probabilities"]["good"] for one in said]
    assert found == pytest.approx([score for _, score in own], abs=2e-5)
    assert len(set(found)) > 1
    one = EchoPredictor(run="heart", runs=trained.folder.parent).predict(paths[0])
    assert Predictor("heart", trained.folder.parent).predict(paths[0]) == {"image": str(paths[0]), **one}
    assert one["probabilities"]["good"] == pytest.approx(found[0], abs=2e-5)
    shown = medtrain("predict", "heart", paths[0], "--runs", trained.folder.parent).stdout
    assert "good" in shown


def test_mistakes_are_shown(shards: Path, tmp_path: Path) -> None:
    """Where all is right there is none, and that of an earlier evaluation goes."""
    index = open_index(shards, "train")
    task = Multilabel(("good",), gamma=0, thresholds=(0.5,))
    rows, labels = index.samples[:6], np.array([[0], [0], [1], [1], [-1], [0]], np.int8)
    scores = np.array([[0.9], [0.1], [0.2], [0.8], [0.9], [0.95]])
    sheet = tmp_path / "mistakes.png"
    draw_misclassified(scores, labels, rows, index, task, sheet)
    with Image.open(sheet) as image:
        assert image.height > 400
    frames = moments(rows[0], index)
    assert frames.shape == (6, SIDE, SIDE)
    assert np.array_equal(frames[-1], pages(index.shard_path(0), int(rows[0]["offset"]))[-1])
    draw_misclassified((labels > 0).astype(np.float64), labels, rows, index, task, sheet)
    assert not sheet.exists()


def test_explained_over_time(trained: Run, tree: Path, tmp_path: Path) -> None:
    """A PNG and an animation of a clip, whose files' names have none of the clip's; the title has it, in a folder that
    nobody else can look into."""
    by_score = sorted(echo_demo.records(tree), key=lambda record: -record.raw[SCORE])
    files = [record.path for record in (*by_score[:3], *by_score[-3:])]
    said = medtrain("explain", "heart", *files, "--runs", trained.folder.parent, "--out", tmp_path / "why", "--json",
                    "--figures", "svg")  # fmt: skip
    rows = json.loads(said.stdout)
    assert [Path(row["figure"]).name for row in rows] == [f"clip-{n:03d}-explained.svg" for n in range(1, 7)]
    colours, words = [], [words_of(Path(row["figure"])) for row in rows]
    for row, path, own in zip(rows, files, words, strict=True):
        assert f"{path.name}, run heart" in own and f"{row['layer']}, " in " ".join(own) and heat_figures.UNIT in own
        with Image.open(row["animations"][0]) as moving:
            assert moving.n_frames == 4 and moving.size == (336, 336)
            pictures = []
            for number in range(4):
                moving.seek(number)
                pictures.append(np.asarray(moving.convert("RGB"), np.int16))
        assert max(np.abs(one - other).max() for one, other in pairwise(pictures)) > 20, "it moves"
        colours.append(max(np.ptp(picture, axis=2).max() for picture in pictures) > 40)
    assert colours == ["no heat" not in " ".join(own) for own in words], (
        "there is heat, or it is said that there is none"
    )


def test_interrupted_across_an_unfreezing_and_on_other_ranks(shards: Path, tmp_path: Path) -> None:
    """Stopped in the first epoch, in which the head alone trains, and gone on with by two ranks: the same bits."""
    exact = ["--determinism", "exact", "--batch_size", "4", "--global_batch", "8"]
    own = ["--runs", tmp_path, *BRIEF, *TINY, *exact, "--unfreeze", "1,2", "--unfreeze_every", "1"]
    medtrain("train", "echo", "--shards", shards, "--run", "still", *own)
    line = command_line("train", "echo", "--shards", shards, "--run", "moved", *own)
    process = Forked(line, stdout=subprocess.DEVNULL)
    stop_after(tmp_path / "moved", 2, process)
    medtrain("resume", "moved", "--runs", tmp_path, "--tasks_per_node", "2")
    starts = [row["ranks"] for row in read_json_lines(Run(tmp_path / "moved").attempts) if row["event"] == "start"]
    assert starts == [1, 2]
    assert result(tmp_path / "moved") == result(tmp_path / "still")


def test_a_score_is_learned_too(shards: Path, tree: Path, tmp_path: Path) -> None:
    """--task score: mean squared error, its numbers, a table of what was given and predicted, and predict."""
    own = ["--runs", tmp_path, *BRIEF, *TINY, "--task", "score", "--monitor", "spearman", "--unfreeze", "1"]
    log = medtrain("train", "echo", "--shards", shards, "--run", "number", *own).stdout
    assert "scores: 35 of 35 clips have one; mean 0.464" in log and "mean absolute error" in log
    run = Run(tmp_path / "number")
    report = read_json(run.report)
    assert report["mae"] < 0.5 and report["per_class"]["score"]["samples"] == report["samples"]
    assert (run.figures / "scores_test.png").stat().st_size > 5_000
    head, first, *_ = (run.evaluation / "test.csv").read_text().splitlines()
    assert head == "image,study,patient,given score,predicted score"
    assert re.fullmatch(r"[01]\.\d{1,2}", first.split(",")[3]), "as in the table, and not as float32 has it"
    file = echo_demo.records(tree)[0].path
    said = json.loads(medtrain("predict", "number", file, "--runs", tmp_path, "--json").stdout)
    assert said[0].keys() == {"image", "score"} and -1 < said[0]["score"] < 2
    assert "score" in medtrain("predict", "number", file, "--runs", tmp_path).stdout


def test_from_which_score_on_a_clip_is_good(shards: Path) -> None:
    index = open_index(shards, "train")
    for limit in (0.0, 0.3, 0.9):
        loader = Loader(
            index, global_batch=4, image_size=32, workers=1, clip=SEEN, rule=LabelRule(score_threshold=limit)
        )
        assert loader.labels[:, 0].tolist() == (index.scores >= (limit or 0.5)).tolist()
        loader.close()


def test_what_is_no_clip_is_refused_with_words(trained: Run, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "page.dcm").write_text("<html>please log in</html>")
    done = medtrain("predict", "heart", tmp_path / "page.dcm", "--runs", trained.folder.parent, check=False)
    assert done.returncode == 2 and "cannot be read as a clip: not a clip" in done.stderr
    assert "give DICOM, MP4 or AVI files" in done.stderr
    with pytest.raises(InputError, match="there is no run"):
        EchoPredictor(run="nobody", runs=tmp_path)


def test_settings_for_the_other_kind_are_refused(shards: Path, demo_shards: Path, tmp_path: Path) -> None:
    own = ["--runs", tmp_path, *BRIEF]
    images = medtrain("train", "echo", "--shards", demo_shards, "--run", "a", *own, *TINY, check=False)
    assert images.returncode == 2 and "holds images, and recipe echo trains on clips" in images.stderr
    clips = medtrain("train", "mednist", "--shards", shards, "--run", "b", *own, check=False)
    assert clips.returncode == 2 and "holds clips, and recipe mednist trains on images" in clips.stderr
    colours = medtrain(
        "train", "echo", "--shards", shards, "--run", "c", *own, *TINY, "--color_mode", "rgb", check=False
    )
    assert colours.returncode == 2 and "give --color_mode gray" in colours.stderr


def test_what_cannot_be_packed_is_listed_by_its_line(tree: Path, tmp_path: Path) -> None:
    """And never a black clip with a label: what is rejected is in no split."""
    root = tmp_path / "clinic"
    shutil.copytree(tree, root)
    records = [record for record in echo_demo.records(root) if record.path.read_bytes()[128:132] == b"DICM"][:3]
    half, empty, gone = (record.path for record in records)
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    empty.write_bytes(b"")
    gone.unlink()
    out = tmp_path / "shards"
    done = medtrain("shard", "echo_demo", "--root", root, "--out", out, "--size", SIDE)
    assert "3 clips cannot be used" in done.stderr
    rejects = list(read_json_lines(out / "rejects.jsonl"))
    assert {row["image"] for row in rejects} == {record.image for record in records}
    assert len({row["reason"] for row in rejects}) == 3 and "changed" not in str(rejects)
    assert sum(len(open_index(out, split)) for split in SPLITS) == 45
