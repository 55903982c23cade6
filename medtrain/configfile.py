"""Strict YAML <-> Config: recipes and -c files merged in order, all mistakes of a file named at once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medtrain.config import FREE_FIELDS, FREE_SECTIONS, Config
from medtrain.configrules import problems
from medtrain.errors import InputError, nearest

RECIPES = Path(__file__).parent / "recipes"
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
CLUSTERS = Path(__file__).parents[1] / "slurm" / "clusters"
YAML_TAG = "tag:yaml.org,2002:"
# How YAML 1.2 reads a plain scalar (its core schema): tag, pattern, first characters.
YAML_RULES: list[tuple[str, str, Iterable[str]]] = [
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
]


def recipe_names() -> list[str]:
    """The recipes of this package, in alphabetical order."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_title(name: str) -> str:
    """The first comment line of a recipe file: one sentence on what it trains."""
    return (RECIPES / f"{name}.yaml").read_text().splitlines()[0].lstrip("# ")


def resolve(recipe: str, files: list[str] | None = None) -> Config:
    """The config of a recipe with `-c` files merged over it in order (flags come later)."""
    if recipe not in recipe_names():
        raise InputError(
            f"there is no recipe {recipe!r}{nearest(recipe, recipe_names())}", "list them: medtrain recipes"
        )
    config = merge(Config(), read_yaml(RECIPES / f"{recipe}.yaml"), f"recipe {recipe}")
    return dataclasses.replace(overlay(config, files or []), recipe=recipe)


def overlay(config: Config, files: list[str]) -> Config:
    """`config` with settings files merged over it in order; the recipe that they name is not taken over."""
    for file in files:
        values = {key: value for key, value in read_yaml(Path(file)).items() if key != "recipe"}
        config = merge(config, values, file)
    return config


def with_cluster(config: Config, name: str) -> Config:
    """`config` with the Slurm settings of a cluster's file laid over it; `name` is in slurm/clusters, or a path."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else CLUSTERS / f"{name}.yaml"
    if not path.exists():
        known = sorted(file.stem for file in CLUSTERS.glob("*.yaml"))
        raise InputError(f"there is no cluster file {path}{nearest(name, known)}", "write one: see slurm/README.md")
    return merge(config, {"slurm": {**read_yaml(path), "cluster": name}}, str(path))


def check(config: Config, origin: str) -> None:
    """Raise InputError that names every rule `config` breaks; `origin` says where the values came from."""
    found = problems(config)
    if found:
        raise InputError(f"{origin}: " + "; ".join(found), "correct these settings (medtrain train RECIPE --help)")


def load(path: Path) -> Config:
    """The config saved in a run folder."""
    return merge(Config(), read_yaml(path), str(path))


def save(config: Config, path: Path) -> None:
    """Write `config` as plain YAML that is itself a valid `-c` file, and prove that it reads back the same."""
    import yaml

    text = "# A valid settings file: medtrain train RECIPE -c THIS_FILE\n"
    text += yaml.dump(to_dict(config), Dumper=_dumper(), sort_keys=False, allow_unicode=True)
    again = merge(Config(), parse_yaml(text, str(path)), str(path))
    if again != config:
        raise RuntimeError(f"{path}: the config changed when read back: {difference(config, again)}")
    # Its config.yaml is what makes a folder a run: it is there whole or not at all.
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


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
    """The settings that decide the weights: those that a resumed run may not change.

    A setting that came later and is not used is left out, so that runs from before it go on.
    """
    decides = {
        name: value
        for name, value in flat(config).items()
        if name not in FREE_FIELDS and name.split(".")[0] not in FREE_SECTIONS and value != ADDED_LATER.get(name, ...)
    }
    # A cosine is stretched over all epochs, so their number decides every learning rate of it.
    return {**decides, "epochs": config.epochs if config.schedule.schedule == "cosine" else "any"}


def fingerprint(config: Config) -> str:
    """A digest of the settings that decide the weights."""
    return hashlib.sha256(json.dumps(binding(config), sort_keys=True).encode()).hexdigest()[:16]


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, read by the YAML 1.2 rules (1e-4 is a number, `no` is text)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read ({reason})", "give the path of a YAML settings file") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, origin: str) -> dict[str, Any]:
    """As `read_yaml`, from text; `origin` names it in errors."""
    import yaml

    try:
        values = yaml.load(text, Loader=_loader())
    except (yaml.YAMLError, ValueError) as error:  # ValueError: `!!int many`, or an integer of 5,000 digits
        raise InputError(f"{origin}: not valid YAML: {' '.join(str(error).split())}", "correct the file") from None
    if values is not None and not isinstance(values, dict):
        raise InputError(f"{origin}: holds {type(values).__name__}, not settings", "write lines like `epochs: 20`")
    return values or {}


def _loader() -> Any:
    """PyYAML speaks YAML 1.1, where `no` is False and 1e-4 is text; this loader resolves scalars by YAML 1.2."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            """PyYAML keeps the last of two equal keys: a second `data:` would silently discard the first."""
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for key in keys:
                if keys.count(key) > 1:
                    raise yaml.constructor.ConstructorError(problem=f"{key} is written twice")
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {}
    for tag, pattern, first in YAML_RULES:
        Loader.add_implicit_resolver(f"{YAML_TAG}{tag}", re.compile(rf"^(?:{pattern})$"), list(first))
    Loader.add_constructor(f"{YAML_TAG}int", lambda loader, node: int(node.value))  # 010 is ten, not eight
    return Loader


def _dumper() -> Any:
    """Quotes every text that YAML 1.1 or 1.2 would read as something else: a run may be named 1e4."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    for tag, pattern, first in YAML_RULES:
        Dumper.add_implicit_resolver(f"{YAML_TAG}{tag}", re.compile(rf"^(?:{pattern})$"), list(first))
    return Dumper


