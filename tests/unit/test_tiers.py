"""The order of the packages, written down once, and proof from the imports that the code keeps to it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter

import pytest
from draw_packages import FILE, drawing
from tiers import (
    HEAVY,
    HEIGHT,
    INSIDE,
    LINES,
    MODULES,
    NO_TORCH,
    PACKAGE,
    SIDEWAYS,
    at_import_time,
    imported,
    needs,
    own,
    package,
    ring,
    tree_of,
)  # fmt: skip

import medtrain


def test_the_table_and_the_folder_name_the_same_packages() -> None:
    there = {package(name) for name in INSIDE}
    assert there == set(HEIGHT), "give each package a line in TIERS: what may it import, who may import it?"
    assert len(HEIGHT) == sum(map(len, LINES)), "a name stands on two lines"
    alone = [name for name in INSIDE if "." not in name and MODULES[name].name != "__init__.py"]
    assert not alone, f"{alone} lie in no package"


@pytest.mark.parametrize("name", sorted(HEIGHT))
def test_imports_go_down_or_sideways(name: str) -> None:
    for module in (module for module in INSIDE if package(module) == name):
        for other in {package(other) for other in own(imported(tree_of(module)))} - {name}:
            down = HEIGHT[other] < HEIGHT[name]
            assert down or other in SIDEWAYS.get(name, ()), f"{module} imports from {other}, which is not below it"


def test_the_drawing_shows_the_imports_of_today() -> None:
    assert FILE.read_text() == drawing(), "draw it again: python docs/draw_packages.py"


def test_what_may_be_imported_sideways_is_needed_and_makes_no_ring() -> None:
    for name, others in SIDEWAYS.items():
        assert {HEIGHT[other] for other in others} == {HEIGHT[name]}
        assert others <= needs()[name], f"{name} imports nothing from {others - needs()[name]}: shorten SIDEWAYS"
    assert not ring(SIDEWAYS), f"packages import each other in a ring: {ring(SIDEWAYS)}"


def test_no_rings_of_modules() -> None:
    graph = {module: own(imported(tree_of(module))) - {module} for module in INSIDE}
    # A package's __init__ may open its members in a function, which closes no ring while importing.
    doors = {module for module in INSIDE if MODULES[module].name == "__init__.py"}
    closed = {m: own(imported(at_import_time(tree_of(m)))) - {m} if m in doors else graph[m] for m in INSIDE}
    assert not ring(closed), f"modules import each other in a ring: {ring(closed)}"


@pytest.mark.parametrize("name", NO_TORCH.split())
def test_what_must_start_in_a_moment_does_without_torch(name: str) -> None:
    for module in (module for module in INSIDE if package(module) == name):
        heavy = {name for name in imported(at_import_time(tree_of(module))) if name.split(".")[0] in HEAVY}
        assert not heavy, f"{module} imports {', '.join(sorted(heavy))}"


def test_a_package_says_what_it_is_for() -> None:
    for module in INSIDE:
        if "." not in module:
            words = ast.get_docstring(tree_of(module)) or ""
            assert re.search(r"^Imported by: .+\nDoor: ", words, re.M), (
                f"{module}: who imports it, and what is its door?"
            )


def test_no_name_twice() -> None:
    """But of commands, whose modules are called as they are."""
    names = Counter(name.rpartition(".")[2] for name in INSIDE if "." in name and not name.startswith("cli.commands."))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_package_hands_out_its_names_and_imports_nothing_before() -> None:
    assert not own(imported(at_import_time(tree_of("")))) - {name for name in MODULES if name}
    code = "import sys, medtrain; print(*sorted(m for m in sys.modules if m.startswith('medtrain')))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["medtrain"]
    for name in medtrain.__all__:
        assert getattr(medtrain, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        medtrain.nothing  # noqa: B018


@pytest.mark.parametrize(("old", "name"), [("predict", "MURAPredictor"), ("reports", "label_report")])
def test_what_was_documented_is_still_found_for_a_release(old: str, name: str) -> None:
    code = f"from medtrain.{old} import {name}"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert "DeprecationWarning" in done.stderr and "from medtrain" in done.stderr


def test_the_wheel_holds_every_package() -> None:
    """An editable install works without: only who installs the wheel would miss a folder."""
    listed = re.search(r"^packages = (\[[^]]*\])", (PACKAGE.parent / "pyproject.toml").read_text(), re.MULTILINE)
    assert listed
    folders = {f"medtrain.{name}" for name in MODULES if name and MODULES[name].name == "__init__.py"}
    assert (
        set(ast.literal_eval(listed.group(1)))
        == {"medtrain", "medtrain.config.recipes", "medtrain.slurm.files"} | folders
    )


def test_the_checks_see_what_they_should() -> None:
    """The reader finds imports in functions, submodules and rings: a blind test would always pass."""
    code = (
        "import torch.nn\ndef f():\n    from medtrain.runs.run import Run\n    from medtrain.config import configfile\n"
    )
    names = imported(ast.parse(code))
    assert names == {"torch.nn", "medtrain.runs.run.Run", "medtrain.config.configfile"}
    assert own(names) == {"runs.run", "config.configfile"}
    assert own(imported(at_import_time(ast.parse(code)))) == set()
    assert ring({"a": {"b"}, "b": {"c"}, "c": {"a"}}).count("->") == 3
    assert ring({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == ""
