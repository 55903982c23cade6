"""Flags that are taken off a command line before tyro reads it."""

from __future__ import annotations

from medtrain.core.errors import InputError


def take(rest: list[str], flag: str) -> bool:
    """Remove a switch, written with - or _, and say whether it was there."""
    found = [word for word in rest if word.replace("_", "-") == flag]
    for word in found:
        rest.remove(word)
    return bool(found)


def take_values(rest: list[str], names: tuple[str, ...]) -> list[str]:
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
