"""Contiguous shares of N things, as equal as can be."""

from __future__ import annotations


def share_of(count: int, part: int, parts: int) -> range:
    """The numbers below `count` that one of so many contiguous, nearly equal parts holds."""
    return range(count * part // parts, count * (part + 1) // parts)
