"""The commands recipes and recipe new: what can be trained, and a recipe of one's own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from medtrain.cli.flag_types import Flag
from medtrain.config import configfile
from medtrain.config.json_schema import json_schema
from medtrain.core.console import say, say_json, table
from medtrain.core.errors import InputError, nearest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def recipes(json: Flag = False) -> None:
    """The recipes that `train` and `submit` know.

    Args:
        json: Print one JSON document.
    """
    titles = {name: configfile.recipe_title(name) for name in configfile.recipe_names()}
    if json:
        say_json(titles)
    else:
        say(table(("recipe", "what it trains"), titles.items()))
        say("\nall settings of one: medtrain train RECIPE --help")
        say("one of your own: medtrain recipe new NAME --from RECIPE")


def recipe_new(
    name: Positional[Annotated[str, arg(metavar="NAME")]],
    base: Annotated[str, arg(name="from")] = "mednist",
    out: Path = Path(),
) -> None:
    """Write a recipe of your own: the settings of one that is there, in a YAML file to edit.

    Args:
        name: What it is called: NAME.yaml is written.
        base: The recipe whose settings it begins with.
        out: Folder for the file.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"the name {name!r} may have letters, digits, - and _", "choose another name")
    known = configfile.recipe_names()
    if base not in known:
        raise InputError(f"there is no recipe {base!r}{nearest(base, known)}", "list them: medtrain recipes")
    path = out / f"{name}.yaml"
    try:
        with path.open("x") as file:
            file.write(_text(name, base, path))
    except FileExistsError:
        raise InputError(f"{path} exists already", "edit it, or choose another name") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})", "give --out a folder that is there") from None
    say(f"{path}: the settings of {base}\nedit it, then: {_train(path)}")


def recipe_schema() -> None:
    """Print a JSON Schema of a settings file, by which an editor completes and checks it.

    With the YAML language server: write it to a file, and begin the settings with
    `# yaml-language-server: $schema=THAT_FILE`.
    """
    say_json(json_schema())


def _text(name: str, base: str, path: Path) -> str:
    lines = (configfile.RECIPES / f"{base}.yaml").read_text().splitlines(keepends=True)
    head = (
        f"# {name}: a recipe of your own, which began as {base}.\n# Train it: {_train(path)}\n"
        f"# What else can be set: medtrain train {base} --help\n"
    )
    return head + "".join(line for line in lines if not line.startswith("#"))


def _train(path: Path) -> str:
    return f"medtrain train {shlex.quote(str(path))} --shards DIR --run NAME"
