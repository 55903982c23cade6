"""Groups of runs on one machine: names, one after another, a stop, a failure, retry, ensembles, the report of all."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from command import medtrain
from fork_server import Forked
from limits import HANG_S
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from medtrain.cli import main
from medtrain.config import configfile
from medtrain.config.rules import problems
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.datasets.sources import mura_demo
from medtrain.evaluation.predict import MURAPredictor
from medtrain.evaluation.score_table import read_scores
from medtrain.launch import group_members
from medtrain.reporting import group_report
from medtrain.runs import run_group
from medtrain.runs.run import Run

SMALL = (
    *("--image_size", "32", "--tracker", "none", "--workers", "1", "--precision", "fp32", "--epochs", "2"),
    *("--backbone", "test_resnet", "--schedule", "constant"),
)
TYPES = ("XR_HAND", "XR_WRIST")
BROKEN = 'raise RuntimeError("nobody mends this")\n'


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn bones of two study types."""
    folder = tmp_path_factory.mktemp("bones")
    mura_demo.download(folder / "raw", samples=420)
    for split in ("train", "valid"):
        for table in (folder / "raw" / "MURA-v1.1").glob(f"{split}_*.csv"):
            lines = [line for line in table.read_text().splitlines(True) if any(name in line for name in TYPES)]
            table.write_text("".join(lines))
    words = ("--root", folder / "raw", "--out", folder / "shards", "--encoding", "jpeg", "--size", "32")
    medtrain("shard", "mura_demo", *words)
    return folder / "shards"


@pytest.fixture(scope="module")
def ensemble(shards: Path) -> Path:
    """The folder of runs with a finished group: two models of each of the two types."""
    runs = shards.parent / "runs"
    words = ("--shards", shards, "--runs", runs, "--run", "bones", "--study_type", "all", "--ensemble", "2")
    medtrain("train", "mura_demo", *words, "--weights_dir", shards.parent / "models", *SMALL)
    return runs


def asked(**changes: Any) -> Config:
    study_type = changes.pop("study_type", "")
    config = replace(configfile.resolve("mura_demo"), run="bones", **changes)
    return replace(config, data=replace(config.data, study_type=study_type))


def test_names_seeds_and_folders_of_the_runs() -> None:
    def told(config: Config) -> list[tuple[str, str, int, str]]:
        return [
            (own.run, own.data.study_type, own.seed, own.weights_dir) for own in group_members.members(config, TYPES)
        ]

    assert told(asked(study_type="all", weights_dir="m")) == [
        ("bones-XR_HAND", "XR_HAND", 42, "m"),
        ("bones-XR_WRIST", "XR_WRIST", 42, "m"),
    ]
    assert told(asked(study_type="XR_HAND", ensemble=2, weights_dir="m")) == [
        ("bones-1", "XR_HAND", 42, "m/1"),
        ("bones-2", "XR_HAND", 43, "m/2"),
    ]
    assert told(asked(study_type="XR_HAND")) == [("bones-XR_HAND", "XR_HAND", 42, "")]
    assert told(asked()) == [("bones-combined", "", 42, "")], "never the name of the group"
    both = told(asked(study_type="all", ensemble=2))
    assert [name for name, *_ in both] == [f"bones-{name}-{number}" for name in TYPES for number in (1, 2)]
    assert all(own.ensemble == 1 for own in group_members.members(asked(study_type="all", ensemble=2), TYPES))
    assert not group_members.wanted(asked(study_type="combined")) and not group_members.wanted(
        asked(study_type="XR_HAND")
    )


def test_only_studies_of_several_types_make_groups() -> None:
    config = configfile.resolve("mednist")
    assert problems(config) == []
    (problem,) = problems(replace(config, ensemble=5))
    assert "the task is multiclass" in problem
    (problem,) = problems(replace(config, data=replace(config.data, study_type="all")))
    assert "the task is multiclass" in problem


