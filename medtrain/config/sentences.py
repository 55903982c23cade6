"""What is said of each setting: the text below it in the schema's source."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

from medtrain.config import schema, slurm_settings


@cache
def sentences(kind: Any) -> dict[str, str]:
    """Setting -> its text, of a section of the settings."""
    own = next(node for node in _classes() if node.name == kind.__name__)
    found = {}
    for field, after in zip(own.body, own.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(after.value.value).split())
    return found


@cache
def all_sentences() -> dict[str, str]:
    """The same for the settings of all sections, by the names that their flags have."""
    kinds = [getattr(schema, node.name) for node in _classes()]
    return {name: text for kind in kinds for name, text in sentences(kind).items()}


@cache
def _classes() -> list[ast.ClassDef]:
    trees = [ast.parse(Path(str(file.__file__)).read_text(encoding="utf-8")) for file in (schema, slurm_settings)]
    return [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
