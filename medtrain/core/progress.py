"""How far a command is: a bar on a terminal, with every line above it; plain lines in a file or pipe."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from medtrain.core.console import in_line, plain


class Progress:
    """A bar on a terminal; in a file or pipe one plain line every 30 s."""

    def __init__(self, total: int, what: str, unit: str = "", done: int = 0, every_seconds: float = 30.0) -> None:
        self.total, self.what, self.unit, self.done = total, what, unit, done
        self._first = done
        self._start = self._last = time.monotonic()
        self._every = every_seconds
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, desc=in_line(what), unit=f" {unit}", initial=done, leave=False, dynamic_ncols=True,
                file=sys.stderr,
            )  # fmt: skip
            self._above = {name: _AboveBar(getattr(sys, name), self._bar) for name in ("stdout", "stderr")}
            for name, stream in self._above.items():
                setattr(sys, name, stream)

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more are done; `note` stands behind the numbers."""
        self.done += count
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            rate = (self.done - self._first) / (self._last - self._start)
            # On standard error, as the bar is: standard output may be one JSON document.
            told = (
                f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {rate:,.1f}/s{', ' + note if note else ''}"
            )
            print(plain(told), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is None:
            return
        for name, stream in self._above.items():
            stream.end()
            if getattr(sys, name) is stream:
                setattr(sys, name, stream.below)
        self._bar.close()
        self._bar = None


class _AboveBar:
    """A stream whose whole lines, whoever writes them, go above the bars: print, warnings, tracebacks, logging. On a
    stream that is no terminal, which shows no bar, they pass as they are."""

    def __init__(self, below: TextIO, bar: Any) -> None:
        self.below, self._bar = below, bar
        self._begun = ""  # of a line that has no end yet

    def write(self, text: str) -> int:
        """Hold what is no whole line yet."""
        if not self.below.isatty():
            return self.below.write(text)
        whole, end, self._begun = (self._begun + text).rpartition("\n")
        if end:
            self._put(whole + end)
        return len(text)

    def _put(self, text: str) -> None:
        with self._bar.get_lock():  # of the thread that draws a bar that stands still
            self._bar.clear(nolock=True)
            self.below.write(text)
            self.below.flush()
            self._bar.refresh(nolock=True)

    def end(self) -> None:
        """Write what has no end of line yet."""
        if self._begun:
            self._put(self._begun + "\n")
            self._begun = ""

    def writelines(self, lines: list[str]) -> None:
        """As of any text file."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)
