"""C libraries that describe every damaged file on stderr, silenced: the error raised here says it once."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()  # two threads that exchange the descriptor at once could leave it closed for good


@contextmanager
def capture_stderr() -> Iterator[list[bytes]]:
    """While it lasts nothing that this process writes to stderr arrives; afterwards the list holds what was said."""
    said: list[bytes] = []
    with _LOCK, tempfile.TemporaryFile() as file:
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            file.seek(0)
            said.append(file.read())
