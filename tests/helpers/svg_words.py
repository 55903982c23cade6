"""What a figure says: the words of an SVG that medtrain wrote, in the order in which they are drawn."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"


def words_of(path: Path) -> list[str]:
    """Each text of the figure; a text of several lines is several."""
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    return ["".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")]
