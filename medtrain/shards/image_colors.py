"""Whether images of one's own are in color, by a look at some: most medical images are gray, whatever their file."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from medtrain.core.console import note
from medtrain.datasets.record import Record
from medtrain.imaging.isolated_decode import apart, image
from medtrain.shards.plan import PackOptions, chosen

LOOKS = 64  # images, drawn at random by the seed
SIDE = 32  # cells of an image, so that noise of single pixels is no color
APART = 24  # of 255: how far the channels of a cell in color lie apart; lossy gray strays by less
SHARE = 0.02  # of the cells: a colored letter on an X-ray has fewer


def is_colored(path: Path) -> bool:
    """Whether an image file shows color; ValueError and OSError as of `decode` and `whole_file`."""
    cells = cv2.resize(image(path, 2 * SIDE, True), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return bool((np.ptp(cells, axis=2) > APART).mean() > SHARE)


def with_color_mode(options: PackOptions, records: list[Record]) -> PackOptions:
    """The options of images, in color where none is named and half of those that are looked at show color. What was
    found is said."""
    looked = found = 0
    for record in chosen(records, options)[:LOOKS]:
        with suppress(ValueError, OSError):  # it is rejected when it is packed
            found += apart(is_colored, record.path)
            looked += 1
    if not found:
        return options
    seen = f"{found} of {looked} images that were looked at are in color"
    if 2 * found < looked:
        note(f"{seen}: all are packed in gray (in color: --color_mode rgb)")
        return options
    note(f"{seen}: all are packed in color (in gray: --color_mode gray)")
    return replace(options, color_mode="rgb")
