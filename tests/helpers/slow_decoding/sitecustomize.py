"""On the path of a loader's worker, makes it decode each image slowly, as large compressed files do."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

IMAGE_S = float(os.environ.get("SLOW_IMAGE_S", "0.03"))


def slow(decoder: Any) -> None:
    """Have it sleep for each image."""
    decode = decoder.decode_all
    decoder.decode_all = lambda files, *rest: (time.sleep(IMAGE_S * len(files)), decode(files, *rest))[1]


if "medtrain.loading.worker" in sys.orig_argv:
    sys.path.insert(0, str(Path(__file__).parents[1]))  # for this import alone
    from at_import import AtImport

    del sys.path[0]
    sys.meta_path.insert(0, AtImport("medtrain.imaging.decode", slow))
