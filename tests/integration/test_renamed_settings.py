"""Runs from before settings were renamed resume with their own copy and with this one, by old and new names.

tests/data/run_of_the_old_words.tar.xz, made by commit fb96480: `words` (recipe mednist, 60 drawn images, every renamed
setting of images off its default, ended by SIGTERM in its second epoch) and `clips` (echo_demo with a threshold of its
own, made and not begun), each with its copy of medtrain; and their shards.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from command import medtrain
from feeding import require
from older_run import end_of, replay_and_evaluate, unpacked

from medtrain.config import configfile
from medtrain.config.yaml12 import read_yaml
from medtrain.core.jsonfiles import read_json
from medtrain.launch.resume import make_ready
from medtrain.runs import fencing
from medtrain.runs.run import Run

ARCHIVE = "run_of_the_old_words.tar.xz"
WAYS = ("own", "updated", "ready")


def resume(run: Run, *words: object, check: bool = True) -> str:
    """What `medtrain resume` says of a run."""
    done = medtrain("resume", run.name, "--runs", run.folder.parent, *words, check=check, cwd=run.folder.parent.parent)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The run resumed with its own copy and new names, with this medtrain and an old name, and made ready by it."""
    folder = tmp_path_factory.mktemp("words")
    runs = {way: unpacked(ARCHIVE, folder / way, "words") for way in WAYS}
    settings = folder / "mine.yaml"
    settings.write_text(f"weights_dir: {folder}/here\nhang_timeout_seconds: 77\ncheckpoint:\n  keep_last: 4\n")
    said = resume(runs["own"], "-c", settings, "--hang_timeout_seconds", "90", "--monitor=macro_f1")
    assert "resumes with its own copy" in said, said
    assert "hang_seconds: 61.0 -> 90.0" in said and f"save_dir: {folder}/own/weights -> {folder}/here" in said, said
    said = resume(runs["updated"], "--update_code", "--keep_last", "4", "--hang-seconds=90")
    assert "hang_timeout_seconds: 61.0 -> 90.0" in said, said
    # As `retry` does with each run of a group, before their jobs are sent.
    make_ready(runs["ready"], configfile.load(runs["ready"].config_file))
    fencing.release(runs["ready"].folder)
    resume(runs["ready"], "--keep_last", "4")
    return runs


def test_all_finish_with_the_same_bits_and_the_same_curve(resumed: dict[str, Run]) -> None:
    ends = [end_of(run) for run in resumed.values()]
    assert ends[0][0] and ends[0] == ends[1] == ends[2]
    assert {run.status()["state"] for run in resumed.values()} == {"finished"}
    assert len({read_json(run.report)["accuracy"] for run in resumed.values()}) == 1
    assert (resumed["own"].folder.parents[2] / "here" / "words" / "model.pth").exists()


def test_a_copy_reads_the_names_that_it_knows(resumed: dict[str, Run]) -> None:
    for way, run in resumed.items():
        assert (run.code / "medtrain" / "config" / "renamed.py").exists() == (way == "updated")
        assert ("hang_timeout_seconds" in read_yaml(run.config_file)) == (way == "updated")
        config = configfile.load(run.config_file)
        assert (config.monitor, config.data.color_mode, config.augment.coarse_dropout) == ("macro_f1", "rgb", 2)


def test_the_curve_in_tensorboard_keeps_its_names(resumed: dict[str, Run]) -> None:
    require("tensorboard", extra="tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tags = {}
    for way, run in resumed.items():
        (folder,) = (run.trackers / "tensorboard").iterdir()
        tags[way] = set(EventAccumulator(str(folder)).Reload().Tags()["scalars"])
    assert {"loss", "train_loss", "val_macro_f1"} <= tags["own"] == tags["ready"]
    assert tags["own"] <= tags["updated"] and all(name.startswith("test_") for name in tags["updated"] - tags["own"])


@pytest.mark.parametrize("way", ["own", "updated"])
def test_its_last_steps_are_trained_again_and_it_is_evaluated(way: str, resumed: dict[str, Run]) -> None:
    replay_and_evaluate(resumed[way], from_step=14)


def test_a_file_of_settings_reaches_an_older_copy_in_its_words(tmp_path: Path) -> None:
    """Names with hyphens, values that have new names, and a run's own config.yaml, which has its name too."""
    run = unpacked(ARCHIVE, tmp_path / "first", "words")
    mine = tmp_path / "mine.yaml"
    mine.write_text("hang-timeout-seconds: 88\nschedule:\n  plateau_of: monitor\n")
    (whole := tmp_path / "whole.yaml").write_text(run.config_file.read_text())
    said = resume(run, "-c", whole, "-c", mine)
    assert "hang_seconds: 61.0 -> 88.0" in said and run.status()["state"] == "finished", said


def test_an_older_copy_refuses_in_its_own_words(tmp_path: Path) -> None:
    run = unpacked(ARCHIVE, tmp_path / "first", "words")
    said = resume(run, "--grad_accumulation", "4", check=False)
    assert "cannot go on with other settings (data.accumulate: 2 -> 4)" in said, said
    said = resume(run, "--dependency", "afterany:5", check=False)
    assert "knows job ids alone, and not --dependency afterany:5" in said and "--update-code" in said, said
    assert run.status()["state"] == "stopped"


@pytest.mark.parametrize("more", [["--score-threshold", "0.6"], ["--update-code", "--good_from", "0.6"]])
def test_clips_with_a_threshold_begin(tmp_path: Path, more: list[str]) -> None:
    run = unpacked(ARCHIVE, tmp_path / "first", "clips")
    resume(run, *more)
    assert run.status()["state"] == "finished"
    assert configfile.load(run.config_file).data.score_threshold == 0.6
