"""The command diff: what would change if a run resumed with the installed medtrain."""

from __future__ import annotations

import difflib
from typing import Any

from medtrain.config import configfile, fingerprint
from medtrain.core import processes
from medtrain.core.errors import MedtrainError
from medtrain.runs.code_snapshot import describe, incompatibility, snapshot_manifest, sources
from medtrain.runs.run import Run

NOT_OF_THE_RECIPE = ("recipe", "run", "runs", "data.shards")


def compare(run: Run) -> dict[str, Any]:
    """What would change if a run resumed with the installed medtrain: its files (and a unified diff from the copy to
    them), its packages as (copy's, installed), the settings that differ from its recipe as (recipe's, run's)."""
    old, new = sources(run.code), sources(processes.ROOT)
    manifest, here = snapshot_manifest(run), describe(new)
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
        "obstacle": incompatibility(run),
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
        recipe, own = fingerprint.flat(configfile.resolve(config.recipe)), fingerprint.flat(config)
    except MedtrainError:
        return {}
    return {n: (recipe[n], own[n]) for n in own if own[n] != recipe[n] and n not in NOT_OF_THE_RECIPE}


def counts(found: dict[str, Any]) -> str:
    """How many files differ, in words."""
    files = [f"{len(found[what])} {what}" for what in ("changed", "added", "removed") if found[what]]
    return f"files {', '.join(files)}" if files else f"the copy is the installed one ({found['copy']['digest'][:12]})"
