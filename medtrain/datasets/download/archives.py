"""Archives of a dataset, each unpacked into a folder that has its name when it is whole, and then removed."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from medtrain.core.errors import InputError, MachineError
from medtrain.core.files import UNFINISHED

PIECE = 1 << 20


def unpack(archive: Path, folder: Path, again: str) -> None:
    """Unpack a .tar.gz file into the new `folder`; continues where an earlier call was cut off.

    Nothing is written outside `folder`, whatever the archive says. InputError where it is damaged: then it is removed,
    and `again` says how to get it anew.
    """
    try:
        with tarfile.open(archive) as tar:
            _extract(tar, folder)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # of the disk; a damaged gzip has no number
            raise
        archive.unlink()
        raise InputError(f"{archive}: is damaged ({error})", again) from None
    archive.unlink()


def unpack_zstd(parts: list[Path], folder: Path, again: str) -> None:
    """The same for a zstd-compressed tar that was cut into `parts`, which stay where something goes wrong: they are
    large, and whether they or the machine are at fault is not to be seen.

    By the program zstd: Python's own tarfile reads this from 3.14 on.
    """
    if not shutil.which("zstd"):
        raise MachineError("the program zstd is not there", "apt-get install zstd, or module load zstd")
    script = 'set -o pipefail; cat -- "$@" | zstd -dcq'
    with subprocess.Popen(["bash", "-c", script, "unpack", *map(str, parts)], stdout=subprocess.PIPE) as unpacker:
        assert unpacker.stdout is not None
        damage = ""
        try:
            with tarfile.open(fileobj=unpacker.stdout, mode="r|") as tar:
                _extract(tar, folder, lambda: _ends_well(unpacker))
        except tarfile.TarError as error:
            damage = str(error)
    if damage:
        named = f"{parts[0].name} to {parts[-1].name}"
        raise InputError(
            f"{parts[0].parent}: {named} could not be unpacked ({damage})",
            f"{again}; if it happens twice, delete these files before",
        )
    for part in parts:
        part.unlink()


def _ends_well(unpacker: subprocess.Popen[bytes]) -> None:
    """Read what is behind the last file: only a zstd that came to its end says that all was there."""
    assert unpacker.stdout is not None
    while unpacker.stdout.read(PIECE):
        pass
    if unpacker.wait():
        raise tarfile.ReadError("it ends too early")


def _extract(tar: tarfile.TarFile, folder: Path, at_end: Callable[[], None] = lambda: None) -> None:
    """Every file that is not there yet in its length; then the folder gets its name.

    By hand: tarfile's own filters against names that lead outside came in 3.11.4, and Debian 12 has 3.11.2.
    """
    hidden = folder.with_name(f".{folder.name}{UNFINISHED}")
    hidden.mkdir(parents=True, exist_ok=True, mode=0o700)
    for member in tar:
        if Path(member.name).is_absolute() or ".." in Path(member.name).parts:
            raise tarfile.ReadError(f"{member.name} leads outside")
        there = hidden / member.name
        content = tar.extractfile(member) if member.isfile() else None
        if content is None or (there.is_file() and there.stat().st_size == member.size):
            continue  # folders come with their files; links and devices have no place in a dataset
        there.parent.mkdir(parents=True, exist_ok=True)
        with content, there.open("wb") as file:
            shutil.copyfileobj(content, file, PIECE)
    at_end()
    hidden.replace(folder)
