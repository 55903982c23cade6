"""The page of the public Python API: signature and docstring of each name of medtrain/__init__.py."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import medtrain

WIDTH = 88
HEAD = """# Python API

The names that `import medtrain` offers. Each is imported when it is first used: the import itself costs nothing.
Everything else in the package may change between versions.

```text
from medtrain import {names}
```
"""


def python_api() -> str:
    """The whole page."""
    parts = [HEAD.format(names=", ".join(medtrain.__all__))]
    for name in medtrain.__all__:
        found = getattr(medtrain, name)
        parts.append(_class(name, found) if inspect.isclass(found) else _function(name, found, "##"))
    return "\n".join(parts)


def _class(name: str, found: Any) -> str:
    text = [f"## {name}\n", f"From `{found.__module__}`.\n", _signature(name, found)]
    if dataclasses.is_dataclass(found):
        text = [f"## {name}\n", f"From `{found.__module__}`.\n"]
    text.append(_doc(found))
    if name == "Config":
        text.append("Its fields are the [settings](settings.md).\n")
    for method, value in _methods(found):
        text.append(_function(f"{name}.{method}", value, "###"))
    return "\n".join(text)


def _methods(found: Any) -> Iterator[tuple[str, Any]]:
    """Public methods, class methods and properties in the order of the source."""
    for name, value in vars(found).items():
        if name.startswith("_"):
            continue
        if isinstance(value, property | classmethod) or inspect.isfunction(value):
            yield name, value


def _function(name: str, found: Any, level: str) -> str:
    if isinstance(found, property):
        return f"{level} {name}\n\nA property.\n\n{_doc(found)}"
    place = f"From `{found.__module__}`.\n\n" if level == "##" else ""
    bare = found.__func__ if isinstance(found, classmethod) else found
    return f"{level} {name}\n\n{place}{_signature(name, bare)}\n{_doc(bare)}"


def _signature(name: str, found: Any) -> str:
    """As it is called: without self, one parameter a line where it is long."""
    signature = inspect.signature(found)
    words = [_parameter(each) for each in signature.parameters.values() if each.name not in ("self", "cls")]
    back = signature.return_annotation
    tail = f" -> {back}" if isinstance(back, str) and not inspect.isclass(found) else ""
    short = f"{name}({', '.join(words)}){tail}"
    if len(short) > WIDTH:
        short = f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){tail}"
    return f"```text\n{short}\n```\n"


def _parameter(given: inspect.Parameter) -> str:
    default = "" if given.default is inspect.Parameter.empty else f" = {given.default!r}"
    return f"{given.name}: {given.annotation}{default}"


def _doc(found: Any) -> str:
    text = inspect.getdoc(found) or ""
    return f"{text}\n"
