"""What Python would compile at each start, compiled once for a packed environment, which nobody can write to.

uv compiles nothing when it installs, pip need not. What is compiled already stays as it is, where its source has not
changed since.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

# Run by the interpreter of the environment: its bytecode is no other's. Sources and targets are lines of standard
# input. Unchecked (PEP 552): in the image a source is never newer.
COMPILE = """
import concurrent.futures, functools, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
compile = functools.partial(py_compile.compile, doraise=False, quiet=2, invalidation_mode=mode)
lines = sys.stdin.read().splitlines()
if __name__ == '__main__':
    with concurrent.futures.ProcessPoolExecutor() as pool:
        list(pool.map(compile, lines[::2], lines[1::2], chunksize=100))
"""


def compiled(python: str, tag: str, files: dict[str, Path], folder: Path) -> Iterator[tuple[Path, str]]:
    """What is missing among the `files` of an image, by their names there, made in a folder; `tag` as in the names of
    compiled files. What is no Python of this version (templates) has none."""
    wanted: list[tuple[Path, Path, str]] = []
    for name, source in files.items():
        place, _, file = name.rpartition("/")
        target = f"{place}/__pycache__/{file.removesuffix('.py')}.{tag}.pyc"
        if name.endswith(".py") and not _current(files.get(target), source):
            wanted.append((source, folder / f"{len(wanted)}.pyc", target))
    lines = "".join(f"{source}\n{made}\n" for source, made, _ in wanted)
    if wanted:
        subprocess.run([python, "-I", "-W", "ignore", "-c", COMPILE], input=lines, text=True, check=True)
    yield from ((made, target) for _, made, target in wanted if made.exists())


def _current(cached: Path | None, source: Path) -> bool:
    """Whether Python would take a compiled file, by its header (PEP 552)."""
    try:
        if cached is None:
            return False
        with cached.open("rb") as file:
            flags, changed, size = struct.unpack("<4x3I", file.read(16))
    except (OSError, struct.error):
        return False
    now = source.stat()
    return bool(flags) or (changed, size) == (int(now.st_mtime) & 0xFFFFFFFF, now.st_size & 0xFFFFFFFF)
