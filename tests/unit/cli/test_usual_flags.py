"""Flags that people know from other programs: read as ours, or told what they mean here."""

from __future__ import annotations

import os
from dataclasses import fields

import pytest
from command import medtrain

from medtrain.cli.flags import parse_settings
from medtrain.cli.usual_flags import MEANT, SAME, with_our_names
from medtrain.config.fingerprint import flat
from medtrain.config.schema import Config
from medtrain.core.errors import InputError

SETTINGS = {name.split(".")[-1] for name in flat(Config())}


def test_each_is_a_setting_here_and_none_is_one_already() -> None:
    assert set(SAME.values()) <= SETTINGS
    assert not (set(SAME) | set(MEANT)) & SETTINGS and not set(SAME) & set(MEANT)
    assert not set(SAME) & {field.name for field in fields(Config)} - {"data", "model"}


def test_they_are_read_as_ours(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["mednist", "--learning-rate", "0.01", "--batch=8", "--ntasks-per-node", "4", "--imgsz", "96"]
    config, _ = parse_settings("submit", words)
    read = (config.optim.lr, config.data.batch_size, config.slurm.tasks_per_node, config.data.image_size)
    assert read == (0.01, 8, 4, 96)
    told = capsys.readouterr().err
    assert "--batch is read as --batch_size, --ntasks-per-node is read as --tasks_per_node" in told


@pytest.mark.parametrize(
    ("value", "visible"), [("cpu", ""), ("0", "0"), ("cuda:1", "1"), ("0,1", "0,1"), ("cuda", "7"), ("auto", "7")]
)
def test_a_device_is_what_the_ranks_see(value: str, visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    for words in (["--device", value, "--epochs", "2"], [f"--device={value}", "--epochs", "2"]):
        assert with_our_names("train", words) == ["--epochs", "2"]
        assert os.environ["CUDA_VISIBLE_DEVICES"] == visible
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")


def test_a_device_that_cannot_be() -> None:
    with pytest.raises(InputError, match="no device 'tpu'"):
        with_our_names("train", ["--device", "tpu"])
    with pytest.raises(InputError, match="what Slurm gives it"):
        with_our_names("submit", ["--device", "0"])


@pytest.mark.parametrize(("flag", "told"), [("--mem=64G", "--mem_gb N"), ("--resume", "medtrain resume RUN")])
def test_another_thing_is_told_by_its_meaning(flag: str, told: str) -> None:
    done = medtrain("submit", "mednist", flag, check=False)
    assert done.returncode == 2 and told in done.stderr and "did you mean" not in done.stderr
