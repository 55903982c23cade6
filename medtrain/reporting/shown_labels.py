"""Which labels tables and figures of a report show: those that images show, in training or in the split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Rows = Mapping[str, dict[str, Any]]  # label -> its numbers, the `per_class` of a report


def shown(rows: Rows) -> dict[str, dict[str, Any]]:
    """The rows of a report without those of labels that are `left_out`."""
    hidden = left_out(rows)
    return {label: row for label, row in rows.items() if label not in hidden}


def left_out(rows: Rows) -> list[str]:
    """Labels that neither an image of the training nor one of the split shows: a dataset may have names for more than
    it holds. None where that are all of them."""
    found = [label for label, row in rows.items() if row.get("learned") is False and not row.get("positives")]
    return found if len(found) < len(rows) else []


def in_words(hidden: list[str]) -> str:
    """A line on labels that are left out; empty where none is."""
    return f"left out, as no image shows them: {', '.join(hidden)}" if hidden else ""
