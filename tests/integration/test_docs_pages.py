"""Every code block of every page of documentation runs, and prints what the page says."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import doc_pages
import pytest

WITH_CODE = [page for page in (doc_pages.README, *doc_pages.PAGES) if doc_pages.has_code(page)]
BEGUN_FROM = {doc_pages.continued(page) for page in WITH_CODE}


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Plays a page once a session, whichever worker asks first; returns the folder that it leaves."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "pages"
    shared.mkdir(exist_ok=True)

    def play(name: str) -> Path:
        page = doc_pages.README if name == doc_pages.README.name else doc_pages.DOCS / name
        folder = shared / name.replace("/", "-").removesuffix(".md")
        before = doc_pages.continued(page)
        begin = play(before) if before else None
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = folder.with_suffix(".done")
            if not done.exists():
                assert not folder.exists(), f"{name}, whose folder is needed, has failed"
                shutil.copytree(begin, folder, symlinks=True) if begin else folder.mkdir()
                doc_pages.play(page, folder)
                done.touch()
                if name not in BEGUN_FROM:  # checkpoints are large, and pytest keeps the folders of three sessions
                    shutil.rmtree(folder)
        return folder

    return play


@pytest.mark.parametrize("page", WITH_CODE, ids=doc_pages.name_of)
def test_the_blocks_of_a_page_run(page: Path, played: Callable[[str], Path]) -> None:
    played(doc_pages.name_of(page))


def test_a_page_that_is_wrong_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for text, problem in (
        ("```console\n$ echo one\ntwo\n```\n", "and the page has\ntwo"),
        ("```console\n$ echo one\n$ false\n$ echo two\n```\n", "`false` ended with 1"),
        ("```python\nraise SystemExit('no such thing')\n```\n", "no such thing"),
        ("```yaml\nepochs: 3\nlearning_rate: 1\n```\n", "there is no setting learning_rate"),
        ("```bash\necho one\n```\n", "and this is 'bash'"),
    ):
        page.write_text(text)
        with pytest.raises(AssertionError) as raised:
            doc_pages.play(page, tmp_path)
        assert problem in str(raised.value)
    assert doc_pages.matches(["a ... c", "...", "z"], ["a b c", "d", "e", "z"])
    assert not doc_pages.matches(["a"], ["a", "b"])
