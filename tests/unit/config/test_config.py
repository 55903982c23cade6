"""The rules between settings, and which settings a resumed run may change."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest

from medtrain.config import configfile, fingerprint
from medtrain.config.fingerprint import FREE_FIELDS, FREE_SECTIONS
from medtrain.config.renamed import canonical
from medtrain.config.rules import AT_LEAST, PROBABILITIES, problems
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.launch import resume
from medtrain.runs.run import Run

SETTINGS = list(fingerprint.flat(Config()))


def changed(config: Config, name: str, value: Any) -> Config:
    """`config` with one setting, named in full, set to `value`."""
    section, _, field = name.rpartition(".")
    if not section:
        return dataclasses.replace(config, **{name: value})
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **{field: value})})


def other_value(value: Any) -> Any:
    """Something of the same type that is not `value`."""
    if isinstance(value, tuple):
        return (*value, "module load cuda")
    return value + "x" if isinstance(value, str) else value + 1


def test_every_flag_name_belongs_to_one_setting() -> None:
    short = [name.split(".")[-1] for name in SETTINGS]
    assert sorted(short) == sorted(set(short)), "flags have no prefix: two settings of one name could not be told apart"
    assert not {name.replace("_", "-") for name in short} & {"dry-run", "json", "here", "config", "help"}


def test_defaults_and_recipes_break_no_rule() -> None:
    assert problems(Config()) == []
    for recipe in configfile.recipe_names():
        assert problems(configfile.resolve(recipe)) == [], recipe


@pytest.mark.parametrize("name", AT_LEAST)
def test_smallest_values(name: str) -> None:
    least, _ = AT_LEAST[name]
    whole = type(functools.reduce(getattr, name.split("."), Config()))(least)
    assert problems(changed(Config(), name, whole)) == [], "the smallest value itself is allowed"
    (problem,) = problems(changed(Config(), name, whole - 1))
    assert f"{name.split('.')[-1]} is {whole - 1}" in problem
    assert f"at least {least:g}" in problem


@pytest.mark.parametrize("name", PROBABILITIES)
def test_probabilities(name: str) -> None:
    assert problems(changed(Config(), name, 1.0)) == []
    for bad in (-0.1, 1.1):
        (problem,) = problems(changed(Config(), name, bad))
        assert problem == f"{name.split('.')[-1]} is {bad}: it lies between 0 and 1"


@pytest.mark.parametrize(
    ("name", "bad", "words"),
    [
        ("run", "a b", "run is 'a b'"),
        ("run", "../up", "run is '../up'"),
        ("run", "x" * 101, "at most 100"),
        ("optim.layer_decay", 0.0, "layer_decay is 0.0"),
        ("data.sampling", ("nih:2",), "sampling is 'nih:2'"),
        ("data.std", 0.0, "std is 0.0"),
        (
            "data.score_threshold",
            70.0,
            "score_threshold is 70.0: it makes a label of scores, and the task is multiclass",
        ),
        ("augment.rotate_deg", 181.0, "rotate_deg is 181.0"),
        ("augment.zoom_min", 0.0, "zoom is 0.0 to 1.0"),
        ("augment.zoom_min", 1.5, "zoom is 1.5 to 1.0"),
        ("optim.lr", 0.0, "lr is 0.0"),
        ("schedule.min_lr", 1.0, "min_lr is 1.0: it must not exceed lr"),
        ("schedule.factor", 1.0, "factor is 1.0"),
        ("optim.unfreeze", "0", "unfreeze is '0': write how many blocks train, as 2 or 1,2,3"),
        ("optim.unfreeze", "1,two", "unfreeze is '1,two'"),
        ("optim.unfreeze", "1,2", "(--unfreeze_every 3)"),
        ("loss.focal_alpha", "equal", "focal_alpha is 'equal': write none, balanced, or a number"),
        ("loss.focal_alpha", "1.5", "a number between 0 and 1"),
        ("loss.focal_alpha", ".0", "a number between 0 and 1"),
        ("slurm.time", "two days", "time is 'two days'"),
        ("slurm.time", "1:2:3:4", "write 90, 1:30:00 or 2-12:00:00"),
        ("data.mean", float("nan"), "mean is nan: a finite number is needed"),
        ("optim.lr", float("inf"), "lr is inf: a finite number is needed"),
    ],
)
def test_single_rules(name: str, bad: Any, words: str) -> None:
    (problem,) = problems(changed(Config(), name, bad))
    assert words in problem


@pytest.mark.parametrize(("counts", "good"), [("2", True), ("1,2,10", True), ("2,1", False), ("1,1", False)])
def test_counts_of_blocks_that_train(counts: str, good: bool) -> None:
    found = problems(changed(changed(Config(), "optim.unfreeze", counts), "optim.unfreeze_every", 3))
    assert found == ([] if good else [f"unfreeze is {counts}: each number must be larger than the one before it"])


def test_only_several_labels_have_an_alpha() -> None:
    config = changed(Config(), "loss.focal_alpha", "0.25")
    assert problems(changed(config, "task", "multilabel")) == []
    (problem,) = problems(changed(config, "task", "abnormality"))
    assert "focal_alpha is 0.25, and the weights of task abnormality are the paper's" in problem


@pytest.mark.parametrize("time", ["90", "1:30:00", "01:30", "2-12:00:00"])
def test_time_limits_as_slurm_writes_them(time: str) -> None:
    assert problems(changed(Config(), "slurm.time", time)) == []


def test_every_broken_rule_is_named_at_once() -> None:
    bad = changed(changed(changed(Config(), "epochs", 0), "optim.lr", -1.0), "slurm.nodes", 0)
    found = " / ".join(problems(bad))
    assert all(words in found for words in ("epochs is 0", "lr is -1.0", "nodes is 0"))


def test_every_number_has_a_rule() -> None:
    """A number without any rule lets nonsense through to the cluster; `seed` alone may be anything."""
    numbers = {name for name, value in fingerprint.flat(Config()).items() if type(value) in (int, float)}
    by_hand = {"data.std", "data.mean", "augment.rotate_deg", "augment.zoom_min", "augment.zoom_max", "optim.lr"}
    by_hand |= {"schedule.factor", "seed", "optim.layer_decay", "augment.crop_time_min"}
    by_hand |= {"model.channels", "data.score_threshold"}  # its type allows 1 and 3 only; any finite score
    assert numbers - set(AT_LEAST) - set(PROBABILITIES) == by_hand


@pytest.mark.parametrize("name", SETTINGS)
def test_only_free_settings_leave_the_fingerprint_alone(name: str) -> None:
    new = changed(Config(), name, other_value(fingerprint.flat(Config())[name]))
    free = canonical(name, None)[0] in FREE_FIELDS or name.split(".")[0] in FREE_SECTIONS
    assert (fingerprint.fingerprint(new) == fingerprint.fingerprint(Config())) == free
    assert (fingerprint.binding(new) == fingerprint.binding(Config())) == free


def test_the_length_of_a_cosine_is_not_free() -> None:
    cosine = changed(Config(), "schedule.schedule", "cosine")
    assert fingerprint.fingerprint(cosine) != fingerprint.fingerprint(changed(cosine, "epochs", 20))
    plateau = changed(Config(), "schedule.schedule", "plateau")
    assert fingerprint.fingerprint(plateau) == fingerprint.fingerprint(changed(plateau, "epochs", 20))


def test_free_names_are_settings() -> None:
    assert set(FREE_FIELDS) <= {canonical(name, None)[0] for name in SETTINGS}
    assert set(FREE_SECTIONS) <= {name.split(".")[0] for name in SETTINGS if "." in name}


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.06), (0.06, 0.0)])
def test_a_setting_that_came_later_cannot_change_either(tmp_path: Path, before: float, after: float) -> None:
    """It is in the fingerprint only where it is used: to begin or to end its use is a change all the same."""
    old, new = (changed(Config(), "augment.shift", value) for value in (before, after))
    with pytest.raises(InputError, match=f"augment.shift: {before} -> {after}"):
        resume.ensure_same_settings(Run(tmp_path / "first"), old, new)
    resume.ensure_same_settings(Run(tmp_path / "first"), old, old)
