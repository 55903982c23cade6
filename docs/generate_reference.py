"""Write the pages of docs/reference/ that follow from the code: commands, settings, recipes, exit codes, Python API.

    python docs/generate_reference.py

Sphinx calls `write` before it reads the pages. The pages are committed, so that they can be read without a build.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from reference_of_python import python_api  # noqa: E402

from medtrain.cli.command_table import COMMANDS  # noqa: E402
from medtrain.cli.main import run  # noqa: E402
from medtrain.config import configfile, fingerprint, schema  # noqa: E402
from medtrain.config.renamed import OLD_NAMES  # noqa: E402
from medtrain.config.sentences import sentences  # noqa: E402
from medtrain.core import errors  # noqa: E402

NOTE = "<!-- Written by docs/generate_reference.py from the code; do not edit. -->\n\n"
TYPES = {str: "text", int: "whole number", float: "number", bool: "yes or no"}
CODES = {
    "EXIT_DONE": "Done.",
    "EXIT_ENVIRONMENT": "The machine lacks something: a package, a device, Slurm, room on the disk.",
    "EXIT_INPUT": "What you gave (a path, a flag, the content of a file) cannot be used.",
    "EXIT_NUMERICAL": "The numbers broke: a loss, gradient or weight is not finite, or `verify` found other bits.",
    "EXIT_RESUMABLE": "Stopped early: `medtrain resume RUN` continues. It is `EX_TEMPFAIL` of sysexits.h.",
}

COMMANDS_HEAD = """# Commands

What `medtrain COMMAND --help` prints. Flags take `-` or `_`: `--image-size` and `--image_size` are the same. `train`,
`submit`, `pipeline` and `resume` take every [setting](settings.md) as a flag too.
"""
SETTINGS_HEAD = """# Settings

A run has COUNT settings. The recipe gives the first values; `-c FILE.yaml` lays a settings file over them (repeatable,
later files win), and flags win over both. In a file a setting stands below its section:

```yaml
epochs: 20
data:
  batch_size: 32
optim:
  lr: 3e-4
```

As a flag the section is omitted: `--epochs 20 --batch_size 32 --lr 3e-4`. A finished run's `config.yaml` has all of
them and is itself a settings file. Which recipes differ from a default stands with each setting.
"""
RECIPES_HEAD = """# Recipes

A recipe is a YAML file with the [settings](settings.md) that differ from their defaults. `medtrain recipes` lists them.
A recipe of your own is [one more file](../extending/recipe.md).

| recipe | what it trains |
|---|---|"""
ERRORS_HEAD = """An error that you can fix is two lines on standard error: what is wrong and where, and what to do.
In a program it is an exception with the attributes `problem`, `fix` and `exit_code`:
"""


def main() -> None:
    """Write them here."""
    for path in write(HERE):
        print(path)


def write(docs: Path) -> list[Path]:
    """Write what has changed into docs/reference, and return those files."""
    changed = []
    for name, text in pages().items():
        path = docs / "reference" / name
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            changed.append(path)
    return changed


def pages() -> dict[str, str]:
    """File name -> its text."""
    return {
        "commands.md": NOTE + commands(),
        "settings.md": NOTE + settings(),
        "recipes.md": NOTE + recipes(),
        "exit_codes.md": NOTE + exit_codes(),
        "python_api.md": NOTE + python_api(),
    }


def commands() -> str:
    """Each command with its own --help."""
    rows = [f"| [`{name}`](#{_slug(f'medtrain {name}')}) | {command.what} |" for name, command in COMMANDS.items()]
    parts = [
        COMMANDS_HEAD,
        "\n".join(["| command | what it does |", "|---|---|", *rows]) + "\n",
    ]
    for name, command in COMMANDS.items():
        parts.append(f"## medtrain {name}\n\n```text\n{help_of(name)}\n```\n")
        if command.usage:
            parts.append("All of these settings are on the page [Settings](settings.md).\n")
    return "\n".join(parts)


def help_of(command: str) -> str:
    """What `medtrain COMMAND --help` prints on a terminal of 80 columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            run([*command.split(), "--help"])
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def settings() -> str:
    """Each setting, section by section."""
    text = [
        SETTINGS_HEAD.replace("COUNT", str(len(fingerprint.flat(schema.Config())))),
    ]
    own = {name: fingerprint.flat(configfile.resolve(name)) for name in configfile.recipe_names()}
    text.append(_section(schema.Config, "", own))
    for field in dataclasses.fields(schema.Config):
        if dataclasses.is_dataclass(hint := typing.get_type_hints(schema.Config)[field.name]):
            text.append(_section(hint, field.name, own))
    return "\n".join(text)