def test_the_report_is_of_the_mean_of_each_image(ensemble: Path) -> None:
    report = json.loads((ensemble / "bones" / "evaluation" / "test.json").read_text())
    assert all(own["finished"] and own["averaged"] for own in report["runs"].values()) and len(report["runs"]) == 4
    truth, scores, patients = [], [], 0
    for name in TYPES:
        one, two = (read_scores(ensemble / f"bones-{name}-{i}" / "evaluation" / "test.csv") for i in (1, 2))
        mean = (one.scores[:, 0].astype(np.float64) + two.scores[:, 0]) / 2
        assert not np.array_equal(one.scores, two.scores), "seeds differ"
        studies = np.unique(one.rows["study"])
        truth.append([one.labels[one.rows["study"] == study].max() for study in studies])
        scores.append([mean[one.rows["study"] == study].mean() for study in studies])
        own = report["per_class"][name]
        assert own["kappa"] == pytest.approx(cohen_kappa_score(truth[-1], np.array(scores[-1]) > 0.5), abs=1e-9)
        patients += len(studies)
    called = np.concatenate(scores)
    assert report["samples"] == patients
    assert report["kappa"] == pytest.approx(cohen_kappa_score(np.concatenate(truth), called > 0.5), abs=1e-9)
    assert report["auroc"] == pytest.approx(roc_auc_score(np.concatenate(truth), called), abs=1e-6)
    assert {path.name for path in (ensemble / "bones" / "figures").iterdir()} == {
        "kappa_test.png",
        "confusion_test.png",
    }


def test_a_group_is_compared_as_its_report_judges_it(ensemble: Path, no_torch: dict[str, str]) -> None:
    words = ("compare", "bones", "bones-XR_HAND-1", "--runs", ensemble)
    found = json.loads(medtrain(*words, "--json", env=no_torch).stdout)
    report = json.loads((ensemble / "bones" / "evaluation" / "test.json").read_text())
    (own,) = found["comparisons"]
    assert found["members"] == {"bones": [f"bones-{name}-{i}" for name in TYPES for i in (1, 2)]}
    assert own["metrics"]["kappa"]["first"] == pytest.approx(report["per_class"]["XR_HAND"]["kappa"])
    assert own["metrics"]["auroc"]["first"] == pytest.approx(report["per_class"]["XR_HAND"]["auroc"])
    assert [*own["kappa"]] == ["XR_HAND"] and found["seeds"] == {"bones": 2} and "over_seeds" not in own
    assert "bones is a group of 4" in medtrain(*words, env=no_torch).stdout


def test_the_log_of_an_epoch(ensemble: Path) -> None:
    log = (ensemble / "bones-XR_WRIST-1" / "train.log").read_text()
    assert "predicted normal  predicted abnormal" in log and "since this start" in log and "s (validation " in log
    assert "(the best so far)" in log or "best loss" in log
    assert "XR_HAND" not in log, "nothing is told of other study types"


def test_the_best_weights_are_left_as_a_plain_state_dict(ensemble: Path) -> None:
    path = ensemble.parent / "models" / "2" / "XR_HAND" / "model.pth"
    assert path.stat().st_mode & 0o777 == 0o600
    found = torch.load(path, weights_only=True)
    best = safetensors.torch.load_file(ensemble / "bones-XR_HAND-2" / "checkpoints" / "best" / "model.safetensors")
    assert found.keys() == best.keys() and all(torch.equal(found[name], best[name]) for name in best)


def test_a_predictor_of_a_group_takes_the_mean_of_its_type(ensemble: Path) -> None:
    image = next((ensemble.parent / "raw" / "MURA-v1.1" / "valid").glob("XR_WRIST/*/*/image1.png"))
    together = MURAPredictor("XR_WRIST", run="bones", runs=ensemble).predict(image)
    alone = [MURAPredictor("XR_WRIST", run=f"bones-XR_WRIST-{i}", runs=ensemble).predict(image) for i in (1, 2)]
    mean = np.mean([one["probabilities"]["abnormal"] for one in alone])
    assert together["probabilities"]["abnormal"] == pytest.approx(mean, abs=1e-6)
    with pytest.raises(InputError, match="judges XR_HAND, XR_WRIST"):
        MURAPredictor("XR_ELBOW", run="bones", runs=ensemble)