def merge(config: Config, values: dict[str, Any], origin: str) -> Config:
    """`config` with `values` (as read from YAML) laid over it; names every unknown key and wrong type at once."""
    found: list[str] = []
    merged = _merge(config, values, "", found)
    if found:
        raise InputError(
            f"{origin}: " + "; ".join(found), "correct the file (medtrain train RECIPE --help shows all settings)"
        )
    return merged  # type: ignore[no-any-return]


def _merge(section: Any, values: dict[str, Any], prefix: str, found: list[str]) -> Any:
    hints = typing.get_type_hints(type(section))
    changes: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in hints:
            known = [*hints, *flat(Config())]  # of this section first, then of all by their full names
            found.append(f"there is no setting {prefix}{key}{_elsewhere(name) or nearest(name, known)}")
        elif dataclasses.is_dataclass(hints[name]):
            if isinstance(value, dict):
                changes[name] = _merge(getattr(section, name), value, f"{name}.", found)
            else:
                found.append(f"{name} is a section: write its settings below it, indented")
        else:
            try:
                changes[name] = _convert(value, hints[name])
            except (ValueError, OverflowError) as error:
                found.append(f"{prefix}{name} is {value!r}: {error}")
    return dataclasses.replace(section, **changes)


def _elsewhere(name: str) -> str:
    """Where a setting lives that was written in the wrong section."""
    places = [full for full in flat(Config()) if full.split(".")[-1] == name]
    return f" (it belongs at {places[0]})" if places else ""


def _convert(value: Any, hint: Any) -> Any:
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if not any(type(value) is type(choice) and value == choice for choice in choices):  # True == 1
            raise ValueError("choose " + ", ".join(map(str, choices)))
        return value
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ValueError("write a list")
        return tuple(_convert(item, typing.get_args(hint)[0]) for item in value)
    if hint is float and type(value) in (int, float):
        return float(value)
    if type(value) is hint:
        return value
    words = {
        int: "write a whole number",
        float: "write a number",
        bool: "write true or false",
        str: "write text (in quotes)",
    }
    raise ValueError(words[hint])
