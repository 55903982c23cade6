"""YAML 1.2 as its standard has it: `on` and `no` are words, `1e-4` is a number, a key stands once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medtrain.core.errors import InputError

YAML_TAG = "tag:yaml.org,2002:"
# How YAML 1.2 reads a plain scalar (its core schema): tag, pattern, first characters.
YAML_RULES: list[tuple[str, str, Iterable[str]]] = [
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
]


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
        values = yaml.load(text, Loader=loader())
    except (yaml.YAMLError, ValueError) as error:  # ValueError: `!!int many`, or an integer of 5,000 digits
        raise InputError(f"{origin}: not valid YAML: {' '.join(str(error).split())}", "correct the file") from None
    if values is not None and not isinstance(values, dict):
        raise InputError(f"{origin}: holds {type(values).__name__}, not settings", "write lines like `epochs: 20`")
    return values or {}


def loader() -> Any:
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


def dumper() -> Any:
    """Quotes every text that YAML 1.1 or 1.2 would read as something else: a run may be named 1e4."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    for tag, pattern, first in YAML_RULES:
        Dumper.add_implicit_resolver(f"{YAML_TAG}{tag}", re.compile(rf"^(?:{pattern})$"), list(first))
    return Dumper
