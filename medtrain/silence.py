"""C libraries that describe every damaged file on stderr, silenced: the error raised here says it once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = threading.Lock()  # two threads that exchange the descriptor at once could leave it closed for good


@contextmanager
def silence() -> Iterator[None]:
    """While it lasts nothing that this process writes to stderr arrives: keep it short."""
    with _LOCK, Path(os.devnull).open("wb") as nowhere:
        stderr = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
