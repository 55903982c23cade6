"""What a person sees: lines, tables and progress that suit a terminal and a log file alike."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

# What a terminal obeys or turns around: C0 but tab and line feed, DEL, C1 (ECMA-48), marks that change the direction
# of what follows (Unicode TR36), line separators; and bytes of a name that are no text (surrogates).
COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """Text in which nothing is left that a terminal obeys: names of files, keys and labels are a stranger's words."""
    return COMMANDS.sub(_shown, text)


def in_line(text: object) -> str:
    """The same without line breaks and tabs, for what stands in a line or a cell."""
    return plain(str(text)).replace("\n", "\\n").replace("\t", "\\t")


def _shown(found: re.Match[str]) -> str:
    number = ord(found.group())
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8, as Python keeps it (PEP 383)
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def say(text: str = "") -> None:
    """One line on standard output, at once even where output is piped."""
    print(plain(text), flush=True)


def warn(text: str, *items: str) -> None:
    """A line on standard error, and one for each of the `items` that it is about; yellow on a terminal."""
    lines = "\n  ".join(map(in_line, (f"warning: {text}", *items)))
    print(paint(lines, "33", sys.stderr), file=sys.stderr, flush=True)


def note(text: str) -> None:
    """A line on standard error that asks for nothing."""
    print(in_line(f"note: {text}"), file=sys.stderr, flush=True)


def busy(text: str) -> None:
    """A line for who waits: what a command does now that takes seconds. On a terminal alone, beside its results."""
    if sys.stderr.isatty():
        print(paint(in_line(text), "2", sys.stderr), file=sys.stderr, flush=True)


def say_over(text: str) -> None:
    """As `busy`, over the bar of another process and what a terminal echoes of Ctrl-C; a signal's handler may call
    it."""
    if os.isatty(2):
        with contextlib.suppress(OSError):
            os.write(2, f"\r\x1b[K{plain(text)}\n".encode())


def show_error(problem: str, fix: str) -> None:
    """The two lines of a MedtrainError on standard error."""
    print(paint("error: ", "31;1", sys.stderr) + in_line(problem), file=sys.stderr)
    if fix:
        print(paint("  fix: ", "32", sys.stderr) + in_line(fix), file=sys.stderr, flush=True)


def say_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=1), flush=True)


@contextlib.contextmanager
def talk_to_stderr(wanted: bool) -> Iterator[None]:
    """Send what this process and its ranks print to standard error, where standard output is kept for JSON."""
    if not wanted:
        yield
        return
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def paint(text: str, code: str, stream: TextIO) -> str:
    """`text` in an ANSI colour where `stream` shows colours."""
    return f"\x1b[{code}m{text}\x1b[0m" if colourful(stream) else text


def colourful(stream: TextIO) -> bool:
    """Whether `stream` is a terminal and NO_COLOR is not set (or empty, which no-color.org counts as not set)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as needed; numbers to the right, words to the left."""
    cells = [list(map(in_line, header))] + [[_cell(value) for value in row] for row in rows]
    numeric = [all(_is_number(row[i]) for row in cells[1:]) for i in range(len(header))]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "  ".join(
            c.rjust(w) if right else c.ljust(w) for c, w, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def show_table(text: str, column: str, colours: Mapping[str, str]) -> None:
    """A `table` on standard output. On a terminal its lines end where that does, and the words of a column have
    colours; in a file or pipe it is whole and plain."""
    lines = plain(text).splitlines()
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        lines = [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines]
    if lines and column in lines[0] and colourful(sys.stdout):
        place = lines[0].index(column)
        lines = [*lines[:2], *(_painted(line, place, colours) for line in lines[2:])]
    print("\n".join(lines), flush=True)


def _painted(line: str, place: int, colours: Mapping[str, str]) -> str:
    word = line[place:].partition("  ")[0].rstrip("…")
    if word not in colours:
        return line
    return line[:place] + paint(word, colours[word], sys.stdout) + line[place + len(word) :]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if type(value) is int else in_line(value)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").replace("%", "").replace("-", "").isdigit() or text == "-"
