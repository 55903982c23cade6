"""The site builds without a warning, its links lead somewhere, and its generated pages are up to date."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import doc_pages
import pytest
from places import REPOSITORY


def test_the_site_builds_strictly_and_the_reference_is_that_of_the_code(tmp_path: Path) -> None:
    """In a copy, because a build writes the reference anew."""
    source, html = tmp_path / "docs", tmp_path / "html"
    shutil.copytree(doc_pages.DOCS, source, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    for path in REPOSITORY.iterdir():  # pages may link to what lies beside them
        if path != doc_pages.DOCS:
            (tmp_path / path.name).symlink_to(path)
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "-b", "html", str(source), str(html)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built = {path.relative_to(html).with_suffix(".md") for path in html.rglob("*.html")}
    assert {page.relative_to(doc_pages.DOCS) for page in doc_pages.PAGES} <= built
    for page in (source / "reference").glob("*.md"):
        committed = doc_pages.DOCS / "reference" / page.name
        assert committed.read_text() == page.read_text(), f"{page.name}: run python docs/generate_reference.py"


@pytest.mark.parametrize("page", doc_pages.LINKED, ids=doc_pages.name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Addresses of the internet are looked at by their form alone, and listed (pytest -rP)."""
    for link in doc_pages.links(page):
        if ":" in link.split("/")[0]:
            url = urlparse(link)
            assert url.scheme in ("http", "https") and "." in url.netloc, f"{page}: {link}"
            print(link)
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page}: {link} is not there"
        assert not anchor or anchor in doc_pages.anchors(target), f"{page}: {link}: there is no such heading"


def test_every_page_is_reached_from_the_index() -> None:
    """By plain links, as somebody reads who has a terminal and no browser."""
    seen: set[Path] = set()
    waiting = [doc_pages.DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        found = [(page.parent / link.partition("#")[0]).resolve() for link in doc_pages.links(page) if ":" not in link]
        waiting += [path for path in found if path.suffix == ".md" and path.is_relative_to(doc_pages.DOCS)]
    assert set(doc_pages.PAGES) == seen
