"""Where the files of clusters lie, and which of several with one name counts."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from medtrain.core.errors import InputError, nearest

ENDINGS = (".yaml", ".yml")
# The site's: beside the package in a checkout and in a run's copy, inside it where a wheel was installed.
_PLACES = (Path(__file__).parents[2] / "slurm", Path(__file__).parents[1] / "slurm" / "files")
PACKAGED = next((place for place in _PLACES if place.is_dir()), _PLACES[0]) / "clusters"


@dataclass(frozen=True)
class ClusterFile:
    """A cluster file, and the one of the same name that is found before it, if any."""

    name: str
    path: Path
    hidden_by: Path | None = None


def folders() -> list[Path]:
    """The folders in which a cluster's file is looked for by its name; the first that has it counts."""
    return list(dict.fromkeys([*_named(), _home(), PACKAGED]))


def own_folder() -> Path:
    """The folder for a new file: the first of $MEDTRAIN_CLUSTERS, else that of the user."""
    return (*_named(), _home())[0]


def every() -> list[ClusterFile]:
    """All cluster files that have a name, in the order of the folders."""
    first: dict[str, Path] = {}
    found = []
    for folder in folders():
        for path in sorted(path for ending in ENDINGS for path in folder.glob(f"*{ending}")):
            seen = first.setdefault(path.stem, path)
            found.append(ClusterFile(path.stem, path, None if seen == path else seen))
    return found


def find(name: str) -> Path:
    """The file of a cluster by its name, or by its path, which ends in .yaml."""
    if name.endswith(ENDINGS):
        if not Path(name).exists():
            raise InputError(f"there is no cluster file {name}", f"{_known()}, or give the path of another")
        return Path(name)
    for file in every():
        if file.name == name:
            return file.path
    places = ", ".join(map(str, folders()))
    suggestion = nearest(name, [file.name for file in every()])
    raise InputError(
        f"there is no cluster file {name}.yaml{suggestion} in {places}",
        f"{_known()}; write one: medtrain cluster init {shlex.quote(name)}",
    )


def _known() -> str:
    names = list(dict.fromkeys(file.name for file in every()))
    return f"there are: {', '.join(names)}" if names else "there are no cluster files yet"


def _named() -> list[Path]:
    named = os.environ.get("MEDTRAIN_CLUSTERS", "").split(":")
    return [_expanded(folder).absolute() for folder in named if folder]


def user_folder() -> Path:
    """Where a user's own files for medtrain lie, `~/.config/medtrain` (XDG Base Directory Specification)."""
    config = os.environ.get("XDG_CONFIG_HOME", "")  # which counts only if it is absolute, as its standard has it
    base = Path(config) if Path(config).is_absolute() else _expanded("~/.config")
    return base / "medtrain"


def _home() -> Path:
    return user_folder() / "clusters"


def _expanded(folder: str) -> Path:
    return Path(os.path.expanduser(folder))  # noqa: PTH111 - Path.expanduser raises where a user has no home
