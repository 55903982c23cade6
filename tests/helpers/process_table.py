"""What the system says of processes."""

from __future__ import annotations

import subprocess
from pathlib import Path


def children(pid: int, pattern: str = ".") -> list[int]:
    """Process ids of its children whose command line matches (all), oldest first."""
    found = subprocess.run(["pgrep", "-P", str(pid), "-f", pattern], capture_output=True, text=True, check=False)
    return sorted(int(child) for child in found.stdout.split())


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True
