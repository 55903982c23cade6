"""The settings that a prediction needs, beside the weights: no path of the machine that trained is among them."""

from __future__ import annotations

from pathlib import Path

import yaml

from medtrain.config import configfile
from medtrain.config.schema import Config

HEAD = "# How medtrain predict reads files for these weights.\n"
DATA = (
    "eval_batch_size", "image_size", "normalize", "mean", "std", "study_type", "frames", "color_mode", "stride", "fps",
    "clips",
)  # fmt: skip
MODEL = ("backbone", "channels", "dropout")


def write_settings(config: Config, path: Path) -> None:
    """Write them as YAML, which reads back as they are."""
    values = {
        "task": config.task,
        "precision": "fp32",
        "data": {name: getattr(config.data, name) for name in DATA},
        "model": {name: getattr(config.model, name) for name in MODEL},
    }
    path.write_text(HEAD + yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    again = configfile.load(path)
    assert all(getattr(again.data, name) == getattr(config.data, name) for name in DATA)
    assert all(getattr(again.model, name) == getattr(config.model, name) for name in MODEL)
