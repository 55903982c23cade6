"""How many pixels an image or a frame may have: a file of some bytes can promise more than any memory holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

MAX_PIXELS = 100_000_000  # four times those of the largest mammograms and chest X-rays
_most = MAX_PIXELS


@contextmanager
def allowed(pixels: int) -> Iterator[None]:
    """So many in this process, while it lasts."""
    global _most
    before, _most = _most, pixels
    try:
        yield
    finally:
        _most = before


def check(width: int, height: int) -> None:
    """ValueError where an image has more; asked before anything is decoded."""
    if width * height > _most:
        raise ValueError(f"{width:,} x {height:,} pixels are more than the {_most:,} allowed (--max_pixels)")


def most() -> int:
    """So many are allowed now."""
    return _most