def test_a_group_answers_from_the_shell_as_from_python(ensemble: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = next((ensemble.parent / "raw" / "MURA-v1.1" / "valid").glob("XR_WRIST/*/*/image1.png"))
    place = ["--runs", str(ensemble), "--json"]
    together = MURAPredictor("XR_WRIST", run="bones", runs=ensemble).predict(image)
    assert main.run(["predict", "bones", str(image), "--study_type", "XR_WRIST", *place]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert {key: said[key] for key in together} == together
    for words, problem in (
        ([], "bones is a group of 2 study types"), (["--study_type", "WRIST"], "(did you mean XR_WRIST?)")
    ):  # fmt: skip
        assert main.run(["predict", "bones", str(image), *words, *place]) == 2
        told = capsys.readouterr().err
        assert problem in told and "XR_WRIST" in told.splitlines()[1]
    report = json.loads((ensemble / "bones" / "evaluation" / "test.json").read_text())
    assert main.run(["evaluate", "bones", "--study_type", "XR_WRIST", *place]) == 0
    wrist, whole = json.loads(capsys.readouterr().out)["per_class"]["XR_WRIST"], report["per_class"]["XR_WRIST"]
    assert wrist.keys() == whole.keys()
    # A round of the bootstrap draws the patients of all labels at once (bootstrap_aurocs): here of one study type.
    differ = {key for key in whole if wrist[key] != whole[key]}
    assert differ <= {"auroc_interval"}
    assert main.run(["evaluate", "bones", *place]) == 0
    assert json.loads(capsys.readouterr().out)["kappa"] == report["kappa"]
    assert main.run(["evaluate", "bones", "--split", "val", *place]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == sum(row["samples"] for row in found["per_class"].values()) > 0
    assert (ensemble / "bones" / "evaluation" / "val.json").exists()


def test_a_finished_run_is_evaluated_as_it_was_trained(ensemble: Path) -> None:
    report = ensemble / "bones-XR_HAND-1" / "evaluation" / "test.json"
    before = report.read_bytes()
    medtrain("evaluate", "bones-XR_HAND-1", "--runs", ensemble)
    assert report.read_bytes() == before, "its loss has the same weights"


def test_a_group_is_one_thing(ensemble: Path) -> None:
    rows = json.loads(medtrain("status", "--runs", ensemble, "--json").stdout)
    (group,) = [row for row in rows if row["run"].startswith("bones")]
    assert (group["state"], len(group["runs"]), group["step"]) == ("finished", 4, sum(r["step"] for r in group["runs"]))
    told = medtrain("status", "bones", "--runs", ensemble).stdout
    assert "train   finished  4/4" in told and "bones-XR_WRIST-2" in told
    assert medtrain("retry", "bones", "--runs", ensemble).stdout.startswith("bones, 4 runs:")
    with pytest.raises(InputError, match="bones is a group of 4 runs"):
        Run.find(ensemble, "bones")
    for words in (("train", "mura_demo", "--study_type", "all"), ("train", "mura_demo")):
        again = (*words, "--shards", ensemble.parent / "shards", "--runs", ensemble, "--run", "bones", *SMALL)
        done = medtrain(*again, check=False)
        assert done.returncode == 2 and "group" in done.stderr and "retry" in done.stderr


def test_a_stop_ends_all_and_one_that_fails_leaves_the_others(shards: Path, tmp_path: Path) -> None:
    words = ("--shards", shards, "--runs", tmp_path, "--run", "bones", "--study_type", "all", *SMALL, "--epochs", "16")
    command = [sys.executable, "-m", "medtrain", "train", "mura_demo", *map(str, words)]
    training = Forked(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + HANG_S
    while not Run(tmp_path / "bones-XR_HAND").status().get("step"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "is saved at step" in medtrain("stop", "bones", "--runs", tmp_path).stdout
    output, _ = training.communicate(timeout=HANG_S)
    assert training.returncode == 75 and f"resume all: medtrain retry bones --runs {tmp_path}" in output, output
    assert Run(tmp_path / "bones-XR_WRIST").last_step() == 0

    module = tmp_path / "bones-XR_HAND" / "code" / "medtrain" / "tasks" / "abnormality.py"
    whole = module.read_bytes()
    module.write_text(BROKEN)
    done = medtrain("retry", "bones", "--runs", tmp_path, check=False)
    assert done.returncode == 1 and "bones-XR_HAND has no result: RuntimeError: nobody mends this" in done.stdout
    states = {run.name: run.status()["state"] for run in run_group.RunGroup(tmp_path / "bones").runs}
    assert states == {"bones-XR_HAND": "failed", "bones-XR_WRIST": "finished"}

    module.write_bytes(whole)
    done = medtrain("retry", "bones", "--runs", tmp_path)
    assert "run bones-XR_HAND (1 of 2)" in done.stdout and "run bones-XR_WRIST" not in done.stdout
    assert "has no result" not in done.stdout


def test_at_most_five_of_the_lowest_validation_loss_are_averaged(tmp_path: Path) -> None:
    runs = [Run(tmp_path / f"bones-{number}") for number in range(8)]
    losses = [0.5, 0.1, None, 0.4, 0.2, 0.6, 0.3, 0.7]
    told = {
        run.name: {"study_type": "", "finished": number != 1, "val_loss": loss, "averaged": False}
        for number, (run, loss) in enumerate(zip(runs, losses, strict=True))
    }
    chosen = group_report._chosen(runs, told)
    assert [run.name for run in chosen[""]] == [f"bones-{number}" for number in (4, 6, 3, 0, 5)]
    assert [own["averaged"] for own in told.values()] == [True, False, False, True, True, True, True, False]
