"""How a helper process knows that its trainer has ended: the pipe between them is at its end."""

from __future__ import annotations

import os
import select


def wait_for_end(seconds: float) -> bool:
    """Wait at most so long; True once standard input is at its end, because the trainer closed it or died."""
    try:
        readable, _, _ = select.select([0], [], [], seconds)
        return bool(readable) and not os.read(0, 4096)
    except OSError:  # started without any standard input
        return True
