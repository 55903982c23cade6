"""Settings by their old names: read as before, and with the fingerprints that they always had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medtrain.cli.flags import parse_settings
from medtrain.config import configfile, fingerprint
from medtrain.config.dependency import as_sbatch_has_it, clauses, jobs_alone
from medtrain.config.renamed import NEW_NAMES, NEW_VALUES, OLD_NAMES, OLD_VALUES, current
from medtrain.config.schema import Config
from medtrain.config.yaml12 import read_yaml
from medtrain.core.errors import InputError
from medtrain.launch import resume
from medtrain.runs.run import Run

# As computed by version 0.1 before the renames (commit fb96480), the second ones over Config() with one change.
OF_RECIPES = {
    "chest": "d2c9bfda16695379",
    "chest_demo": "25829c0ddc2a2c52",
    "demo": "18f0e05d828cedb8",
    "echo": "52d5279cf05e58e9",
    "echo_demo": "9ef64aa520365953",
    "mednist": "5b635f5d2d48ac41",
    "mura": "7f496d62a78963a6",
    "mura_baseline": "7d60cf95ba831db5",
    "mura_demo": "5e3c892f7dc1aa44",
}
OF_OLD_NAMES = [
    ("watch", "loss", "faa9a2caffabe6e6"),
    ("hang_seconds", 61.0, "a17504078e501c77"),
    ("save_dir", "w", "a17504078e501c77"),
    ("data.accumulate", 3, "2299785a2d665816"),
    ("data.normalise", "imagenet", "dc574d61f2111d5d"),
    ("data.colours", "rgb", "c8c386de0f808ae8"),
    ("data.good_from", 0.6, "6129a1a7e9000e9a"),
    ("augment.light_p", 0.7, "b3eb5db60bdbb995"),
    ("augment.erase", 2, "c2af68c3a336dc12"),
    ("augment.erase_side", 0.3, "d8f968f8e2603b87"),
    ("augment.erase_p", 0.9, "57c51f59dcd5c820"),
    ("slurm.after", "812", "a17504078e501c77"),
    ("schedule.plateau_of", "watch", "6d187893a73aa9c8"),
]


def nested(name: str, value: Any) -> dict[str, Any]:
    """A setting as a file has it."""
    section, _, key = name.rpartition(".")
    return {section: {key: value}} if section else {key: value}


@pytest.mark.parametrize("recipe", OF_RECIPES)
def test_recipes_keep_their_fingerprints(recipe: str) -> None:
    assert fingerprint.fingerprint(configfile.resolve(recipe)) == OF_RECIPES[recipe]


def test_every_renamed_setting_is_here() -> None:
    assert {name for name, _, _ in OF_OLD_NAMES} == {*OLD_NAMES.values(), *(OLD_VALUES.keys() - OLD_NAMES.keys())}
    assert {*OLD_NAMES, *OLD_VALUES} <= fingerprint.flat(Config()).keys()
    assert not NEW_NAMES.keys() & fingerprint.flat(Config()).keys()


@pytest.mark.parametrize(("old", "value", "expected"), OF_OLD_NAMES)
def test_both_names_give_the_fingerprint_of_the_old_one(old: str, value: Any, expected: str, tmp_path: Path) -> None:
    by_old = configfile.merge(Config(), nested(old, value), "old.yaml")
    by_new = configfile.merge(Config(), nested(*current(old, value)), "new.yaml")
    assert by_old == by_new != Config()
    assert fingerprint.fingerprint(by_old) == expected
    for old_names in (False, True):
        configfile.save(by_new, tmp_path / "config.yaml", old_names)
        assert configfile.load(tmp_path / "config.yaml") == by_new
    written = read_yaml(tmp_path / "config.yaml")
    section, _, key = old.rpartition(".")
    assert (written[section] if section else written)[key] == value


@pytest.mark.parametrize(("old", "value", "_"), OF_OLD_NAMES)
def test_both_flags_are_read(old: str, value: Any, _: str, capsys: pytest.CaptureFixture[str]) -> None:
    new, told = current(old, value)
    more = [] if "rgb" not in str(value) and value != "imagenet" else ["--channels", "3"]
    flag, hyphens = old.split(".")[-1], new.split(".")[-1].replace("_", "-")
    by_old, _switches = parse_settings("train", ["chest_demo", f"--{flag}", str(value), *more])
    said = capsys.readouterr().err
    assert said == ("" if old == new else f"note: medtrain train: --{flag} is --{new.split('.')[-1]} now\n")
    assert parse_settings("train", ["chest_demo", f"--{flag}={value}", *more])[0] == by_old
    capsys.readouterr()
    assert parse_settings("train", ["chest_demo", f"--{hyphens}", str(told), *more])[0] == by_old
    assert capsys.readouterr().err == ""


def test_a_file_with_old_names_is_noted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("watch: loss\ndata:\n  accumulate: 3\n")
    config = configfile.resolve("demo", [str(file)])
    assert (config.monitor, config.data.grad_accumulation) == ("loss", 3)
    told = f"note: {file}: watch is monitor now, data.accumulate is data.grad_accumulation now\n"
    assert capsys.readouterr().err == told


def test_a_setting_by_both_names_is_refused() -> None:
    with pytest.raises(InputError, match=r"data\.normalize is there twice, by an old name too"):
        configfile.merge(Config(), {"data": {"normalise": "image", "normalize": "fixed"}}, "mine.yaml")


def test_an_old_name_in_the_wrong_section_is_told_where_it_belongs() -> None:
    with pytest.raises(InputError, match=r"there is no setting accumulate \(it belongs at data.grad_accumulation\)"):
        configfile.merge(Config(), {"accumulate": 2}, "mine.yaml")


@pytest.mark.parametrize(("old", "value", "_"), OF_OLD_NAMES)
def test_a_resumed_run_may_not_change_what_binds_by_its_new_name(old: str, value: Any, _: str, tmp_path: Path) -> None:
    changed = configfile.merge(Config(), nested(old, value), "x")
    if fingerprint.fingerprint(changed) == fingerprint.fingerprint(Config()):
        resume.ensure_same_settings(Run(tmp_path / "first"), Config(), changed)
        return
    with pytest.raises(InputError, match=f"{current(old, value)[0]}: "):
        resume.ensure_same_settings(Run(tmp_path / "first"), Config(), changed)


def test_values_are_translated_with_their_names() -> None:
    assert current("data.colours", "grey") == ("data.color_mode", "gray")
    assert NEW_VALUES["schedule.plateau_of"] == {"watch": "monitor"}


@pytest.mark.parametrize(
    ("text", "spelled", "alone"),
    [
        ("812", "afterok:812", "812"),
        ("812:813_4", "afterok:812:813_4", "812:813_4"),
        ("afterok:812,813", "afterok:812,afterok:813", "812:813"),
        ("afterany:812", "afterany:812", ""),
        ("afterok:812?afterok:813", "afterok:812?afterok:813", ""),
        ("after:812+30:813,singleton", "after:812+30:813,singleton", ""),
        ("", "", ""),
    ],
)
def test_dependencies_in_slurms_syntax(text: str, spelled: str, alone: str) -> None:
    assert (as_sbatch_has_it(text), jobs_alone(text)) == (spelled, alone)


@pytest.mark.parametrize(
    "text", ["soon", "afterok", "afterok:", "812,", "afterok:1?afterok:2,afterok:3", "afterok:812+3", "1 2"]
)
def test_what_is_no_dependency(text: str) -> None:
    assert clauses(text) is None
    with pytest.raises(InputError, match="dependency is"):
        configfile.check(configfile.merge(Config(), {"slurm": {"dependency": text}}, "x"), "x")
