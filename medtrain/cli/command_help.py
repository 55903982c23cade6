"""The help of a command that is a function: its flags by its signature, what they do by its docstring."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tyro.conf import Positional

from medtrain.cli.help_lines import filled, heading, line, usage

KINDS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
# What stands for a value where its kind says less.
VALUES = {
    **dict.fromkeys(("root", "runs", "shards", "scratch", "folder"), "DIR"),
    **dict.fromkeys(("table", "annotations", "labels_from", "names", "mistakes", "gold"), "FILE"),
    **dict.fromkeys(("cluster", "name", "account", "partition", "qos", "study_type", "split", "datasets"), "NAME"),
    "labels": "LABEL",
    "plugin": "FILE.py", "time": "HH:MM:SS", "patient_from": "REGEX", "push": "USER/NAME", "license": "ID",
}  # fmt: skip


class Option(NamedTuple):
    """A flag, or a word without one."""

    name: str
    hint: Any
    default: Any
    text: str

    @property
    def positional(self) -> bool:
        """Whether it is a word without a flag."""
        return Positional in getattr(self.hint, "__metadata__", ())

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is inspect.Parameter.empty


def command_help(command: str, function: Callable[..., Any]) -> str:
    """What `medtrain COMMAND --help` prints."""
    about, texts = _docstring(function)
    groups = list(_groups(function, texts))
    words = [option for _, options in groups for option in options if option.positional]
    flags = [(title, [option for option in options if not option.positional]) for title, options in groups]
    needed = [_flag(option) for _, options in flags for option in options if option.required]
    parts = [usage(" ".join([f"medtrain {command}", *map(_metavar, words), *needed, "[OPTIONS]"])), filled(about)]
    if words:
        parts.append("\n".join(line(_metavar(option), option.text) for option in words))
    for title, options in flags:
        lines = [line(_flag(option), _told(option)) for option in options]
        lines += [line("-h, --help", "Show this help.")] if title == "options" else []
        parts.append("\n".join([heading(title), *lines]))
    return "\n\n".join(parts)


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """What a docstring says of the command, and of each argument."""
    about, _, below = inspect.cleandoc(function.__doc__ or "").partition("\n\nArgs:\n")
    found = re.findall(r"(?ms)^(\w+): (.*?)(?=^\w+: |\Z)", textwrap.dedent(below))
    return about, {name: " ".join(text.split()) for name, text in found}


def _groups(function: Callable[..., Any], texts: dict[str, str]) -> Iterator[tuple[str, list[Option]]]:
    """The parts of the help, each with its flags; a dataclass among the parameters is a part of its own."""
    hints = typing.get_type_hints(function, include_extras=True)
    own, others = [], []
    for name, parameter in inspect.signature(function).parameters.items():
        kind = type(parameter.default)
        if dataclasses.is_dataclass(kind):
            others.append((str(kind.__doc__).partition("\n")[0].rstrip("."), _fields(kind)))
        else:
            own.append(Option(name.rstrip("_"), hints[name], parameter.default, texts.get(name, "")))
    yield "options", own
    yield from others


def _fields(kind: type) -> list[Option]:
    """The fields of a dataclass as flags, with the texts below them in its source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    texts = {
        ast.unparse(field.target): " ".join(str(after.value.value).split())
        for field, after in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }
    hints = typing.get_type_hints(kind, include_extras=True)
    return [
        Option(field.name, hints[field.name], field.default, texts[field.name]) for field in dataclasses.fields(kind)
    ]


def _flag(option: Option) -> str:
    """A flag with what stands for its value."""
    settings = [one for one in getattr(option.hint, "__metadata__", ()) if hasattr(one, "aliases")]
    aliases = [alias for one in settings for alias in one.aliases or ()]
    return ", ".join([*aliases, f"--{option.name} {_metavar(option)}".rstrip()])


def _metavar(option: Option) -> str:
    """What stands for a value; nothing for a switch."""
    told = [one.metavar for one in getattr(option.hint, "__metadata__", ()) if getattr(one, "metavar", None)]
    if told:
        return str(told[0])
    kind = typing.get_args(option.hint)[0] if hasattr(option.hint, "__metadata__") else option.hint
    some = [one for one in typing.get_args(kind) if one not in (type(None), ...)]
    if kind is bool:
        return ""
    if typing.get_origin(kind) is tuple:
        return f"{_kind(option, some[0])} ..."
    return _kind(option, kind if typing.get_origin(kind) is Literal or not some else some[0])


def _kind(option: Option, kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "{" + ",".join(str(one) for one in typing.get_args(kind) if one != "") + "}"
    if kind is str and re.match(r"(\w+: |Of a table: )?columns? ", option.text, re.IGNORECASE):
        return "COLUMN"
    return VALUES.get(option.name, KINDS[kind]) if kind in (str, Path) else KINDS[kind]


def _told(option: Option) -> str:
    """What a flag does, and its default where the text does not say it and there is one."""
    if option.required:
        return f"{option.text} (required)"
    value = " ".join(map(str, option.default)) if isinstance(option.default, tuple) else option.default
    if isinstance(value, float):
        value = f"{value:g}"
    number = isinstance(option.default, int | float) and f"({value}:" in option.text
    if value in (None, False, "") or number or "(default" in option.text or "default:" in option.text:
        return option.text
    return f"{option.text} (default: {value})"
