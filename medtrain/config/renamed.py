"""Settings that have a new name: the old ones keep working, and what is compared or read by older code keeps them.

A fingerprint is made of the old names and values for ever, so that a rename never parts a run from its checkpoints.
"""

from __future__ import annotations

from typing import Any

# The name now -> the name until version 0.1, which is the one in fingerprints. Sections never changed theirs.
OLD_NAMES = {
    "monitor": "watch",
    "hang_timeout_seconds": "hang_seconds",
    "weights_dir": "save_dir",
    "data.grad_accumulation": "data.accumulate",
    "data.normalize": "data.normalise",
    "data.color_mode": "data.colours",
    "data.score_threshold": "data.good_from",
    "augment.brightness_contrast_p": "augment.light_p",
    "augment.coarse_dropout": "augment.erase",
    "augment.coarse_dropout_side": "augment.erase_side",
    "augment.coarse_dropout_p": "augment.erase_p",
    "slurm.dependency": "slurm.after",
}
# Likewise of the values that a setting may have.
OLD_VALUES = {"data.color_mode": {"gray": "grey"}, "schedule.plateau_of": {"monitor": "watch"}}

NEW_NAMES = {old: new for new, old in OLD_NAMES.items()}
NEW_VALUES = {name: {old: new for new, old in values.items()} for name, values in OLD_VALUES.items()}

# Settings that came later, none of which decides a number. A file has them only where they are not as without them, so
# that a run's older copy of medtrain can read it.
ADDED = ("notify", "notify_on", "slurm.spare_nodes", "slurm.gpu_type", "slurm.successors", "slurm.array_throttle",
         "slurm.sbatch", "slurm.min_nodes", "slurm.allow_device_change", "slurm.idle_minutes",
         "slurm.carbon_intensity_g_per_kwh", "slurm.container", "slurm.container_runtime", "slurm.container_binds",
         "slurm.container_python", "slurm.packed_environment")  # fmt: skip


def canonical(name: str, value: Any) -> tuple[str, Any]:
    """A setting as fingerprints and older versions have it."""
    return OLD_NAMES.get(name, name), _among(OLD_VALUES.get(name), value)


def current(name: str, value: Any) -> tuple[str, Any]:
    """A setting by its name of today, from that or an older one."""
    name = NEW_NAMES.get(name, name)
    return name, _among(NEW_VALUES.get(name), value)


def _among(values: dict[str, str] | None, value: Any) -> Any:
    return values.get(value, value) if values and isinstance(value, str) else value


def with_old_names(values: dict[str, Any], section: str = "") -> dict[str, Any]:
    """Settings as a file has them, section by section, as older versions read them."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name, old = canonical(section + key, value)
        found[name.removeprefix(section)] = with_old_names(value, f"{key}.") if isinstance(value, dict) else old
    return found


def without_unused(values: dict[str, Any], plain: dict[str, Any], section: str = "") -> dict[str, Any]:
    """Settings as a file has them, without those that came later and are as in the `plain` ones."""
    return {
        key: without_unused(value, plain[key], f"{key}.") if isinstance(value, dict) else value
        for key, value in values.items()
        if section + key not in ADDED or value != plain[key]
    }
