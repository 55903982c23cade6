"""Files that others made, opened: regular files alone, because a FIFO has no end and a device no beginning."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip


def opened(path: Path) -> BinaryIO:
    """The file, to be read; OSError where it is not there, not for us, or no regular file, which its text then names.

    Links are followed. What is no regular file is not opened: to open one may wait for ever, or rewind a tape.
    """
    _ensure_regular(path.stat())
    # Somebody may have put another there since: that is not waited for, and refused too.
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY))
    try:
        _ensure_regular(os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def whole_file(path: Path) -> bytes:
    """All bytes of a file; OSError as `opened`."""
    with opened(path) as file:
        return file.read()


def _ensure_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "of another kind")
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file")
