"""What a run writes down of the weights that it begins from, and its report says."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
from written_run import written

from medtrain.config import configfile
from medtrain.config.backbones import OWN_WEIGHTS, weights_in_public
from medtrain.config.schema import ModelConfig
from medtrain.core.jsonfiles import read_json
from medtrain.launch import first_weights
from medtrain.reporting.html_report.run_page import write_report_page


def test_published_weights_have_a_licence_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "densenet121-a639ec97.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    run = written(tmp_path / "runs", "multiclass")
    config = configfile.load(run.config_file)
    model = dataclasses.replace(config.model, backbone="densenet121", weights="imagenet")
    configfile.save(dataclasses.replace(config, model=model), run.config_file)
    found = first_weights.fetched(model)
    assert found == file
    first_weights.write_down(run, model, found)
    told = read_json(run.first_weights)
    assert told["began_as"] == "densenet121 (imagenet)" and told["licence"] == "bsd-3-clause"
    assert told["sha256"] == hashlib.sha256(b"weights").hexdigest()
    for markdown in (False, True):
        text = write_report_page(run, markdown=markdown).read_text().replace("\\", "")
        assert "bsd-3-clause (torchvision, which adds" in text and told["sha256"] in text


def test_of_a_file_of_ones_own_the_hash_is_kept_and_no_name(tmp_path: Path) -> None:
    file = tmp_path / "a.b.safetensors"
    file.write_bytes(b"own")
    run = written(tmp_path / "runs", "multiclass")
    model = ModelConfig("densenet121", weights=str(file))
    first_weights.write_down(run, model, file)
    told = read_json(run.first_weights)
    assert told["sha256"] == hashlib.sha256(b"own").hexdigest()
    assert (told["began_as"], told["licence"]) == ("a file of your own", "") and file.name not in str(told)


def test_random_weights_are_no_file() -> None:
    assert first_weights.fetched(ModelConfig("densenet121")) is None


def test_no_page_tells_the_name_of_a_file_of_weights(tmp_path: Path) -> None:
    run = written(tmp_path / "runs", "multiclass")
    config = configfile.load(run.config_file)
    model = dataclasses.replace(config.model, weights="/home/a person/Doe, Jane's.safetensors")
    configfile.save(dataclasses.replace(config, model=model), run.config_file)
    for markdown in (False, True):
        text = write_report_page(run, markdown=markdown).read_text()
        assert OWN_WEIGHTS in text and "Jane" not in text and "person/" not in text
    assert weights_in_public("imagenet") == "imagenet" and weights_in_public("") == ""
