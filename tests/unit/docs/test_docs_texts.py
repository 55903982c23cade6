"""What pages quote or list is all there: messages, causes, terms; figures are those that are drawn."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import doc_pages
import draw_figures

import medtrain
from medtrain.datasets.source import Source
from medtrain.runs import exit_causes

PACKAGE = Path(medtrain.__file__).parent
MESSAGES = doc_pages.DOCS / "operations" / "troubleshooting.md"
FIXED = 6  # letters of a message that are told apart from others


def texts() -> Iterator[str]:
    """Every text in the source; of one with values in it what stands between them, parted by a null."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_each_quoted_message_is_in_the_source() -> None:
    source = "\n".join(texts())
    quoted = [block.text.strip() for block in doc_pages.blocks(MESSAGES)]
    assert len(quoted) >= 25
    for message in quoted:
        assert message.startswith("error: ") and "\n" not in message, message
        parts = [part for part in message.removeprefix("error: ").split("...") if len(part.strip()) >= FIXED]
        assert parts, f"{message}: nothing of it is fixed"
        for part in parts:
            assert part.strip(": ") in source, f"no text of the source has {part.strip(': ')!r}"


def test_every_cause_has_a_line() -> None:
    tree = ast.parse(Path(exit_causes.__file__).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Cause"]
    kinds = {ast.literal_eval(call.args[0]) for call in calls if call.args}
    page = (doc_pages.DOCS / "operations" / "why_an_attempt_ended.md").read_text()
    assert set(re.findall(r"^\| `([a-z ]+)` \|", page, re.MULTILINE)) == kinds


def named_in_tables(name: str) -> set[str]:
    """Names in the first column of a page's tables, without their arguments."""
    cells = re.findall(r"^\| (`[^|]+) \|", (doc_pages.DOCS / "extending" / name).read_text(), re.MULTILINE)
    return {found.split("(")[0] for cell in cells for found in re.findall(r"`([^`]+)`", cell)}


def test_pages_on_extending_name_all_of_each_contract() -> None:
    fields = {field.name: "Callable" in str(field.type) for field in dataclasses.fields(Source)}
    assert named_in_tables("dataset.md") == {name if function else name.upper() for name, function in fields.items()}
    contract = next(node for node in ast.parse((PACKAGE / "tasks/__init__.py").read_text()).body if is_task(node))
    members = [node for node in contract.body if isinstance(node, ast.AnnAssign | ast.FunctionDef)]
    assert named_in_tables("task.md") == {
        node.name if isinstance(node, ast.FunctionDef) else ast.unparse(node.target) for node in members
    }
    family = ast.parse((PACKAGE / "models/families/densenet.py").read_text()).body
    functions = {node.name for node in family if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
    assert named_in_tables("model.md") == functions | {"LEARNED_FROM"}


def is_task(node: ast.stmt) -> TypeGuard[ast.ClassDef]:
    """Whether it is the class of the contract."""
    return isinstance(node, ast.ClassDef) and node.name == "Task"


def test_terms_are_sorted_and_each_is_there_once() -> None:
    text = (doc_pages.DOCS / "glossary.md").read_text()
    terms = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert len(terms) > 40 and terms == sorted(set(terms), key=str.lower)
    for entry in text.split("\n## ")[1:]:
        term, _, meaning = entry.partition("\n\n")
        assert 1 <= len(re.findall(r"\.(?:\s|$)", meaning)) <= 2, f"{term}: one or two sentences"


def test_figures_are_as_they_are_drawn() -> None:
    for name, draw in draw_figures.FIGURES.items():
        path = doc_pages.DOCS / "figures" / f"{name}.svg"
        assert path.read_text() == draw(), f"{path}: run python docs/draw_figures.py"
