"""Strict YAML <-> Config: recipes and -c files merged in order, all mistakes of a file named at once."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medtrain.config import cluster_files, node_range, sbatch_options
from medtrain.config.fingerprint import difference, flat, to_dict
from medtrain.config.renamed import NEW_NAMES, current, with_old_names, without_unused
from medtrain.config.rules import problems
from medtrain.config.schema import Config, SlurmConfig
from medtrain.config.yaml12 import dumper, parse_yaml, read_yaml
from medtrain.core.console import note
from medtrain.core.errors import InputError, nearest

# Numbers that sbatch writes otherwise too, which laid_over makes two settings of.
ALSO: dict[str, tuple[Callable[[object], object], str]] = {
    "gpus_per_node": (sbatch_options.typed, ", or TYPE:N (a100:4)"),
    "nodes": (node_range.nodes_range, ", or A-B (2-8)"),
}
RECIPES = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    """The recipes of this package, in alphabetical order."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_title(name: str) -> str:
    """The first comment line of a recipe file: one sentence on what it trains."""
    return (RECIPES / f"{name}.yaml").read_text().splitlines()[0].lstrip("# ")


def resolve(recipe: str, files: list[str] | None = None) -> Config:
    """The config of a recipe with `-c` files merged over it in order (flags come later); a recipe of one's own is a
    YAML file that names the one which it changes."""
    if recipe.endswith((".yaml", ".yml")):
        base = str(read_yaml(Path(recipe)).get("recipe", ""))
        if base not in recipe_names():
            problem = f"{recipe} names {f'the recipe {base!r}, which there is not' if base else 'no recipe'}"
            raise InputError(problem, "write one of these: " + ", ".join(f"recipe: {name}" for name in recipe_names()))
        return resolve(base, [recipe, *(files or [])])
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
        tell_renamed(file, {old: NEW_NAMES[old] for old in names_in(values) if old in NEW_NAMES})
    return config


def tell_renamed(origin: str, renamed: dict[str, str]) -> None:
    """A note for who still writes settings by their old names, which keep working."""
    if renamed:
        note(f"{origin}: " + ", ".join(f"{old} is {new} now" for old, new in renamed.items()))


def names_in(values: dict[str, Any]) -> list[str]:
    """The full names of the settings that a file has, `data.batch_size` and the like."""
    found: list[str] = []
    for key, value in values.items():
        name = str(key).replace("-", "_")
        inner = [str(own).replace("-", "_") for own in value] if isinstance(value, dict) else []
        found += [f"{name}.{own}" for own in inner] or [name]
    return found


def with_cluster(config: Config, name: str) -> Config:
    """`config` with the Slurm settings of a cluster's file laid over it, which is found by its name or its path."""
    path = cluster_files.find(name)
    return merge(config, {"slurm": {**read_yaml(path), "cluster": name}}, str(path))


def with_checked_options(slurm: SlurmConfig, given: dict[str, Any]) -> SlurmConfig:
    """Settings of Slurm with what flags say laid over them; InputError where that contradicts itself."""
    changed = dataclasses.replace(slurm, **sbatch_options.laid_over(slurm, given))
    check(Config(slurm=changed), "the request to Slurm")
    return changed


def check(config: Config, origin: str) -> None:
    """Raise InputError that names every rule `config` breaks; `origin` says where the values came from."""
    found = problems(config)
    if found:
        raise InputError(f"{origin}: " + "; ".join(found), "correct these settings (medtrain train RECIPE --help)")


def load(path: Path) -> Config:
    """The config saved in a run folder."""
    return merge(Config(), read_yaml(path), str(path))


def save(config: Config, path: Path, old_names: bool = False) -> None:
    """Write `config` as plain YAML that is itself a valid `-c` file, and prove that it reads back the same; with
    `old_names` for a run whose own copy of medtrain knows no others."""
    import yaml

    text = "# A valid settings file: medtrain train RECIPE -c THIS_FILE\n"
    values = without_unused(to_dict(config), to_dict(Config()))
    values = with_old_names(values) if old_names else values
    text += yaml.dump(values, Dumper=dumper(), sort_keys=False, allow_unicode=True)
    again = merge(Config(), parse_yaml(text, str(path)), str(path))
    if again != config:
        raise RuntimeError(f"{path}: the config changed when read back: {difference(config, again)}")
    # Its config.yaml is what makes a folder a run: it is there whole or not at all.
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


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
        new, value = current(prefix + name, value)
        name = new.removeprefix(prefix)
        if name in changes:
            found.append(f"{prefix}{name} is there twice, by an old name too")
        elif name not in hints:
            known = [*hints, *flat(Config())]  # of this section first, then of all by their full names
            found.append(f"there is no setting {prefix}{key}{_elsewhere(name) or nearest(name, known)}")
        elif dataclasses.is_dataclass(hints[name]):
            if isinstance(value, dict):
                changes[name] = _merge(getattr(section, name), value, f"{name}.", found)
            else:
                found.append(f"{name} is a section: write its settings below it, indented")
        else:
            try:
                count = name in ALSO and ALSO[name][0](value)
                changes[name] = value if count else _convert(value, hints[name])
            except (ValueError, OverflowError) as error:
                also = ALSO[name][1] if name in ALSO else ""
                found.append(f"{prefix}{name} is {value!r}: {error}{also}")
    if isinstance(section, SlurmConfig):
        changes = sbatch_options.laid_over(section, changes)
    return dataclasses.replace(section, **changes)


def _elsewhere(name: str) -> str:
    """Where a setting lives that was written in the wrong section."""
    new = next((new for old, new in NEW_NAMES.items() if old.split(".")[-1] == name), name).split(".")[-1]
    places = [full for full in flat(Config()) if full.split(".")[-1] == new]
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
