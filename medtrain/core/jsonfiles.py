"""JSON files of ours: written whole, read with a word for what is damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from medtrain.core.console import warn
from medtrain.core.errors import InputError
from medtrain.core.files import write_whole

_warned: set[Path] = set()


def _said(path: Path) -> dict[str, Any]:
    """As `read_json`, but a file that is damaged, or that a power loss or a full disk left empty, is not there."""
    try:
        told: Any = read_json(path)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


class DamagedFile(InputError, ValueError):
    """A file of ours that cannot be what was written; also a ValueError, for who can do without the file."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: is damaged ({reason})", "put back a copy of it, or correct it: it is plain text")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; `{}` if it is not there. Raises DamagedFile."""
    try:
        return json.loads(path.read_bytes())  # type: ignore[no-any-return]
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"no JSON: {error}") from None


def write_json(path: Path, value: Any) -> None:
    """Write whole or not at all: a reader never sees half a file."""
    write_whole(path, (json.dumps(value, indent=1) + "\n").encode())


def append_json(path: Path, value: Any) -> None:
    """Add one line of JSON to a file, durably; half a line that a crash left is cut off first."""
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(value).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl file; a last line cut off by a crash is left out; `[]` if there is no file. A line that
    is damaged is left out too, and warned of once."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    rows = [(number, _object(line)) for number, line in enumerate(lines, 1) if line]
    note_damaged(path, [number for number, row in rows if row is None])
    return [row for _, row in rows if row is not None]


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def note_damaged(path: Path, lines: list[int]) -> None:
    """Warn, once a process, of lines of a file that are left out."""
    if lines and path not in _warned:
        _warned.add(path)
        numbers = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
        warn(f"{path}: line {numbers} is damaged and is left out")
