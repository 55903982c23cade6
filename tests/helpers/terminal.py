"""Commands in a real terminal (a pty), and what a person sees there: lines that scrolled by, and none written over."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

from command import command_line
from fork_server import Forked

COLUMNS = 100
# What programs print here: text, ends of lines; CSI K (erase to the end of the line), m (colours), A (up).
TOKEN = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


def medtrain_in_terminal(
    *arguments: object, folder: Path, interrupt_after: str = "", environment: Mapping[str, str] = os.environ
) -> tuple[int, str]:
    """`medtrain ARGUMENTS` in a pty; its exit code, and all that it wrote. A Ctrl-C comes when it has written some
    words. In another `environment` than that of the tests it is a new Python, else forked."""
    start = Forked if environment is os.environ else subprocess.Popen
    return in_terminal(command_line(*arguments), folder, interrupt_after, environment, start)


def in_terminal(
    command: list[str],
    folder: Path,
    interrupt_after: str = "",
    environment: Mapping[str, str] = os.environ,
    start: type[subprocess.Popen[bytes]] = subprocess.Popen,
) -> tuple[int, str]:
    """The same for any command."""
    ours, theirs = open_terminal()
    own = {name: value for name, value in environment.items() if name != "NO_COLOR"}
    with start(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=own) as process:
        os.close(theirs)
        written, waiting = b"", interrupt_after
        while piece := read(ours):
            written += piece
            if waiting and waiting in written.decode(errors="replace"):
                process.send_signal(signal.SIGINT)
                waiting = ""
    os.close(ours)
    return process.returncode, written.decode()


def open_terminal() -> tuple[int, int]:
    """A pty: the end of a person, and that of a program."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, COLUMNS, 0, 0))
    return ours, theirs


def read(terminal: int) -> bytes:
    """What a program has written since; nothing where it has ended."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # EIO: nobody has the other end any more
        return b""


def lines_seen(written: str) -> list[str]:
    """What stands on an endless screen at the end, each line without blanks behind it."""
    screen, row, column = [""], 0, 0
    place = 0
    while place < len(written):
        token = TOKEN.match(written, place)
        assert token, f"no such thing is known of terminals: {written[place : place + 20]!r}"
        place = token.end()
        count, letter, end, text = token.groups()
        if end == "\r":
            column = 0
        elif end == "\n":
            row += 1
            screen += [""] * (row + 1 - len(screen))
        elif letter == "K":
            screen[row] = screen[row][:column]
        elif letter == "A":
            row = max(row - int(count or 1), 0)
        elif text:
            line = screen[row].ljust(column)
            screen[row] = line[:column] + text + line[column + len(text) :]
            column += len(text)
        else:
            assert letter == "m", f"CSI {letter} is not known"
    return [line.rstrip() for line in screen]
