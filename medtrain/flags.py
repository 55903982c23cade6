"""The second step of parsing: tyro turns a function's or a Config's fields into flags."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import tyro

from medtrain import configfile
from medtrain.config import Config
from medtrain.errors import InputError
from medtrain.run import Run

USAGE = {
    "train": "medtrain train RECIPE [-c FILE.yaml] [SETTINGS]",
    "submit": "medtrain submit RECIPE [-c FILE.yaml] [--dry-run] [--json] [SETTINGS]",
    "resume": "medtrain resume RUN [--runs DIR] [--here] [SETTINGS]",
}


def load(place: str) -> Callable[..., Any]:
    """The function named `module:function`."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def call(place: str, command: str, rest: list[str]) -> int:
    """Call a command function with flags made from its signature and docstring."""
    code = tyro.cli(load(place), args=rest, prog=f"medtrain {command}")
    return int(code or 0)


def call_with_settings(place: str, command: str, rest: list[str]) -> int:
    """Call train, submit or resume with a Config: recipe (or the run's own settings) < -c files < flags."""
    if not rest or rest[0] in ("-h", "--help"):
        known = ", ".join(configfile.recipe_names())
        print(f"usage: {USAGE[command]}\n\nrecipes: {known}\nall settings of one: medtrain train RECIPE --help")
        return 0
    first, rest = rest[0], list(rest[1:])
    if first.startswith("-"):
        raise InputError(f"medtrain {command}: {first} comes before the name", f"write: {USAGE[command]}")
    files = _take_values(rest, ("-c", "--config"))
    switches = {name: _take(rest, f"--{name}") for name in ("dry-run", "json", "here")}
    if command == "resume":
        runs = _take_values(rest, ("--runs",)) or ["runs"]
        base = dataclasses.replace(configfile.load(Run.find(runs[-1], first).config_file), run=first, runs=runs[-1])
    else:
        base = configfile.resolve(first, files)
    config = tyro.cli(
        tyro.conf.OmitArgPrefixes[tyro.conf.FlagCreatePairsOff[Config]], default=base, args=rest, prog=f"medtrain {command} {first}"
    )
    if config.recipe != base.recipe or (command == "resume" and config.run != first):
        raise InputError("--recipe and the name of a resumed run are not settings", f"write: {USAGE[command]}")
    function = load(place)
    if command == "train":
        return int(function(config))
    if command == "resume":
        return int(function(config, switches["here"]))
    function(config, switches["dry-run"], switches["json"])
    return 0


def _take(rest: list[str], flag: str) -> bool:
    """Remove a switch, written with - or _, and say whether it was there."""
    found = [word for word in rest if word.replace("_", "-") == flag]
    for word in found:
        rest.remove(word)
    return bool(found)


def _take_values(rest: list[str], names: tuple[str, ...]) -> list[str]:
    """Remove `NAME VALUE` and `NAME=VALUE` pairs and return the values in order."""
    values = []
    i = 0
    while i < len(rest):
        name, equals, value = rest[i].partition("=")
        if name not in names:
            i += 1
        elif equals:
            values.append(value)
            del rest[i]
        elif i + 1 < len(rest):
            values.append(rest[i + 1])
            del rest[i : i + 2]
        else:
            raise InputError(f"{name} needs a value", f"{name} FILE")
    return values
