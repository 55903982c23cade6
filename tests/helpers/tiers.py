"""The tiers of the packages, written down once, and which module imports which, read from the source."""

from __future__ import annotations

import ast
from copy import deepcopy
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "medtrain"
# From the command line down. A package imports from lower lines, and from those of its own line that SIDEWAYS names.
TIERS = """
cli
exporting
doctor launch reporting
training evaluation
tasks checkpoints tracking loading models metrics distributed
runs shards curation
datasets imaging slurm
config core
"""
SIDEWAYS = {
    "doctor": {"launch"},
    "launch": {"reporting"},
    "training": {"evaluation"},
    "tasks": {"loading", "metrics"},
    "distributed": {"loading", "models"},
    "curation": {"shards"},
    "datasets": {"imaging"},
    "config": {"core"},
}
# What packs, checks, lists and submits must start in a moment: torch costs seconds.
NO_TORCH = """
cli doctor launch tracking metrics runs shards curation datasets imaging slurm config core
"""
LINES = [line.split() for line in TIERS.strip().splitlines()]
HEIGHT = {name: len(LINES) - number for number, line in enumerate(LINES) for name in line}
HEAVY = {"torch", "torchvision", "accelerate", "timm"}
# For a release: doors of what has moved (see each).
SHIMS = {"__main__", "helper", "packjob", "predict", "reports"}


def module_name(path: Path) -> str:
    """`datasets.sources.demo` for medtrain/datasets/sources/demo.py; an empty name for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
INSIDE = [name for name in MODULES if name and name not in SHIMS]


def imported(tree: ast.AST) -> set[str]:
    """Full names of everything imported in a tree, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write imports in full: from medtrain.x import y"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(names: set[str]) -> set[str]:
    """The modules of this package among full names: `medtrain.runs.run.Run` is of `runs.run`."""
    found = set()
    for name in names:
        if name.split(".")[0] != "medtrain":
            continue
        parts = name.split(".")[1:]
        while parts and ".".join(parts) not in MODULES:
            parts.pop()
        found.add(".".join(parts))
    return found - {""}


def package(module: str) -> str:
    """The name in the table that a module belongs to."""
    return module.split(".")[0]


@cache
def tree_of(module: str) -> ast.Module:
    """The parsed source of a module; not to be changed."""
    return ast.parse(MODULES[module].read_text())


def at_import_time(tree: ast.Module) -> ast.Module:
    """The tree without the bodies of its functions, which run later."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    return Strip().visit(deepcopy(tree))  # type: ignore[no-any-return]


def ring(graph: dict[str, set[str]]) -> str:
    """A ring in the graph, as `a -> b -> a`, or an empty string."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


@cache
def needs() -> dict[str, set[str]]:
    """package -> the packages that it imports from."""
    found: dict[str, set[str]] = {name: set() for name in HEIGHT}
    for module in INSIDE:
        found[package(module)] |= {package(other) for other in own(imported(tree_of(module)))} - {package(module)}
    return found
