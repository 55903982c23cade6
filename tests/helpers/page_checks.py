"""What a page of a report must be: well-formed, whole by itself, readable by a screen reader."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

VOID = {"meta", "br", "hr", "col", "link", "img", "input"}
BESIDES = {"path", "use", "g", "rect", "text", "defs", "clippath", "svg", "tspan"}
DOI = "https://doi.org/"


class Page(HTMLParser):
    """A page as its elements; `problems` are what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.parents: list[str] = []
        self.words: list[str] = []
        self.numbers: dict[str, str] = {}
        self.problems: list[str] = []
        self.captions = 0
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        if self.open:
            self.problems.append(f"never closed: {self.open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        if len(own) < len(attrs):
            self.problems.append(f"{tag} has an attribute twice: {attrs}")
        self.elements.append((tag, own))
        self.parents.append(self.open[-1] if self.open else "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID and "svg" not in self.open:
            self.problems.append(f"<{tag}/> is not of HTML")
        self.elements.append((tag, dict(attrs)))
        self.parents.append(self.open[-1] if self.open else "")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes another element")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        if self.open and self.open[-1] not in ("style", "title", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a reader sees."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of a kind."""
        return [own for name, own in self.elements if name == tag]


def checked(path: Path, images: bool = False, links: frozenset[str] = frozenset()) -> Page:
    """The page in a file, of which all that must hold does.

    Only with `images` it may hold some, in itself; `links` are the other files that it may lead to.
    """
    page = Page(path.read_text(encoding="utf-8"))
    assert not page.problems, page.problems
    ids = [own["id"] for _, own in page.elements if "id" in own]
    assert len(ids) == len(set(ids)), sorted(one for one in ids if ids.count(one) > 1)
    _by_itself(page, {*ids}, images, links)
    _accessible(page)
    return page


def _by_itself(page: Page, ids: set[str | None], images: bool, links: frozenset[str]) -> None:
    kinds = {tag for tag, _ in page.elements if not (images and tag == "img")}
    assert not kinds & {"link", "img", "iframe", "object", "embed", "base", "form", "video", "audio", "image"}
    for tag, own in page.elements:
        outside = "" if images and tag == "img" and str(own["src"]).startswith("data:image/jpeg;base64,") else "src"
        assert not [name for name in own if name.startswith("on") or name in (outside, "srcset", "action")], (tag, own)
        target = own.get("href") or own.get("xlink:href")
        if target and target.startswith("#"):
            assert target[1:] in ids, f"{target} leads nowhere"
        elif target:
            assert tag == "a" and (target.startswith(DOI) or target in links), target
        for value in own.values():
            if value and "url(" in value:
                assert value.partition("url(#")[2].partition(")")[0] in ids, value
    policies = [own["content"] for own in page.all("meta") if own.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1 and str(policies[0]).startswith("default-src 'none'")
    allowed = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in page.scripts]
    assert len(allowed) == 1 == len(page.all("script")) and f"script-src 'sha256-{allowed[0]}'" in str(policies[0])
    assert not page.all("script")[0]
    assert ("img-src" in str(policies[0])) == images


def _accessible(page: Page) -> None:
    assert [own.get("lang") for own in page.all("html")] == ["en"]
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(page.all(landmark)) == 1, landmark
    assert {where for (tag, _), where in zip(page.elements, page.parents, strict=True) if tag == "title"} <= {
        "head",
        "circle",
    }
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and all(later <= before + 1 for before, later in pairwise(levels))
    assert all(own.get("alt") for own in page.all("img"))
    for own in page.all("svg"):
        assert own.get("role") == "img" and own.get("aria-label"), own
    assert len(page.all("table")) == len(page.all("caption"))
    for own in page.all("th"):
        assert own.get("scope") in ("row", "col", "colgroup"), own
    regions = [own for own in page.all("div") if own.get("class") == "scroll"]
    assert all(own.get("tabindex") == "0" and own.get("aria-label") for own in regions)
    assert all(page.all("section")[i].get("aria-labelledby") for i in range(len(page.all("section"))))
