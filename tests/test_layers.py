"""The order of the layers, written down once, and proof from the imports that the code keeps to it."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import medtrain

PACKAGE = Path(medtrain.__file__).parent

# From the command line down to the errors. A module imports from lower lines, or from siblings on its own line, but
# never in a ring. A package (datasets, feeds, models, tasks) stands on the line of its name with all it holds.
LAYERS = """
cli
flags
groups
runs packing data metadata pretrained check clipcheck labelling explain doctor codediff degrade
clipexplain
probe
pipelines groupstatus stagecause
grouplaunch
groupreport chain worker
splitreport predict
openrun
gradcam
launch verify_run packjob
mismatch
replay
asked freeze feed sbatch rungroup removal
status supervise checks dependency
ranks grace
train
saving
trainer
resuming
evaluate freezing
reduction reporttext mistakes taskfigures
environment tasks tracker feeds feed_process checkpoints preempt optim watchdog
checkpoint_writer
checkpoint
multilabel multiclass abnormality regression subgroups
bootstrap
inputs labeltable
loader models compiling metrics calibration studyfigures clipfigures figures distributed tensorfile tree average finite
weights
verify loader_pool
manifestcheck datafit
shards loader_worker
clips
transforms
shardfile
plan clipframes clippair look newfile
texts encode mixture contents
index order decode sector
history takeover
attempts
causes goodput waiting
slurmjob jobenv studytables
datasets recipes reports scorefile canvas
video
dicomclip videofile
dicom png tiff clipfile clipheader
dicomframe
codestream losslessjpeg dicomlut encapsulated silence
physionet
fetch unpack mortal
run record csvfile configfile console helper place manifest journal permissions
durable searchpath fence
access
configrules errors
config backbones orphan labels outlet rawfile pixellimit
"""
LINES = [line.split() for line in LAYERS.strip().splitlines()]
HEIGHT = {name: len(LINES) - number for number, line in enumerate(LINES) for name in line}
NO_TORCH_UP_TO = "verify"  # what packs, checks and lists must start in a moment: torch costs seconds
HEAVY = {"torch", "torchvision", "accelerate", "timm"}


def module_name(path: Path) -> str:
    """`datasets.demo` for medtrain/datasets/demo.py; an empty name for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


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
    """The modules of this package among full names: `medtrain.run.Run` is of `run`."""
    found = set()
    for name in names:
        if name.split(".")[0] != "medtrain":
            continue
        parts = name.split(".")[1:]
        while parts and ".".join(parts) not in MODULES:
            parts.pop()
        found.add(".".join(parts))
    return found - {""}


def unit(module: str) -> str:
    """The name in the table that a module belongs to."""
    return module.split(".")[0]


PLACED = [name for name in MODULES if unit(name) in HEIGHT]  # the first test below names the others


def tree_of(module: str) -> ast.Module:
    """The parsed source of a module."""
    return ast.parse(MODULES[module].read_text())


def at_import_time(tree: ast.Module) -> ast.Module:
    """The tree without the bodies of its functions, which run later."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    return Strip().visit(tree)  # type: ignore[no-any-return]


def ring(graph: dict[str, set[str]]) -> str:
    """A ring in the graph, as `a -> b -> a`, or an empty string."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


def test_the_table_and_the_folder_name_the_same_modules() -> None:
    there = {unit(name) for name in MODULES if name} | {"recipes"}  # recipes: YAML files only
    new, gone = there - set(HEIGHT), set(HEIGHT) - there
    assert not new, (
        f"give {sorted(new)} a line in LAYERS of {Path(__file__).name}: what may it import, who may import it?"
    )
    assert not gone, f"LAYERS of {Path(__file__).name} names {sorted(gone)}, and there is no such module"
    assert len(HEIGHT) == sum(map(len, LINES)), "a name stands on two lines"


@pytest.mark.parametrize("module", PLACED)
def test_imports_go_down_or_sideways(module: str) -> None:
    for other in own(imported(tree_of(module))):
        assert HEIGHT.get(unit(other), 0) <= HEIGHT[unit(module)], f"{module} imports {other}, which is above it"


def test_the_package_itself_imports_nothing() -> None:
    assert not imported(tree_of("")) - {"__future__.annotations"}, "each `import medtrain.x` would pay for it"


def test_the_wheel_holds_every_package() -> None:
    """An editable install works without: only who installs the wheel would miss a folder."""
    listed = re.search(r"^packages = (\[[^]]*\])", (PACKAGE.parent / "pyproject.toml").read_text(), re.MULTILINE)
    assert listed
    folders = {f"medtrain.{name}" for name in MODULES if name and MODULES[name].name == "__init__.py"}
    assert set(ast.literal_eval(listed.group(1))) == {"medtrain", "medtrain.recipes"} | folders


def test_no_rings() -> None:
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        others = {unit(other) for other in own(imported(tree_of(module)))} - {unit(module)}
        graph.setdefault(unit(module), set()).update(others)
    assert not ring(graph), f"modules import each other in a ring: {ring(graph)}"
    # Inside a package: its __init__ may open its members in a function, which closes no ring while importing.
    first = {module: own(imported(at_import_time(tree_of(module)))) - {module} for module in MODULES}
    assert not ring(first), f"modules import each other in a ring while being imported: {ring(first)}"


@pytest.mark.parametrize("module", [name for name in PLACED if HEIGHT[unit(name)] <= HEIGHT[NO_TORCH_UP_TO]])
def test_the_lower_layers_do_without_torch(module: str) -> None:
    heavy = {name for name in imported(tree_of(module)) if name.split(".")[0] in HEAVY}
    assert not heavy, f"{module} is at or below {NO_TORCH_UP_TO} and imports {', '.join(sorted(heavy))}"


def test_the_checks_see_what_they_should() -> None:
    """The reader finds imports in functions, submodules and rings: a blind test would always pass."""
    code = "import torch.nn\ndef f():\n    from medtrain.run import Run\n    from medtrain import configfile\n"
    names = imported(ast.parse(code))
    assert names == {"torch.nn", "medtrain.run.Run", "medtrain.configfile"}
    assert own(names) == {"run", "configfile"}
    assert own(imported(at_import_time(ast.parse(code)))) == set()
    assert ring({"a": {"b"}, "b": {"c"}, "c": {"a"}}).count("->") == 3
    assert ring({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == ""
