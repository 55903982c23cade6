"""On the path of a loader's worker, makes it decode each image slowly, as large compressed files do."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from importlib.machinery import ModuleSpec
from typing import Any

IMAGE_S = float(os.environ.get("SLOW_IMAGE_S", "0.03"))
DECODER = "medtrain.imaging.decode"


class SlowDecoding:
    """Finds the module of the decoder, once, and has it sleep for each image."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != DECODER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(DECODER)
        assert spec is not None and spec.loader is not None
        load = spec.loader.exec_module

        def load_and_slow(module: Any) -> None:
            load(module)
            decode = module.decode_all
            module.decode_all = lambda files, *rest: (time.sleep(IMAGE_S * len(files)), decode(files, *rest))[1]

        spec.loader.exec_module = load_and_slow  # type: ignore[method-assign]
        return spec


if "medtrain.loading.worker" in sys.orig_argv:
    sys.meta_path.insert(0, SlowDecoding())
