"""The command check: every image and label of a raw dataset, before it is packed."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from medtrain.curation.scan import FileScan
from medtrain.datasets import labels
from medtrain.datasets.record import Record


def copies_of(records: list[Record], looks: list[FileScan]) -> tuple[int, list[list[Record]]]:
    """How many images are byte-identical to an earlier one, and the groups of identical images with clashing labels."""
    groups: dict[int, list[Record]] = defaultdict(list)
    for record, look in zip(records, looks, strict=False):  # no looks where the images do not count
        if not look.reason:
            groups[look.digest].append(record)
    conflicts = [group for group in groups.values() if len(group) > 1 and _clash(group)]
    return sum(len(group) - 1 for group in groups.values()), conflicts


def _clash(group: list[Record]) -> bool:
    """Whether one record says that a label is present and another that it is absent."""
    return any({0, 1} <= {record.labels.get(name) for record in group} for name in group[0].labels)


def summary_of(
    dataset: str, root: Path, records: list[Record], looks: list[FileScan], kind: str = "images"
) -> dict[str, Any]:
    """Everything but the labels, of the images that are there; what is not known without the images is None."""
    pairs = list(zip(records, looks, strict=False))  # no looks where the images do not count
    own = [record for record, look in pairs if look.there] if looks else records
    sizes = Counter(f"{look.width}x{look.height}" for look in looks if not look.reason)
    return {
        "dataset": dataset,
        "root": str(root),
        "records": len(records),
        "patients": len({(record.source, record.patient) for record in own if record.patient}),
        "splits": dict(sorted(Counter(record.split for record in own if record.split).items())),
        kind: {
            "found": sum(look.there for look in looks) if looks else None,
            "missing": sum(not look.there for look in looks) if looks else None,
            "unreadable": [
                {kind[:-1]: record.image, "reason": look.reason} for record, look in pairs if look.there and look.reason
            ]
            if looks
            else None,
        },
        "sizes": dict(sizes.most_common()) if looks else None,
    }


def state_counts(name: str, records: list[Record], uncertain: str, unmentioned: str) -> dict[str, int]:
    """How many records have a label, have it not, and do not tell; a soft target counts as positive."""
    states = [labels.UNKNOWN if (state := record.labels.get(name)) is None else state for record in records]
    settled = labels.resolve_policy(np.array(states, np.int8), uncertain, unmentioned)
    return {
        "positive": int((settled > 0).sum()),
        "negative": int((settled == labels.ABSENT).sum()),
        "unknown": int((settled < 0).sum()),
    }


def positives_of(record: Record) -> str:
    """The labels that a record has, in words."""
    nothing = f"not {next(iter(record.labels))}" if len(record.labels) == 1 else "no finding"
    return ", ".join(name for name, state in record.labels.items() if state == labels.PRESENT) or nothing
