"""A figure of matplotlib as part of a page: its ink is the page's, its words stay words, its ids are its own."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike

from medtrain.core.console import in_line
from medtrain.reporting.html_report.markup import Html, tag
from medtrain.reporting.style import AMBER, BLUE, GREEN, INK, VERMILION

if TYPE_CHECKING:  # matplotlib takes 0.3 s to import: only a function that draws pays for it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SALT = "medtrain"  # so that the ids of a figure are the same each time
SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": SALT, "text.parse_math": False, "font.size": 11.0}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
FONT = re.compile(r"font: ([\d.]+)px [^;]*")
LONG = re.compile(r"-?\d+\.\d{3,}")
REFERENCE = re.compile(r"url\(#([^)]+)\)")
# The page says what they are in light and in dark.
COLOURS = {INK: "currentColor", BLUE: "var(--blue)", VERMILION: "var(--vermilion)", GREEN: "var(--green)",
           AMBER: "var(--amber)"}  # fmt: skip
XLINK = "{http://www.w3.org/1999/xlink}href"
INCH = 72.0  # units of an SVG: a figure is drawn in pixels of the page


def new_svg(width: float, height: float) -> Figure:
    """An empty figure of that many pixels."""
    from medtrain.reporting.style import new_figure

    return new_figure(width / INCH, height / INCH, laid_out=False)


Hovers = list[tuple[float, float, str]]  # where on a figure in pixels from its upper left corner, and words


def drawn(figure: Figure, name: str, words: str, caption: object = None, hovers: Hovers | None = None) -> Html:
    """The figure as an element; `name` begins its ids, and `words` say what it shows to who does not see it.

    A pointer that rests on one of the places `hovers` is shown its words, without a script.
    """
    import matplotlib

    text = io.BytesIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(text, format="svg", transparent=True, metadata=NO_METADATA)
    svg = _own(ElementTree.fromstring(text.getvalue()), name, in_line(words))
    for x, y, text_there in hovers or ():
        place = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "7", "class": "hover"}
        ElementTree.SubElement(ElementTree.SubElement(svg, "circle", place), "title").text = in_line(text_there)
    under = None if caption is None else tag("figcaption", caption)
    return tag("figure", Html(ElementTree.tostring(svg, encoding="unicode")), under)


def places(axes: Axes, x: ArrayLike, y: ArrayLike, words: Iterable[str]) -> Hovers:
    """Words at points of a figure's axes, whose limits are final."""
    _ = axes.viewLim  # has matplotlib find the limits that were not given
    figure = axes.figure
    pixels = axes.transData.transform(np.column_stack([x, y])) * (INCH / figure.dpi)
    height = figure.bbox.height * (INCH / figure.dpi)
    return [(float(right), height - float(up), one) for (right, up), one in zip(pixels, words, strict=True)]


def _own(root: ElementTree.Element, name: str, words: str) -> ElementTree.Element:
    """The same tree without names of XML, with ids that no other figure has."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    ids = _ids(root, name)
    for element in root.iter():
        element.tag = _local(element.tag)
        if (old := element.attrib.pop("id", None)) in ids:
            element.set("id", ids[old])
        if (target := element.attrib.pop(XLINK, None)) is not None:
            element.set("href", f"#{ids[target[1:]]}")
        for key, value in element.attrib.items():
            element.set(key, _plain(key, value, ids))
    width = float(root.attrib["viewBox"].split()[2])
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": words, "style": f"max-width:{1.35 * width:.0f}px"})
    return root


def _ids(root: ElementTree.Element, name: str) -> dict[str, str]:
    """The ids that something in the figure refers to -> new ones."""
    found: dict[str, str] = {}
    for element in root.iter():
        for key, value in element.attrib.items():
            named = [value[1:]] if key == XLINK else REFERENCE.findall(value)
            for one in named:
                found.setdefault(one, f"{name}-{len(found)}")
    return found


def _plain(key: str, value: str, ids: dict[str, str]) -> str:
    if key in ("id", "href"):
        return value
    value = REFERENCE.sub(lambda found: f"url(#{ids[found[1]]})", value)
    value = FONT.sub(r"font-size: \1px", value)
    for colour, words in COLOURS.items():
        value = value.replace(colour.lower(), words)
    return LONG.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)


def _local(name: str) -> str:
    return name.rpartition("}")[2]
