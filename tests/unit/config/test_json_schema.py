"""The JSON Schema of the settings accepts what medtrain reads, and refuses what it refuses of one setting."""

from __future__ import annotations

import json
from typing import Any

import pytest
from command import medtrain
from jsonschema import Draft202012Validator

from medtrain.config import configfile
from medtrain.config.fingerprint import to_dict
from medtrain.config.json_schema import json_schema
from medtrain.config.renamed import with_old_names
from medtrain.config.schema import Config
from medtrain.config.yaml12 import read_yaml

VALIDATOR = Draft202012Validator(json_schema())


@pytest.mark.parametrize("recipe", configfile.recipe_names())
def test_recipes_and_saved_settings_are_valid(recipe: str) -> None:
    VALIDATOR.check_schema(json_schema())
    whole = to_dict(configfile.resolve(recipe))
    for values in (read_yaml(configfile.RECIPES / f"{recipe}.yaml"), whole, with_old_names(whole)):
        VALIDATOR.validate(values)


@pytest.mark.parametrize(
    "values",
    [{"slurm": {"nodes": 3}}, {"slurm": {"nodes": "2-4", "cpus_per_task": 8}, "determinism": "exact"},
     {"slurm": {"gpus_per_node": "a100:4"}}],
)  # fmt: skip
def test_what_sbatch_writes_otherwise_is_valid(values: dict[str, Any]) -> None:
    VALIDATOR.validate(values)
    configfile.check(configfile.merge(Config(), values, "test"), "test")


@pytest.mark.parametrize(
    "values",
    [
        {"slurm": {"nodes": 0}},
        {"slurm": {"nodes": "2-"}},
        {"slurm": {"nodes": "0-2"}},
        {"slurm": {"min_nodes": -1}},
        {"epochs": 0},
        {"epochs": "3"},
        {"epoch": 3},
        {"lr": 0.1},
        {"data": {"batch_size": 0}},
        {"data": {"normalize": "imagenett"}},
        {"model": {"dropout": 1.5}},
        {"data": 3},
        {"data": {"datasets": "nih"}},
    ],
)
def test_what_is_refused_is_invalid(values: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(values)
    with pytest.raises(configfile.InputError):
        configfile.check(configfile.merge(Config(), values, "test"), "test")


def test_the_command_prints_it() -> None:
    printed = json.loads(medtrain("recipe", "schema").stdout)
    assert printed == json.loads(json.dumps(json_schema()))
    about = printed["properties"]["optim"]["properties"]["lr"]
    assert about["type"] == "number" and about["description"].startswith("Learning rate")
