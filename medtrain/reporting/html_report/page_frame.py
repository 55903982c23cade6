"""The frame of the page: head, landmarks, the list of sections, and the mark by which the file is known again."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from medtrain import __version__
from medtrain.core.errors import InputError
from medtrain.reporting.html_report.markup import Html, joined, link, paragraph, tag
from medtrain.reporting.html_report.page_script import HASH, SCRIPT
from medtrain.reporting.html_report.stylesheet import STYLE

GENERATOR = "medtrain report"
MARK = "<!-- medtrain report: a model card"  # begins the first line of one; the SHA-256 of the text below ends it
SIGNED = re.compile(rf"{MARK}; sha256 ([0-9a-f]{{64}}) -->\n".encode())
BEGINNING = 2000  # bytes in which a report says that it is one
KIND = "medtrain-page"  # the name of the element that says which
RUN, GROUP, DATASET, COMPARISON, CARD = "run", "group", "dataset", "comparison", "card"
KINDS = {
    RUN: "the report of a run", GROUP: "the report of a group of runs", DATASET: "the page of a packed dataset",
    COMPARISON: "a comparison of runs", CARD: "a model card",
}  # fmt: skip
SAID = re.compile(rf'<meta name="{KIND}" content="(\w+)">'.encode())
COMPARED = b"<p>medtrain compare: "  # on pages from before they said which they are
# Nothing is fetched and nothing else runs, also where a label or a name should ever slip through as markup.
POLICY = (
    f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{HASH}'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading, to which the list of sections leads."""

    name: str  # its id
    title: str
    body: Html

    def html(self) -> Html:
        """The element."""
        head = tag("h2", self.title, id=f"{self.name}-head")
        return tag("section", head, self.body, id=self.name, aria_labelledby=f"{self.name}-head")


def section(name: str, title: str, *children: object) -> Section:
    """A section of some elements."""
    return Section(name, title, joined(*children))


def page(title: str, under: object, sections: list[Section], kind: str) -> str:
    """The whole document, of one of KINDS."""
    policy = f"{POLICY}; img-src data:" if any("<img " in one.body for one in sections) else POLICY
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=GENERATOR),
        tag("meta", name=KIND, content=kind),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{title}: medtrain report"),
        tag("style", Html(STYLE)),
    )
    places = tag("ul", *(tag("li", link(f"#{one.name}", one.title)) for one in sections))
    body = tag(
        "body",
        tag("a", "Skip to the report", href="#report", class_="skip"),
        tag("header", tag("h1", title), paragraph(under)),
        tag(
            "div",
            tag("nav", places, aria_label="Sections"),
            tag("main", *(one.html() for one in sections), id="report", tabindex="-1"),
            class_="frame",
        ),
        tag("footer", paragraph(f"Written by medtrain {__version__}. medtrain is no medical device.")),
        tag("script", Html(SCRIPT)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def ensure_ours(path: Path, kind: str) -> None:
    """InputError where there is a file that would be lost: one that is no page of medtrain of that kind, or a card that
    was edited."""
    if path.is_dir():
        raise InputError(f"{path} is a folder", "give a file: --out FILE.html")
    if not path.exists():
        return
    found = _kind_of(path.read_bytes())
    if not found:
        raise InputError(f"{path} is there, and is no report of medtrain", "move it away, or give another --out")
    if found != kind:
        other = "model_card_2.md" if kind == CARD else f"{path.stem}_{kind}.html"
        problem = f"{path} is {KINDS[found]}, which {KINDS[kind]} would replace"
        raise InputError(problem, f"give another file: --out {shlex.quote(str(path.with_name(other)))}")
    if kind == CARD:
        _ensure_unedited(path)


def _kind_of(data: bytes) -> str:
    """Which page of medtrain a file is; an empty string where it is none."""
    beginning = data[:BEGINNING]
    if beginning.startswith(MARK.encode()):
        return CARD
    if f'content="{GENERATOR}"'.encode() not in beginning:
        return ""
    said = SAID.search(beginning)
    if said and said[1].decode() in KINDS:
        return said[1].decode()
    return COMPARISON if COMPARED in data else DATASET if b"<p>medtrain report: packed" in data else (
        GROUP if b"<p>medtrain report: a group" in data else RUN)  # fmt: skip


def ensure_writable(path: Path, kind: str) -> None:
    """InputError where a page cannot be written to `path`, before anything is computed."""
    ensure_ours(path, kind)
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path.parent}: there is no such folder", "make it, or give another --out")


def signed(text: str) -> str:
    """A model card below the line by which it is known whether somebody has edited it since."""
    return f"{MARK}; sha256 {hashlib.sha256(text.encode()).hexdigest()} -->\n{text}"


def _ensure_unedited(path: Path) -> None:
    """InputError where a card is not what was written, or is of a version that left no checksum in it."""
    data = path.read_bytes()
    found = SIGNED.match(data)
    if found is None:
        raise InputError(f"{path} may have been edited: it has no checksum", "give another --out, or move it")
    if hashlib.sha256(data[found.end() :]).hexdigest().encode() != found[1]:
        raise InputError(f"{path} was edited", "give another --out, or move it")
