"""Training end to end on drawn images: what it writes, what it refuses, and what it survives."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from command import medtrain
from safetensors.numpy import load_file, save_file
from short_training import arguments, rows, train

from medtrain import tasks
from medtrain.cli.flags import parse_settings
from medtrain.config.rules import MONITORED
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.datasets.sources import demo
from medtrain.evaluation.predict import Predictor
from medtrain.launch import submit
from medtrain.shards.index import open_index
from medtrain.slurm import sbatch


@pytest.fixture(scope="module")
def finished(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    runs = tmp_path_factory.mktemp("finished")
    train(demo_shards, runs, "done")
    return runs / "done"


def test_a_finished_run_holds_everything_that_others_build_on(finished: Path) -> None:
    last = finished / "checkpoints" / "last"
    assert last.is_symlink()

    def no_json(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads((last / "state.json").read_text(), parse_constant=no_json)["step"] == 24
    weights, moments = load_file(last / "model.safetensors"), load_file(last / "optimizer.safetensors")
    assert weights["conv1.0.weight"].shape == (16, 1, 3, 3)
    assert moments["fc.weight:exp_avg"].shape == weights["fc.weight"].shape
    assert [row["step"] for row in rows(finished, "step")] == list(range(1, 25))
    for row in rows(finished, "step") + rows(finished, "epoch"):
        assert all(isinstance(value, int | float) for key, value in row.items() if key != "kind")
    for name in ("figures/history.png", "figures/confusion_test.png"):
        assert (finished / name).read_bytes().startswith(b"\x89PNG")
    assert json.loads((finished / "evaluation" / "test.json").read_text())["samples"] == 12
    assert finished.stat().st_mode & 0o077 == 0, "private to the user"


def test_the_journal_has_the_loss_that_the_epoch_line_sums_up(finished: Path) -> None:
    steps, epochs = rows(finished, "step"), rows(finished, "epoch")
    for epoch in epochs:
        own = [row["loss"] for row in steps if row["epoch"] == epoch["epoch"]]
        assert epoch["train_loss"] == pytest.approx(np.mean(own), rel=1e-12)


def test_the_saved_config_trains_the_same_again(finished: Path, demo_shards: Path, tmp_path: Path) -> None:
    medtrain("train", "mednist", "-c", finished / "config.yaml", "--runs", tmp_path, "--run", "again")
    before, after = (
        json.loads((run / "checkpoints/last/manifest.json").read_text())["tensors"]
        for run in (finished, tmp_path / "again")
    )
    assert after == before


def test_evaluation_is_the_same_at_any_number_of_ranks(finished: Path, demo_shards: Path, tmp_path: Path) -> None:
    report = json.loads(medtrain("evaluate", "done", "--runs", finished.parent, "--split", "train", "--json").stdout)
    assert report["samples"] == 96
    one = json.loads((finished / "evaluation/test.json").read_text())
    copy = tmp_path / "three"
    subprocess.run(["cp", "-a", str(finished), str(copy)], check=True)
    (copy / "evaluation/test.json").unlink()
    medtrain("resume", "three", "--runs", tmp_path, "--tasks_per_node", "3")  # all epochs are done: it only tests
    assert json.loads((copy / "evaluation/test.json").read_text()) == one


def test_predict_names_the_class_and_refuses_what_is_no_image(finished: Path, demo_tree: Path, tmp_path: Path) -> None:
    images = sorted(demo_tree.glob("*/*.jpeg"))[:3]
    found = json.loads(medtrain("predict", "done", *images, "--runs", finished.parent, "--json").stdout)
    assert [row["image"] for row in found] == [str(image) for image in images]
    for row in found:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["probabilities"][row["class"]] == row["probability"] == max(row["probabilities"].values())
    (tmp_path / "note.txt").write_text("not an image")
    predictor = Predictor(finished)
    for one, row in zip([predictor.predict(images[0]), *predictor.predict(images[1:])], found, strict=True):
        assert (one["image"], one["class"]) == (row["image"], row["class"])
        assert one["probabilities"] == pytest.approx(row["probabilities"], abs=1e-5)
    assert predictor.classes == demo.CLASSES
    with pytest.raises(InputError, match=r"note\.txt: "):
        predictor.predict(tmp_path / "note.txt")
    refused = medtrain("predict", "done", tmp_path / "note.txt", "--runs", finished.parent, check=False)
    assert refused.returncode == 2 and "note.txt: cannot be read as an image" in refused.stderr


def test_predict_writes_a_row_for_each_row_of_a_table(finished: Path, demo_tree: Path, tmp_path: Path) -> None:
    images = sorted(demo_tree.glob("*/*.jpeg"))[:50:10]
    (tmp_path / "note.txt").write_text("not an image")
    listed = [*images[:3], tmp_path / "note.txt", tmp_path / "gone.png", *images[3:]]
    lines = ["id;file", *(f"{number};{path}" for number, path in enumerate(listed)), "7;"]
    (tmp_path / "scans.csv").write_text("\n".join(lines), encoding="utf-16")
    words = ["predict", "done", "scans.csv", "--image", "file", "--keep", "id", "--runs", finished.parent]
    done = medtrain(*words, "--out", "p.csv", cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "p.csv: 8 rows\n"), done.stderr
    assert done.stderr.startswith(f"error: 3 of 8 files: {tmp_path}/note.txt: cannot be read as an image"), done.stderr
    with (tmp_path / "p.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["id"] for row in found] == list("01234567")
    assert [row["file"] for row in found] == [*map(str, listed), ""]
    assert [row["id"] for row in found if row["error"]] == ["3", "4", "7"]
    assert found[7]["error"] == "scans.csv, line 9, column file: the cell is empty"
    for told, row in zip(Predictor(finished).predict(images), [row for row in found if not row["error"]], strict=True):
        assert row["predicted"] == told["class"]
        for name, share in told["probabilities"].items():
            assert float(row[f"probability_{name}"]) == pytest.approx(share, abs=1e-5)
    pattern = medtrain("predict", "done", f"{demo_tree}/**/*0.jpeg", "--csv", "--runs", finished.parent).stdout
    assert [row["file"] for row in csv.DictReader(pattern.splitlines())] == [
        str(path) for path in sorted(demo_tree.rglob("*0.jpeg"))
    ]


def test_mistakes_are_listed_with_their_files(finished: Path, demo_tree: Path, tmp_path: Path) -> None:
    medtrain("shard", "demo", "--root", demo_tree, "--out", tmp_path / "again", "--keep_names")
    words = ["evaluate", "done", "--runs", finished.parent, "--mistakes", tmp_path / "m.csv"]
    told = medtrain(*words, "--names", tmp_path / "again.names.csv").stdout
    with (tmp_path / "m.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    report = json.loads((finished / "evaluation" / "test.json").read_text())
    assert len(found) == round(12 * (1 - report["accuracy"])) > 0
    assert f"mistakes: {tmp_path / 'm.csv'} ({len(found)} rows, {len(found)} with their file)" in told
    assert all(Path(row["file"]).parent == demo_tree / row["truth"] != demo_tree / row["predicted"] for row in found)
    assert [float(row["probability"]) for row in found] == sorted(float(row["probability"]) for row in found)[::-1]
    assert "packing kept no names" in medtrain(*words).stdout
    kept = (tmp_path / "again.names.csv").read_bytes()
    slip = ["evaluate", "done", "--runs", finished.parent, "--mistakes", tmp_path / "again.names.csv"]
    refused = medtrain(*slip, "--shards", tmp_path / "again", check=False)
    assert refused.returncode == 2 and "again.names.csv is the table that is read" in refused.stderr
    assert (tmp_path / "again.names.csv").read_bytes() == kept


def test_a_run_of_that_name_is_never_overwritten(finished: Path, demo_shards: Path) -> None:
    again = train(demo_shards, finished.parent, "done", check=False)
    assert again.returncode == 2
    assert "run done exists already" in again.stderr and "medtrain resume done" in again.stderr


def test_a_resume_with_other_settings_or_shards_is_refused(finished: Path, demo_tree: Path, tmp_path: Path) -> None:
    other = medtrain("resume", "done", "--runs", finished.parent, "--lr", "1e-2", check=False)
    assert other.returncode == 2 and "optim.lr: 0.0001 -> 0.01" in other.stderr
    medtrain("shard", "demo", "--root", demo_tree, "--out", tmp_path / "fewer", "--max_samples", "90")
    longer = ["resume", "done", "--runs", finished.parent, "--epochs", "3"]
    moved = medtrain(*longer, "--shards", tmp_path / "fewer", check=False)
    assert moved.returncode == 2 and "was made with other shards" in moved.stderr


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(demo_shards: Path, tmp_path: Path) -> None:
    train(demo_shards, tmp_path, "straight", "--epochs", "3")
    train(demo_shards, tmp_path, "bent", "--epochs", "2")
    newest = tmp_path / "bent" / "checkpoints" / "last" / "model.safetensors"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    resumed = medtrain("resume", "bent", "--runs", tmp_path, "--epochs", "3")
    assert "step-00000024-epoch-002 is damaged (model.safetensors does not match its checksum)" in resumed.stdout
    assert "resuming at step 12 " in resumed.stdout
    ends = [json.loads((tmp_path / run / "checkpoints/last/manifest.json").read_text()) for run in ("straight", "bent")]
    assert ends[0]["tensors"] == ends[1]["tensors"]


def test_local_weights_are_loaded_and_wrong_ones_refused(finished: Path, demo_shards: Path, tmp_path: Path) -> None:
    weights = load_file(finished / "checkpoints/best/model.safetensors")
    coloured = {**weights, "conv1.0.weight": np.repeat(weights["conv1.0.weight"], 3, axis=1)}
    del coloured["fc.weight"], coloured["fc.bias"]
    save_file(coloured, tmp_path / "colour.safetensors")
    train(demo_shards, tmp_path, "warm", "--weights", tmp_path / "colour.safetensors", "--epochs", "1")
    told = json.loads((tmp_path / "warm" / "first_weights.json").read_text())
    assert told["sha256"] == hashlib.sha256((tmp_path / "colour.safetensors").read_bytes()).hexdigest()
    save_file({"conv1.0.weight": weights["conv1.0.weight"]}, tmp_path / "part.safetensors")
    refused = train(demo_shards, tmp_path, "cold", "--weights", tmp_path / "part.safetensors", check=False)
    assert refused.returncode == 2 and "tensors are missing" in refused.stderr
    (tmp_path / "torn.safetensors").write_bytes((tmp_path / "part.safetensors").read_bytes()[:-9])
    torn = train(demo_shards, tmp_path, "torn", "--weights", tmp_path / "torn.safetensors", check=False)
    assert torn.returncode == 2 and "torn.safetensors: weights cannot be read" in torn.stderr
    attempts = (tmp_path / "cold" / "attempts.jsonl").read_text().splitlines()
    assert len(attempts) == 3, "a fault that another attempt cannot mend is not tried again"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--monitor", "acuracy"],
            "monitor is 'acuracy', which is no metric of task multiclass (did you mean accuracy?)",
        ),
        (["--monitor", "per_dataset_accuracy"], "a mean over datasets, and validation is of one (demo)"),
        (["--backbone", "resnet5"], "there is no backbone 'resnet5'"),
        (["--backbone", "resnet50.a1_in1"], "there is no backbone 'resnet50.a1_in1'"),
        (["--backbone", "vit_tiny_patch16_224"], "vit_tiny_patch16_224 cannot take images of 64 x 64 pixels"),
        (["--image_size", "16"], "densenet121 cannot take images of 16 x 16 pixels"),
        (["--backbone", "r2plus1d_18"], "r2plus1d_18 cannot take images of 64 x 64 pixels"),
        # What the data say comes first: weights are looked for, and fetched, when they fit.
        (["--weights", "no.pt", "--monitor", "per_dataset_loss"], "a mean over datasets"),
        (["--weights", "no.pt", "--backbone", "resnet5"], "there is no backbone 'resnet5'"),
        (["--weights", "no.pt"], "no.pt: there is no such file of weights"),
        (["--weights", "imagnet"], "no such file of weights (did you mean imagenet?)"),
    ],
)
def test_what_no_training_can_be_made_of_is_refused_before_a_folder_or_a_job_exists(
    words: list[str], said: str, demo_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sbatch, "require_slurm", lambda instead: None)  # it comes before, and there may be none here
    known = ["demo", "--shards", str(demo_shards), "--runs", str(tmp_path / "runs"), "--run", "typo", *words]
    config, _ = parse_settings("train", known)
    for start in (submit.train, submit.submit, partial(submit.submit, dry_run=True)):
        with pytest.raises(InputError) as refused:
            start(config)
        assert said in refused.value.problem and refused.value.fix
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kind", MONITORED)
def test_every_number_of_a_task_and_no_other_can_be_watched(kind: str) -> None:
    task = tasks.make(Config(task=kind), ("a", "b"), {})  # type: ignore[arg-type]
    labels = np.zeros((0, 2), np.int8)
    report = task.metrics(np.zeros((0, task.outputs), np.float32), labels, np.zeros(0, np.uint64))
    numbers = {name for name, value in report.items() if not isinstance(value, dict | list)}
    assert numbers - set(MONITORED[kind]) <= {"samples", "abnormal", "micro_known", "micro_positives"}  # counts
    assert set(MONITORED[kind]) <= numbers


def test_numbers_that_break_end_the_run_with_a_reason(demo_shards: Path, tmp_path: Path) -> None:
    broken = train(demo_shards, tmp_path, "hot", "--lr", "1e30", check=False)
    assert broken.returncode == 3
    assert "the loss became nan at step" in broken.stderr and "lower --lr" in broken.stderr


def test_a_flipped_byte_in_a_shard_names_shard_and_sample(demo_shards: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    subprocess.run(["cp", "-r", str(demo_shards), str(shards)], check=True)
    index = open_index(shards, "train")
    with index.shard_path(0).open("r+b") as file:
        file.seek(int(index.samples["offset"][5]) + 100)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 4]))
    broken = train(shards, tmp_path, "flipped", check=False)
    key = index.samples["key"][5].decode()
    assert broken.returncode == 2
    assert f"train-000000.tar: sample {key}" in broken.stderr and "medtrain verify" in broken.stderr


def test_the_rank_that_failed_first_is_the_one_that_is_heard(demo_shards: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    subprocess.run(["cp", "-r", str(demo_shards), str(shards)], check=True)
    tar = shards / "train-000000.tar"
    data = bytearray(tar.read_bytes())
    for offset in open_index(demo_shards, "train").samples["offset"][48:].tolist():
        data[int(offset) + 200] ^= 1
    tar.write_bytes(data)
    broken = train(shards, tmp_path, "peers", "--tasks_per_node", "2", check=False)
    assert broken.returncode == 2, broken.stderr
    assert "the bytes do not match their checksum" in broken.stderr and "medtrain verify" in broken.stderr


def test_more_ranks_than_samples_in_a_step_are_refused(demo_shards: Path, tmp_path: Path) -> None:
    refused = train(demo_shards, tmp_path, "wide", "--tasks_per_node", "2", "--global_batch", "1", check=False)
    assert refused.returncode == 2 and "2 ranks share a global batch of 1" in refused.stderr


def test_a_crash_that_repeats_ends_after_three_attempts(demo_shards: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['accelerate'] = None\n")
    broken = medtrain(
        *arguments(demo_shards, tmp_path, "stuck"), check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert broken.returncode == 1
    assert len((tmp_path / "stuck" / "attempts.jsonl").read_text().splitlines()) == 1 + 2 * 3
    assert "accelerate" in broken.stderr


def test_weights_that_are_not_there_are_missed_before_the_run(demo_shards: Path, tmp_path: Path) -> None:
    words = ("mednist", "--shards", demo_shards, "--runs", tmp_path, "--run", "one", "--weights", "gone.safetensors")
    for command in ("train", "submit"):
        refused = medtrain(
            command, *words, "--dry-run" if command == "submit" else "--epochs=1", check=False, cwd=tmp_path
        )
        assert refused.returncode == 2
        assert f"{tmp_path / 'gone.safetensors'}: there is no such file of weights" in refused.stderr
    assert not (tmp_path / "one").exists()
