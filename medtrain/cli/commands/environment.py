"""The command env pack: one file of an environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from medtrain.cli.flag_types import Flag
from medtrain.core.console import busy, say, say_json
from medtrain.core.errors import InputError


def env_pack(out: Positional[Annotated[Path, arg(metavar="FILE")]], python: str = "", json: Flag = False) -> None:
    """Pack an environment with its interpreter into one squashfs file, which nodes mount: --packed_environment FILE.

    Args:
        out: The file to write; an existing one is replaced once the new one is whole.
        python: Interpreter of the environment (default: the one that medtrain runs in).
        json: Print one JSON document.
    """
    from medtrain.launch.environment_pack import pack

    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is no folder", "make it, or give another FILE")
    busy("medtrain env pack: a minute or more")
    made = pack(out, python or sys.executable)
    if json:
        say_json({"file": str(made.file), "files": made.files, "bytes": made.size})
        return
    say(f"{made.file}: {made.files:,} files, {made.size / 1e6:,.0f} MB")
    say(f"use it: medtrain submit RECIPE --packed_environment {made.file}, or packed_environment: in a cluster file")
