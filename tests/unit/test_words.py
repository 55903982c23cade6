"""Messages, help and pages use the field's words: nothing that docs/development/words.md lists as not used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import REPOSITORY

PAGE = REPOSITORY / "docs" / "development" / "words.md"
PACKAGE = REPOSITORY / "medtrain"
PAGES = sorted(
    path
    for path in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/README.md"), *(REPOSITORY / "docs").rglob("*.md"))
    # What was, in the words of its day.
    if path.name not in ("CHANGELOG.md", "RESULTS.md", PAGE.name)
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def banned() -> list[str]:
    """The phrases of the table's first column, each as a pattern."""
    rows = re.findall(r"^\| (?!not \|)(.+?) \| .+ \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    phrases = [phrase.strip() for row in rows for phrase in row.split(",") if not row.startswith("-")]
    return [rf"\b{re.escape(phrase).replace('…', '.{1,40}?')}\b".replace(r"\ ", r"\s+") for phrase in phrases]


BANNED = re.compile("|".join(banned()), re.IGNORECASE)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module: what it prints, and its docstrings, which are help or are read beside it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def test_the_table_is_read() -> None:
    assert len(banned()) > 30
    for text in ("it goes on with\nits copy", "leave --encoding away", "1 GiB at the most", "(as asked)"):
        assert BANNED.search(text), text
    assert not BANNED.search("resume it, or omit --encoding: at most 1 GiB")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_texts_of_a_module(path: Path) -> None:
    found = [f"line {line}: {hit.group()!r}" for line, text in texts(path) for hit in BANNED.finditer(text)]
    assert not found, f"{path}: {'; '.join(found)} (see {PAGE.name})"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_texts_of_a_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = [f"line {text.count(chr(10), 0, hit.start()) + 1}: {hit.group()!r}" for hit in BANNED.finditer(text)]
    assert not found, f"{path}: {'; '.join(found)} (see {PAGE.name})"
