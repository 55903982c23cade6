"""Flags by their old names: read as those of today, and handed to a run's older copy of medtrain as it knows them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from medtrain.cli.arguments import take_values
from medtrain.config.configfile import tell_renamed
from medtrain.config.dependency import jobs_alone
from medtrain.config.renamed import NEW_NAMES, OLD_NAMES, OLD_VALUES, canonical, current
from medtrain.config.yaml12 import read_yaml
from medtrain.core.errors import InputError
from medtrain.runs.code_snapshot import UPDATE_CODE
from medtrain.runs.run import Run, resume_command

# A flag is a setting without its section; no two settings have one.
_FULL = {name.split(".")[-1]: name for names in (OLD_VALUES, OLD_NAMES, NEW_NAMES) for name in names}


def with_new_names(command: str, words: list[str], known: Collection[str] | None = None) -> list[str]:
    """A command's flags by the names of today, with a note of those that had others; of a command whose flags are not
    settings only those that it has (`known`)."""
    renamed: dict[str, str] = {}

    def to_new(flag: str, value: str) -> tuple[str, str]:
        name, told = current(_FULL[flag], value)
        new = name.split(".")[-1]
        if known is not None and new not in known:
            return flag, value
        if new != flag:
            renamed[f"--{flag}"] = f"--{new}"
        return new, told

    found = _translated(words, to_new)
    tell_renamed(f"medtrain {command}", renamed)
    return found


def for_older_copy(run: Run, words: list[str]) -> list[str]:
    """The flags of `resume` as a copy of medtrain from before the renames reads them, with `-c` files as flags too.
    InputError where that copy has no such thing."""

    def to_old(flag: str, value: str) -> tuple[str, str]:
        name, told = canonical(*current(_FULL[flag], value))
        return name.split(".")[-1], _jobs(run, told) if name == "slurm.after" else told

    name, *rest = words
    files = [read_yaml(Path(file)) for file in take_values(rest, ("-c", "--config"))]
    own = [word for values in files for word in _as_flags(values)]
    return _translated([name, *own, *rest], to_old)  # flags that were given come later, and win


def _as_flags(values: dict[str, Any]) -> list[str]:
    """Settings of a file as flags, without those that a resumed run has of its own."""
    found: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _as_flags(value)
        elif key not in ("recipe", "run", "runs"):
            found += [f"--{key}", *map(str, value if isinstance(value, list) else [value])]
    return found


def _translated(words: list[str], translate: Callable[[str, str], tuple[str, str]]) -> list[str]:
    """`words` with each `--flag value` and `--flag=value` that may have two names translated."""
    found: list[str] = []
    waiting = ""  # a flag whose value is the next word
    for word in words:
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_") if flag.startswith("--") else ""
        if waiting:
            new, told = translate(waiting, word)
            found += [f"--{new}", told]
            waiting = ""
        elif name not in _FULL:
            found.append(word)
        elif equals:
            new, told = translate(name, value)
            found.append(f"--{new}={told}")
        else:
            waiting = name
    return [*found, f"--{waiting}"] if waiting else found


def _jobs(run: Run, dependency: str) -> str:
    """A dependency for a copy that knows afterok alone."""
    jobs = jobs_alone(dependency)
    if dependency and not jobs:
        raise InputError(
            f"run {run.name}: its own copy of medtrain knows job ids alone, and not --dependency {dependency}",
            f"give ids alone (afterok), or update it first: {resume_command(run)} {UPDATE_CODE}",
        )
    return jobs
