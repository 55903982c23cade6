"""Another name for a run: its folder is moved, and what it has done stays as it is."""

from __future__ import annotations

from dataclasses import replace

from medtrain.config import configfile
from medtrain.config.rules import RUN_NAME
from medtrain.core.errors import InputError
from medtrain.runs.code_snapshot import has_old_names
from medtrain.runs.removal import ensure_not_alive
from medtrain.runs.run import Run, group_names
from medtrain.runs.run_group import RunGroup


def rename(run: Run, name: str) -> Run:
    """Move a run to a new name in the same folder; returns it there.

    Its name in the tracker, which goes by the run's id there, stays as it is. InputError where it is under way or waits
    in the queue, is a run of a group, or the name cannot be used or is taken.
    """
    if not RUN_NAME.fullmatch(name):
        raise InputError(
            f"the name {name!r} cannot be used", "begin with a letter or digit; then letters, digits, . _ -"
        )
    runs = run.folder.parent
    for group in group_names(runs):
        if run.name in [member.name for member in RunGroup(runs / group).runs]:
            raise InputError(
                f"run {run.name} is one of the group {group}, which knows it by that name", "keep its name"
            )
    ensure_not_alive(run)
    new = Run(runs / name)
    new.ensure_new()
    if new.folder.exists():
        raise InputError(f"{new.folder} exists already", "choose another name")
    run.folder.rename(new.folder)
    # What is resumed goes by its folder's name in any case: where this is cut off, nothing is lost.
    configfile.save(replace(configfile.load(new.config_file), run=name), new.config_file, has_old_names(new))
    return new
