"""The command diff: what would change if a run resumed with the installed medtrain."""

from __future__ import annotations

from pathlib import Path

from medtrain.cli.flag_types import Flag, RunName
from medtrain.core.console import say, say_json, table
from medtrain.core.errors import InputError
from medtrain.runs.code_diff import compare, counts
from medtrain.runs.run import Run, resume_command


def diff(
    name: RunName,
    runs: Path = Path("runs"),
    json: Flag = False,
) -> None:
    """What would change if a run resumed with the installed medtrain and not with its own copy.

    Args:
        name: Name of the run.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    run = Run.find(runs, name)
    if not run.code.exists():
        raise InputError(
            f"run {run.name} has no copy of medtrain: it was made before runs had one",
            f"it gets a copy of the installed one when it resumes: {resume_command(run)}",
        )
    found = compare(run)
    if json:
        say_json(found)
        return
    say(found["diff"] + f"medtrain: {counts(found)}")
    if found["packages"]:
        rows = [(package, *versions) for package, versions in found["packages"].items()]
        say("\n" + table(("package", "when copied", "installed"), rows))
    if found["settings"]:
        rows = [(setting, *map(str, values)) for setting, values in found["settings"].items()]
        say("\nIt keeps its settings; those that the recipe has otherwise:")
        say(table(("setting", "recipe", "run"), rows))
    if found["obstacle"]:
        say(f"\nthe installed medtrain cannot resume it: {found['obstacle']}")
    elif found["diff"]:
        say(f"\nwith its own copy: {resume_command(run)}   with the installed one: {resume_command(run)} --update-code")
