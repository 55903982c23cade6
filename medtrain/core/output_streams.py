"""Standard output and error that may go away: the pipe's reader leaves, the terminal closes, the disk is full.

Work goes on without them. Every writer of the process is served (print, tqdm, warnings, tracebacks, logging), because
the stream below `sys.stdout` and `sys.stderr` is replaced and not the calls above it.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any

GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET, errno.ENOTCONN, errno.ESTALE)
STALL_MS = 5000  # for a reader that takes nothing now: `| less`, Ctrl-S; not as long as a step may take
OUTLETS: list[Outlet] = []


class Outlet(io.RawIOBase):
    """Writes to a descriptor and never fails. Where nobody can read any more, the descriptor becomes /dev/null, also
    for the processes that are started later; what a full disk does not take is dropped."""

    def __init__(self, descriptor: int, wait: bool) -> None:
        self.reason = ""  # why text was lost first
        self.gone = False  # nobody reads any more, and nobody is to blame
        self._descriptor = descriptor
        self._wait = wait  # for a reader that takes nothing now, or drop the text after STALL_MS
        self._stalled = False

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal now."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """How many bytes were taken: written, or dropped."""
        while True:
            if not self._ready():
                self.reason = self.reason or "nobody reads it"
                return len(data)
            try:
                return os.write(self._descriptor, data[: select.PIPE_BUF])  # so much never waits where there is room
            except BlockingIOError:
                continue  # another process made it non-blocking
            except OSError as error:
                self._lose(error)
                return len(data)

    def _ready(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        self._stalled = not poll.poll(None if self._wait else 0 if self._stalled else STALL_MS)
        return not self._stalled

    def _lose(self, error: OSError) -> None:
        self.reason = self.reason or error.strerror or str(error)
        if error.errno in GONE:
            self.gone = True
            _to_nothing(self._descriptor)


def install(wait: bool) -> None:
    """Have this process outlive its standard output and error; where nothing reads now, `wait` or drop the text."""
    open_all()
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        before = getattr(sys, name)
        outlet = Outlet(descriptor, wait)
        encoding = getattr(before, "encoding", None) or "utf-8"
        # backslashreplace: a name that the terminal's encoding lacks ends no training either.
        stream = io.TextIOWrapper(
            io.BufferedWriter(outlet), encoding, "backslashreplace", line_buffering=name == "stderr" or outlet.isatty()
        )
        setattr(sys, name, stream)
        OUTLETS.append(outlet)


def open_all() -> None:
    """Give this process the three standard descriptors where its parent closed one (`>&-`): the next file that it opens
    would take the number, and a checkpoint or the journal what is printed."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            _to_nothing(descriptor)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w", encoding="utf-8", closefd=False))


def lost(blamed: bool = False) -> str:
    """Why standard output or error takes nothing any more, or has not taken everything; empty where it has. `blamed`:
    only what is somebody's fault, and not a reader that left."""
    return next((one.reason for one in OUTLETS if one.reason and not (blamed and one.gone)), "")


def _to_nothing(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != descriptor:
        os.dup2(nothing, descriptor)
        os.close(nothing)
