"""A dataset file from outside of the package: given by --plugin, or by an installed package's entry point."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from medtrain.core.errors import InputError
from medtrain.datasets.source import REQUIRED, Source

GROUP = "medtrain.datasets"  # entry points: NAME = "package.module"
NAME = re.compile(r"[a-z][a-z0-9_]*")


@cache
def installed() -> dict[str, Path]:
    """Name -> file of the datasets that installed packages bring, none of which is imported."""
    found = {}
    for entry in entry_points(group=GROUP):
        spec = importlib.util.find_spec(entry.value.partition(":")[0])
        if spec is not None and spec.origin:
            found[entry.name] = Path(spec.origin)
    return found


def sha256(path: Path) -> str:
    """Of a dataset file; InputError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror})", "give --plugin the dataset's file, as skin.py"
        ) from None


def load(name: str, path: Path) -> Source:
    """The source in a file; InputError where its name is another, it does not run, or lacks what a source must have."""
    if path.suffix != ".py" or not NAME.fullmatch(path.stem):
        raise InputError(f"{path} is no dataset file", "give --plugin a Python file in small letters, as skin.py")
    if path.stem != name:
        raise InputError(
            f"{path} is the file of the dataset {path.stem}, not of {name}", f"type {path.stem} for {name}"
        )
    digest = sha256(path)
    module_name = f"medtrain_plugin_{name}_{digest[:12]}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # before it runs: dataclasses look there
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            line = error.lineno if isinstance(error, SyntaxError) else _line_in(error, path)
            raise InputError(f"{path}, line {line}: {type(error).__name__}: {error}", "correct the file") from None
    module = sys.modules[module_name]
    if missing := [each for each in REQUIRED if not hasattr(module, each)]:
        raise InputError(
            f"{path} has no {', '.join(missing)}", "docs/extending/dataset.md lists what a dataset file must have"
        )
    return Source.of(module)


def _line_in(error: Exception, path: Path) -> int:
    """The last line of a file that a traceback goes through."""
    line, place = 0, error.__traceback__
    while place is not None:
        if Path(place.tb_frame.f_code.co_filename).name == path.name:
            line = place.tb_lineno
        place = place.tb_next
    return line
