"""What must be written down: a sentence on every setting, and a docstring on everything public."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import medtrain
from medtrain.config import fingerprint, schema, slurm_settings

PACKAGE = Path(medtrain.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


def public(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Classes, functions and methods that a reader may meet by name."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_everything_public_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())
    first = (ast.get_docstring(tree) or "").split("\n\n")[0]
    assert first, f"{path}: no docstring says what the file is for"
    assert first.endswith(".") and ". " not in " ".join(first.split()), f"{path}: one sentence first: {first!r}"
    bare = [name for name, node in public(tree) if not ast.get_docstring(node)]
    assert not bare, f"{path}: no docstring on {', '.join(bare)}"


def test_every_setting_has_one_sentence() -> None:
    trees = [ast.parse(Path(str(file.__file__)).read_text()) for file in (schema, slurm_settings)]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    told = 0
    for node in classes:
        assert ast.get_docstring(node), node.name
        for field, after in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign):
                continue
            name = f"{node.name}.{ast.unparse(field.target)}"
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            if ast.unparse(field.annotation).endswith("Config"):
                continue  # a section: its class has the sentence
            assert isinstance(text, str), name
            assert text.endswith("."), f"{name} has no sentence below it"
            assert ". " not in text.replace("e.g. ", ""), f"{name}: one sentence, please"
            told += 1
    assert told == len(fingerprint.flat(schema.Config()))
