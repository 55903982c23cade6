"""What a machine may lack, made here."""

from __future__ import annotations

import os
from pathlib import Path


def program(bin_folder: Path, name: str, text: str) -> None:
    """A shell script as a command."""
    (bin_folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (bin_folder / name).chmod(0o755)


def read_only_folder(tmp_path: Path) -> Path:
    """A folder that cannot be written, for root neither."""
    if os.geteuid() == 0:
        return Path("/sys/kernel")
    tmp_path.chmod(0o500)
    return tmp_path
