"""Which settings decide the weights, and one sum over them that a resumed run must have again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from medtrain.config.renamed import canonical
from medtrain.config.schema import Config

# By the canonical names, which are those of the first version (medtrain.config.renamed).
# A resumed run may change these and still end with the weights that the fields outside this list decide.
FREE_FIELDS = (
    "run", "runs", "share", "epochs", "patience", "hang_seconds", "save_dir", "data.shards", "data.workers",
    "data.prefetch", "notify", "notify_on",
)  # fmt: skip
FREE_SECTIONS = ("checkpoint", "slurm", "tracking")
# Settings that older runs have not -> the value that changes nothing.
ADDED_LATER = {
    "optim.ema_decay": 0.0, "loss.focal_gamma": 0.0, "data.uncertain": "nan", "data.unmentioned": "nan",
    "schedule.plateau_of": "loss", "augment.shift": 0.0, "augment.shift_p": 0.5, "augment.brightness": 0.0,
    "augment.contrast": 0.0, "augment.light_p": 0.5, "augment.erase": 0, "augment.erase_side": 0.125,
    "augment.erase_p": 0.5, "data.datasets": (), "data.holdout": "", "data.sampling": (), "optim.layer_decay": 1.0,
    "loss.focal_alpha": "none", "model.compile": "none", "data.study_type": "",
    "data.normalise": "fixed", "ensemble": 1, "data.frames": 0, "data.stride": 1, "data.fps": 0.0, "data.clips": 1,
    "data.colours": "grey", "data.good_from": 0.0,
    "augment.speckle": 0.0, "augment.speckle_p": 0.5, "augment.crop_time_min": 1.0, "augment.crop_time_p": 0.5,
    "augment.mask_time": 0.0, "augment.mask_time_p": 0.5,
    "optim.unfreeze": "", "optim.unfreeze_every": 0, "schedule.restart_epochs": 5, "schedule.restart_growth": 2,
}  # fmt: skip


def to_dict(config: Config) -> dict[str, Any]:
    """Plain dicts, lists, numbers and text, section by section."""
    return json.loads(json.dumps(dataclasses.asdict(config)))  # type: ignore[no-any-return]


def flat(config: Config) -> dict[str, Any]:
    """`{"optim.lr": 1e-4, ...}`: one entry a setting."""
    rows: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        rows.update(
            {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
        )
    return rows


def difference(old: Config, new: Config) -> list[str]:
    """`setting: old -> new` for every setting that differs."""
    before, after = flat(old), flat(new)
    return [f"{name}: {before[name]} -> {after[name]}" for name in before if before[name] != after[name]]


def binding(config: Config) -> dict[str, Any]:
    """The settings that decide the weights, by their canonical names: those that a resumed run may not change.

    A setting that came later and is not used is left out, so that runs from before it go on.
    """
    decides = {
        name: value
        for name, value in (canonical(*setting) for setting in flat(config).items())
        if name not in FREE_FIELDS and name.split(".")[0] not in FREE_SECTIONS and value != ADDED_LATER.get(name, ...)
    }
    # A cosine is stretched over all epochs, so their number decides every learning rate of it.
    return {**decides, "epochs": config.epochs if config.schedule.schedule == "cosine" else "any"}


def fingerprint(config: Config) -> str:
    """A digest of the settings that decide the weights."""
    return hashlib.sha256(json.dumps(binding(config), sort_keys=True).encode()).hexdigest()[:16]
