"""How help is laid out: flags in a column, and beside them sentences that are wrapped and never cut."""

from __future__ import annotations

import shutil
import sys
import textwrap

from medtrain.core.console import paint

INDENT = 26  # where texts begin


def width() -> int:
    """Of the terminal; 80 where there is none."""
    return max(60, shutil.get_terminal_size((80, 24)).columns)


def filled(text: str) -> str:
    """Paragraphs, which blank lines part, as wide as the terminal."""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    return "\n\n".join(
        textwrap.fill(part, width(), break_long_words=False, break_on_hyphens=False) for part in paragraphs
    )


def usage(text: str) -> str:
    """The line `usage:`, wrapped below its command; what stands in brackets stays in one piece."""
    whole = text.replace(" [", "\0[").split("\0")
    lines, indent = ["usage: " + whole[0]], " " * 4
    for part in whole[1:]:
        fits = len(lines[-1]) + 1 + len(part) <= width()
        lines[-1:] = [f"{lines[-1]} {part}"] if fits else [lines[-1], indent + part]
    return "\n".join(lines)


def heading(text: str) -> str:
    """Of a part of the flags."""
    return paint(text, "1", sys.stdout)


def line(flag: str, text: str) -> str:
    """A flag and what it does: beside it, or below where the flag is long."""
    room = width() - INDENT
    rows = textwrap.wrap(" ".join(text.split()), room, break_long_words=False, break_on_hyphens=False) or [""]
    head = f"  {flag}"
    beside = len(head) + 2 <= INDENT
    first = paint(head, "36", sys.stdout) + (" " * (INDENT - len(head)) + rows[0] if beside else "")
    return "\n".join([first, *(" " * INDENT + row for row in (rows[1:] if beside else rows))]).rstrip()
