"""The command diff: what would change if a run went on with the installed medtrain."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg

from medtrain import configfile, helper
from medtrain.console import say, say_json, table
from medtrain.errors import InputError, MedtrainError
from medtrain.freeze import describe, frozen, obstacle, sources
from medtrain.run import Run, resume_command

NOT_OF_THE_RECIPE = ("recipe", "run", "runs", "data.shards")


def compare(run: Run) -> dict[str, Any]:
    """What would change if a run went on with the installed medtrain: its files (and a unified diff from the copy to
    them), its packages as (copy's, installed), the settings that differ from its recipe as (recipe's, run's)."""
    old, new = sources(run.code), sources(helper.ROOT)
    manifest, here = frozen(run), describe(new)
    was = {"python": manifest.get("python", ""), **manifest.get("packages", {})}
    now = {"python": here["python"], **here["packages"]}
    return {
        "run": run.name,
        "copy": {"version": manifest.get("version", ""), "digest": describe(old)["digest"]},
        "installed": {"version": here["version"], "digest": here["digest"]},
        "history": manifest.get("history", []),
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(name for name in old.keys() & new.keys() if old[name] != new[name]),
        "diff": unified(old, new),
        "packages": {n: (was.get(n, ""), now.get(n, "")) for n in [*was, *now] if was.get(n, "") != now.get(n, "")},
        "settings": own_settings(run),
        "obstacle": obstacle(run),
    }


def unified(old: dict[str, bytes], new: dict[str, bytes]) -> str:
    """The files that differ, as `diff -uN copy installed` shows them."""
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = (side.get(name, b"").decode(errors="replace").splitlines(True) for side in (old, new))
        lines += difflib.unified_diff(before, after, f"copy/{name}", f"installed/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def own_settings(run: Run) -> dict[str, tuple[Any, Any]]:
    """The settings of a run that its recipe, as it is now, has otherwise; none where either cannot be read."""
    try:
        config = configfile.load(run.config_file)
        recipe, own = configfile.flat(configfile.resolve(config.recipe)), configfile.flat(config)
    except MedtrainError:
        return {}
    return {n: (recipe[n], own[n]) for n in own if own[n] != recipe[n] and n not in NOT_OF_THE_RECIPE}


def diff(
    name: Positional[Annotated[str, arg(metavar="RUN")]],
    runs: Path = Path("runs"),
    json: FlagCreatePairsOff[bool] = False,
) -> None:
    """What would change if a run went on with the installed medtrain and not with its own copy.

    Args:
        name: Name of the run.
        runs: Folder that holds the runs.
        json: Print one JSON document.
    """
    run = Run.find(runs, name)
    if not run.code.exists():
        raise InputError(
            f"run {run.name} has no copy of medtrain: it was made before runs had one",
            f"it gets a copy of the installed one when it goes on: {resume_command(run)}",
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
        say(f"\nthe installed medtrain cannot go on with it: {found['obstacle']}")
    elif found["diff"]:
        say(f"\nwith its own copy: {resume_command(run)}   with the installed one: {resume_command(run)} --thaw")


def counts(found: dict[str, Any]) -> str:
    """How many files differ, in words."""
    files = [f"{len(found[what])} {what}" for what in ("changed", "added", "removed") if found[what]]
    return f"files {', '.join(files)}" if files else f"the copy is the installed one ({found['copy']['digest'][:12]})"
