"""What `medtrain check` tells of clips besides what it tells of images: frames, frame rates, colour spaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from medtrain.curation.scan import FileScan
from medtrain.datasets.record import Record


def numbers(records: list[Record], looks: list[FileScan]) -> dict[str, Any]:
    """`missing_rows` (the rows whose clip is not there), `frames` of a clip and `frame_rates` per second: min, median,
    max, and how many clips do not tell their rate; `colour_spaces`: how many clips each has. None where no clip was
    looked at."""
    used = [look for look in looks if not look.reason]
    rates = [1000 / look.frame_ms for look in used if look.frame_ms]
    if not looks:
        return dict.fromkeys(("missing_rows", "frames", "frame_rates", "colour_spaces"))
    return {
        "missing_rows": [record.image for record, look in zip(records, looks, strict=True) if not look.there],
        "frames": _spread([look.frames for look in used]),
        "frame_rates": {**_spread(rates), "not_told": len(used) - len(rates)},
        "colour_spaces": dict(Counter(look.mode for look in used).most_common()),
    }


def told(found: dict[str, Any]) -> str:
    """What `numbers` found, in lines; nothing where no clip was looked at."""
    frames, rates = found["frames"], found["frame_rates"]
    if not frames or frames["max"] is None:
        return ""
    said = "unknown for every clip"
    if rates["max"] is not None:
        some = f" (unknown: {rates['not_told']:,})" if rates["not_told"] else ""
        said = f"{rates['min']:.1f} to {rates['max']:.1f} per second, median {rates['median']:.1f}{some}"
    colours = ", ".join(f"{name} ({count:,})" for name, count in found["colour_spaces"].items())
    many = f"{frames['min']:,} to {frames['max']:,} in a clip, median {frames['median']:,g}"
    return f"frames      {many}\nframe rate  {said}\ncolours     {colours}"


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    if not values:
        return {"min": None, "median": None, "max": None}
    return {
        "min": round(min(values), 3), "median": round(float(np.median(values)), 3), "max": round(max(values), 3),
    }  # fmt: skip
