"""YAML to settings and back: nothing is lost, nothing is misread, and every mistake of a file is named at once."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from medtrain.cli.flags import parse_settings
from medtrain.config import configfile, fingerprint, yaml12
from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.runs.run import Run

RECIPES = configfile.recipe_names()


@pytest.fixture
def yaml(tmp_path: Path):
    """Writes a settings file and returns its path."""

    def write(text: str, name: str = "mine.yaml") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def mistakes(text: str) -> str:
    """What the InputError on a YAML text says."""
    with pytest.raises(InputError) as caught:
        configfile.merge(Config(), yaml12.parse_yaml(text, "mine.yaml"), "mine.yaml")
    assert caught.value.exit_code == 2
    assert caught.value.fix
    return caught.value.problem


def test_mednist_is_the_published_recipe() -> None:
    config = configfile.resolve("mednist")
    assert (config.recipe, config.epochs, config.data.image_size) == ("mednist", 100, 64)
    assert (config.optim.lr, config.optim.optimizer, config.schedule.schedule) == (1e-4, "adam", "plateau")
    assert config.data.batch_size * config.data.grad_accumulation == 8


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_survives_a_round_trip(recipe: str, tmp_path: Path) -> None:
    config = configfile.resolve(recipe)
    configfile.check(config, recipe)
    configfile.save(config, tmp_path / "config.yaml")
    assert configfile.load(tmp_path / "config.yaml") == config
    assert configfile.resolve(recipe, [str(tmp_path / "config.yaml")]) == config, "a saved file is a valid -c file"
    assert configfile.recipe_title(recipe).endswith("."), "its first line says what it trains"
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"], "no temporary file is left"


# Each of these is something else than text to YAML 1.1 or 1.2.
@pytest.mark.parametrize(
    "name", ["1e4", "12e5", "no", "yes", "null", "~", "010", "1:30:00", "2024-01-01", "0x1F", ".5"]
)
def test_text_that_looks_like_something_else_survives(name: str, tmp_path: Path) -> None:
    slurm = dataclasses.replace(Config().slurm, account=name, partition="Ärzte", setup=(name, "module load cuda"))
    config = dataclasses.replace(Config(), slurm=slurm, run=name)
    configfile.save(config, tmp_path / "config.yaml")
    assert configfile.load(tmp_path / "config.yaml") == config


def test_numbers_and_words_are_read_by_yaml_1_2() -> None:
    text = "a: 1e-4\nb: no\nc: off\nd: 010\ne: 1:30\nf: true\ng: 1.\nh: -3\ni: 2024-01-01\nj: null\nk: 0x10\nl: .5e+3"
    expected = {
        "a": 1e-4, "b": "no", "c": "off", "d": 10, "e": "1:30", "f": True, "g": 1.0, "h": -3, "i": "2024-01-01",
        "j": None, "k": "0x10", "l": 500.0,
    }  # fmt: skip
    values = yaml12.parse_yaml(text, "mine.yaml")
    assert values == expected
    assert {key: type(value) for key, value in values.items()} == {key: type(v) for key, v in expected.items()}


def test_values_become_the_type_of_the_setting() -> None:
    config = configfile.merge(
        Config(), yaml12.parse_yaml("optim: {lr: 1}\nslurm: {time: 1:30:00, setup: [a, b]}\nrun: off", "x"), "x"
    )
    assert (config.optim.lr, type(config.optim.lr)) == (1.0, float), "a whole number is good where a number is asked"
    assert (config.slurm.time, config.slurm.setup, config.run) == ("1:30:00", ("a", "b"), "off")


def test_three_mistakes_are_all_named_with_the_nearest_names() -> None:
    said = mistakes("epoch: 3\ndata:\n  batchsize: 8\noptim:\n  lr: fast\n  weightdecay: 0.1\n")
    assert said.startswith("mine.yaml: ")
    assert "there is no setting epoch (did you mean epochs?)" in said
    assert "there is no setting data.batchsize (did you mean batch_size?)" in said
    assert "optim.lr is 'fast': write a number" in said
    assert "there is no setting optim.weightdecay (did you mean weight_decay?)" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch_size: 8", "there is no setting batch_size (it belongs at data.batch_size)"),
        ("data: {lr: 0.1}", "there is no setting data.lr (it belongs at optim.lr)"),
        ("data: {epochs: 3}", "there is no setting data.epochs (it belongs at epochs)"),
        ("batchsize: 8", "there is no setting batchsize (did you mean data.batch_size?)"),
        ("data: 8", "data is a section: write its settings below it, indented"),
        ("epochs: many", "epochs is 'many': write a whole number"),
        ("epochs: 1.5", "epochs is 1.5: write a whole number"),
        ("epochs: true", "epochs is True: write a whole number"),
        ("optim: {lr: true}", "optim.lr is True: write a number"),
        ("run: 7", "run is 7: write text (in quotes)"),
        ("slurm: {setup: module load cuda}", "write a list"),
        ("slurm: {setup: [1]}", "write text (in quotes)"),
        ("precision: bf17", "precision is 'bf17': choose auto, bf16, fp16, fp32"),
        ("model: {channels: 2}", "model.channels is 2: choose 1, 3"),
        ("model: {channels: true}", "model.channels is True: choose 1, 3"),
        ("model: {channels: 1.0}", "model.channels is 1.0: choose 1, 3"),
        ("epochs:", "epochs is None: write a whole number"),
    ],
)
def test_each_mistake_says_what_to_write(text: str, words: str) -> None:
    assert words in mistakes(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs: [1", "not valid YAML"),
        ("epochs: 1\n epochs2: 2", "not valid YAML"),
        ("- epochs", "holds list, not settings"),
        ("just words", "holds str, not settings"),
        ("epochs: !!int many", "not valid YAML"),
        ("epochs: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("data: {batch_size: 1}\nepochs: 3\ndata: {workers: 2}", "data is written twice"),
        ("epochs: 1\nepochs: 2", "epochs is written twice"),
    ],
)
def test_files_that_are_no_settings(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        yaml12.parse_yaml(text, "mine.yaml")
    assert caught.value.problem.startswith("mine.yaml: ")
    assert "\n" not in caught.value.problem


def test_empty_files_change_nothing(yaml) -> None:
    for text in ("", "# nothing\n", "---\n", "{}"):
        assert configfile.resolve("mednist", [yaml(text)]) == configfile.resolve("mednist")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff\xfe\x00")
    missing = {"none.yaml": "No such file", ".": "Is a directory", "image.png": "not UTF-8"}
    for name, words in missing.items():
        with pytest.raises(InputError, match=words) as caught:
            configfile.resolve("mednist", [str(tmp_path / name)])
        assert str(tmp_path / name) in caught.value.problem


def test_an_unknown_recipe_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=re.escape("there is no recipe 'mednst' (did you mean mednist?)")):
        configfile.resolve("mednst")


def test_check_names_the_origin_and_every_broken_rule() -> None:
    bad = dataclasses.replace(Config(), epochs=0, patience=-1)
    with pytest.raises(InputError, match=r"recipe x: epochs is 0.*; patience is -1"):
        configfile.check(bad, "recipe x")


def test_difference_names_what_changed_in_full() -> None:
    new = dataclasses.replace(Config(), epochs=3, optim=dataclasses.replace(Config().optim, lr=0.1))
    assert fingerprint.difference(Config(), new) == ["epochs: 10 -> 3", "optim.lr: 0.0001 -> 0.1"]
    assert fingerprint.difference(Config(), Config()) == []


def test_one_flag_leaves_the_rest_of_the_recipe_alone() -> None:
    recipe = configfile.resolve("mednist")
    config, switches = parse_settings("train", ["mednist", "--rotate-deg", "20"])
    assert fingerprint.difference(recipe, config) == ["augment.rotate_deg: 15.0 -> 20.0"]
    assert switches == {"json": False}
    assert parse_settings("train", ["mednist"])[0] == recipe


def test_precedence_is_recipe_then_files_in_order_then_flags(yaml) -> None:
    first = yaml("epochs: 11\nseed: 11\noptim: {lr: 0.11}\n", "first.yaml")
    second = yaml("seed: 22\noptim: {lr: 0.22}\n", "second.yaml")
    config, _ = parse_settings("train", ["mednist", "-c", first, "--lr", "0.33", f"--config={second}"])
    assert (config.epochs, config.seed, config.optim.lr) == (11, 22, 0.33)
    assert config.patience == 15, "the recipe's own"
    swapped, _ = parse_settings("train", ["mednist", "-c", second, "-c", first])
    assert (swapped.seed, swapped.optim.lr) == (11, 0.11)


def test_a_file_does_not_change_the_recipe_that_was_named(yaml) -> None:
    assert parse_settings("train", ["mednist", "-c", yaml("recipe: other\nepochs: 3")])[0].recipe == "mednist"
    with pytest.raises(InputError, match="--recipe"):
        parse_settings("train", ["mednist", "--recipe", "other"])


def test_short_names_with_either_dash() -> None:
    line = "--epochs 3 --lr 1e-3 --batch_size 16 --max_samples 100 --weight_decay 0.01 --backbone densenet169"
    words = line.split()
    config, _ = parse_settings("train", ["mednist", *words])
    assert (config.epochs, config.optim.lr, config.data.batch_size) == (3, 1e-3, 16)
    assert (config.data.max_samples, config.optim.weight_decay, config.model.backbone) == (100, 0.01, "densenet169")
    dashes, _ = parse_settings("train", ["mednist", *(w.replace("_", "-") for w in words)])
    equals, _ = parse_settings("train", ["mednist", "--batch_size=16", "--max-samples=100"])
    assert dashes == config
    assert (equals.data.batch_size, equals.data.max_samples) == (16, 100)


@pytest.mark.parametrize("name", fingerprint.flat(Config()))
def test_every_setting_is_a_flag_of_its_last_name(name: str) -> None:
    value = fingerprint.flat(configfile.resolve("mednist"))[name]
    if name in ("recipe", "slurm.sbatch"):  # the second collects flags: test_sbatch_options.py
        return
    words = list(value) if isinstance(value, tuple) else [str(value)]
    words = [] if value is False else words
    config, _ = parse_settings("train", ["mednist", f"--{name.split('.')[-1]}", *words])
    if value is False:  # a switch
        assert fingerprint.flat(config).pop(name) is True
    else:
        assert config == configfile.resolve("mednist")


def test_switches_belong_to_their_command() -> None:
    _, switches = parse_settings("submit", ["mednist", "--dry_run", "--epochs", "3"])
    assert switches == {"dry-run": True, "when": False, "json": False}
    with pytest.raises(InputError, match="does not know --dry-run"):  # and does not train in earnest
        parse_settings("train", ["mednist", "--dry-run"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epochs", "3"], "--epochs comes before the name"),
        (["mednist", "-c"], "-c needs a value"),
        (
            ["mednist", "--epochz", "3", "--lrr=1"],
            r"--epochz \(did you mean --epochs\?\), --lrr=1 \(did you mean --lr\?\)",
        ),
        (["mednist", "stray"], "does not know stray"),
        (["mednist", "--epochs", "x"], "--epochs: .*'x'"),
        (["mednist", "--epochs"], "--epochs needs a value"),
        (["mednist", "--precision", "bf17"], r"--precision is 'bf17' \(did you mean bf16\?\)"),
    ],
)
def test_mistakes_in_flags_are_one_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=said) as caught:
        parse_settings("train", words)
    assert "\n" not in caught.value.problem
    assert caught.value.fix
    assert capsys.readouterr() == ("", ""), "nothing but the two lines of the error"


def test_a_resumed_run_starts_from_its_own_settings(tmp_path: Path, yaml) -> None:
    runs = str(tmp_path / "runs")
    config, _ = parse_settings("train", ["mednist", "--run", "first", "--runs", runs, "--lr", "0.5"])
    configfile.save(config, Run.create(runs, "first").config_file)
    again, switches = parse_settings("resume", ["first", "--runs", runs, "--epochs", "7", "--here"])
    assert fingerprint.difference(config, again) == ["epochs: 100 -> 7"]
    assert switches == {"here": True, "json": False}
    from_file, _ = parse_settings("resume", ["first", "--runs", runs, "-c", yaml("patience: 3\nrun: other")])
    assert fingerprint.difference(config, from_file) == ["patience: 15 -> 3"]
    with pytest.raises(InputError, match="not settings"):
        parse_settings("resume", ["first", "--runs", runs, "--run", "second"])
    with pytest.raises(InputError, match=r"no run 'frist'.*did you mean first\?"):
        parse_settings("resume", ["frist", "--runs", runs])


def test_a_setting_that_came_later_leaves_old_runs_what_they_were() -> None:
    assert fingerprint.fingerprint(configfile.resolve("demo")) == "18f0e05d828cedb8", "as before there was an EMA"
    smooth = configfile.resolve("demo")
    smooth = dataclasses.replace(smooth, optim=dataclasses.replace(smooth.optim, ema_decay=0.9))
    assert fingerprint.fingerprint(smooth) != "18f0e05d828cedb8"
