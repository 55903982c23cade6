"""HTML from plain values: what is no Html already is escaped, so that names and labels stay words."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from medtrain.core.console import in_line
from medtrain.metrics.intervals import known_ends

VOID = frozenset({"meta", "br", "hr", "col", "img"})
NOTHING = "–"  # of a number that is undefined


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(value: object) -> Html:
    """A value as text of a page; Html as it is."""
    return value if isinstance(value, Html) else Html(html.escape(in_line(value)))


def joined(*parts: object) -> Html:
    """Parts one behind the other; None is nothing, and lists are their parts."""
    found: list[str] = []
    for part in parts:
        if isinstance(part, (list, tuple)):
            found.append(joined(*part))
        elif part is not None:
            found.append(escaped(part))
    return Html("".join(found))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element; `aria_label` is aria-label, `class_` class, True an attribute alone, None and False none."""
    words = "".join(
        f" {_name(key)}" if value is True else f' {_name(key)}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{words}>" if name in VOID else f"<{name}{words}>{joined(*children)}</{name}>")


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def number(value: float | int | None, digits: int = 3) -> Html:
    """A number rounded for reading, whose title has it to the last digit."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return tag("span", NOTHING, class_="none", title="undefined")
    if isinstance(value, int):
        return tag("data", f"{value:,}", value=value)
    if math.isinf(value):
        return escaped("none")
    exact = repr(float(value))
    return tag("data", _rounded(value, digits), value=exact, title=exact)


def _rounded(value: float, digits: int) -> str:
    if value and abs(value) < 0.5 * 10**-digits:
        return f"{value:.1e}"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:,.1f}"


def with_interval(
    value: float | None, ends: Sequence[float | None] | None, digits: int = 3, exact: bool = False
) -> Html:
    """A number and its interval, where it has one; `exact`: it is no bootstrap's."""
    known = known_ends(ends)
    if value is None or known is None:
        return number(value, digits)
    low, high = known
    told = (number(low, digits), " to ", number(high, digits), ", exact" if exact else None)
    return joined(number(value, digits), " ", tag("span", "(", *told, ")", class_="interval"))


def cell(value: object) -> Html:
    """What stands in a cell of a table."""
    if value is None or isinstance(value, float):
        return number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return number(value)
    return escaped(value)


def table(
    caption: object,
    heads: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    above: Sequence[tuple[object, int]] = (),
    words: Sequence[int] = (),
    foot: Iterable[Sequence[object]] = (),
    class_: str | None = None,
) -> Html:
    """A table that scrolls by itself where it is too wide; the first cell of each row is its head.

    `above` are heads over several columns each, with how many; `words` are the columns of text, which stand left;
    `foot` are rows of sums and means, which stay below however the others are sorted.
    """
    first = [
        tag("th", text, scope="colgroup", colspan=many) if text else tag("td", colspan=many) for text, many in above
    ]
    head = [tag("th", text, scope="col", class_=_side(i, words)) for i, text in enumerate(heads)]
    lines, below = ([_line(row, words) for row in part] for part in (rows, foot))
    whole = tag(
        "table", tag("caption", caption), tag("thead", tag("tr", *first) if first else None, tag("tr", *head)),
        tag("tbody", *lines), tag("tfoot", *below) if below else None, class_=class_,
    )  # fmt: skip
    return scrolled(whole, caption)


def _line(row: Sequence[object], words: Sequence[int]) -> Html:
    others = (tag("td", cell(value), class_=_side(i, words)) for i, value in enumerate(row[1:], 1))
    return tag("tr", tag("th", cell(row[0]), scope="row"), *others)


def _side(column: int, words: Sequence[int]) -> str | None:
    return "word" if column == 0 or column in words else None


def scrolled(inner: Html, label: object) -> Html:
    """What scrolls by itself, also by the keyboard."""
    plain = html.unescape("".join(piece.partition(">")[2] for piece in f">{escaped(label)}".split("<")))
    return tag("div", inner, class_="scroll", role="region", aria_label=plain, tabindex=0)


def facts(rows: Iterable[tuple[object, object]]) -> Html:
    """Names and what they are, as a list of descriptions."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", cell(value))) for name, value in rows), class_="facts")


def paragraph(*children: object) -> Html:
    """A paragraph."""
    return tag("p", *children)


def note(*children: object) -> Html:
    """A remark in smaller print."""
    return tag("p", *children, class_="note")


def more(summary: object, *children: object, on_paper: bool = True) -> Html:
    """What is folded away until a reader opens it; on paper it is there, unless it is too long."""
    return tag("details", tag("summary", summary), *children, class_=None if on_paper else "screen")


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: a, b and c."""
    every = list(names)
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}" if every else "none"


def link(target: str, text: object) -> Html:
    """To a place on this page, or to a DOI."""
    return tag("a", text, href=target)


def flat_numbers(report: Any, name: str = "") -> list[tuple[str, object]]:
    """Every number of a report by its full name, for a table of them all."""
    if isinstance(report, dict):
        pairs = [(f"{name}.{key}" if name else str(key), value) for key, value in report.items()]
        return [row for key, value in pairs for row in flat_numbers(value, key)]
    if isinstance(report, list):
        return [row for place, value in enumerate(report) for row in flat_numbers(value, f"{name}[{place}]")]
    return [(name, report)]