def _section(kind: Any, name: str, recipes: dict[str, dict[str, Any]]) -> str:
    texts, hints, default = sentences(kind), typing.get_type_hints(kind), kind()
    lines = [f"## {name or 'The run'}\n", f"{_sentence(kind)}\n"]
    for field in dataclasses.fields(kind):
        hint, value = hints[field.name], getattr(default, field.name)
        if dataclasses.is_dataclass(hint):
            continue
        full = f"{name}.{field.name}" if name else field.name
        lines += [f"### {full}\n", f"{texts[field.name]}\n"]
        lines += [f"`--{field.name}` · {_type(hint)} · default {_value(value)}\n"]
        if full in OLD_NAMES:
            lines += [f"Until version 0.1 its name was `{OLD_NAMES[full]}`, which still works.\n"]
        others: dict[str, list[str]] = {}
        for recipe, values in recipes.items():
            if values[full] != value and full != "recipe":
                others.setdefault(_value(values[full]), []).append(recipe)
        if others:
            told = "; ".join(f"{shown} in {', '.join(names)}" for shown, names in others.items())
            lines += [f"Recipes: {told}.\n"]
    return "\n".join(lines)


def _sentence(kind: Any) -> str:
    text = " ".join((kind.__doc__ or "").split())
    return text.split(" Precedence:")[0] if kind is schema.Config else text


def _type(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"list of {_type(typing.get_args(hint)[0]).removeprefix('one of ')}"
    return TYPES[hint]


def _value(value: Any) -> str:
    if value in ("", ()):
        return "empty"
    return f"`{' '.join(map(str, value)) if isinstance(value, tuple) else value}`"


def recipes() -> str:
    """Each recipe: its sentence and its file."""
    text = [
        RECIPES_HEAD,
    ]
    text += [f"| [`{name}`](#{_slug(name)}) | {configfile.recipe_title(name)} |" for name in configfile.recipe_names()]
    for name in configfile.recipe_names():
        file = (configfile.RECIPES / f"{name}.yaml").read_text().strip()
        text.append(f"\n## {name}\n\n`medtrain/config/recipes/{name}.yaml`:\n\n```yaml\n{file}\n```")
    return "\n".join(text) + "\n"


def exit_codes() -> str:
    """What a command's exit code says."""
    rows = [f"| {number} | `{name}` | {CODES[name]} |" for name, number in _codes()]
    classes = [f"| `{kind.__name__}` | {kind.exit_code} | {_first(kind)} |" for kind in _errors()]
    text = [
        "# Exit codes\n",
        "Every command ends with one of these, so that a script can tell what happened:\n",
        "\n".join(["| code | constant in `medtrain.core.errors` | meaning |", "|---|---|---|", *rows]) + "\n",
        "A command that Ctrl-C ends before it listens leaves with 130 (128 + SIGINT), as a shell counts it.\n",
        ERRORS_HEAD,
        "\n".join(["| exception | exit code | when |", "|---|---|---|", *classes]) + "\n",
        "Anything else is a fault of medtrain itself and keeps its traceback.",
    ]
    return "\n".join(text) + "\n"


def _codes() -> Iterator[tuple[str, int]]:
    found = {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert set(found) == set(CODES), "write a sentence on each exit code"
    yield from found.items()


def _errors() -> list[type[errors.MedtrainError]]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, errors.MedtrainError)]


def _first(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def _slug(heading: str) -> str:
    return heading.lower().replace(" ", "-")


if __name__ == "__main__":
    main()
