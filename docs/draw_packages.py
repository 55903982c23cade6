"""Draw the packages of medtrain in their tiers, from the imports: docs/packages.svg.

    python docs/draw_packages.py

A line goes from a package to one that it imports from, where no other way leads there through packages between.
"""

from __future__ import annotations

import ast
import sys
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "helpers"))

from tiers import HEAVY, HEIGHT, INSIDE, LINES, at_import_time, imported, needs, package, tree_of  # noqa: E402

FILE = HERE / "packages.svg"
WIDTH, ROW, BOX_WIDTH, BOX_HEIGHT, TOP, IN_A_ROW = 600, 104, 143, 58, 96, 4
LEGEND = (
    "A package imports from lower tiers, and sideways along",
    "the orange lines. On orange ground: needs torch. Lines",
    "that another way implies are left out.",
)
STYLE = """
text { font-family: system-ui, sans-serif; fill: #1d2733 }
.name { font-size: 19px; font-weight: 600 } .size { font-size: 16px; fill: #44566a }
rect { fill: #eef3f8; stroke: #7f95ab } .heavy { fill: #fdf1e3; stroke: #c79a5b }
path { fill: none; stroke: #8aa0b5; stroke-width: 1.2 } .side { stroke: #c2702d; stroke-width: 1.6 }
"""


def main() -> None:
    """Write the drawing."""
    FILE.write_text(drawing())
    print(FILE)


def drawing() -> str:
    """The SVG."""
    places = boxes()
    height = TOP + ROW * len(rows())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>The packages of medtrain: each imports from lower tiers, or sideways along an orange line</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" style="fill: white; stroke: none"/>',
        *(f'<text class="size" x="20" y="{26 + 22 * i}">{words}</text>' for i, words in enumerate(LEGEND)),
    ]
    parts += [line(name, other, places) for name, others in sorted(reduced().items()) for other in sorted(others)]
    parts += [box(name, *place) for name, place in places.items()]
    return "\n".join([*parts, "</svg>", ""])


def rows() -> list[list[str]]:
    """The tiers from the top; one with many packages takes two rows."""
    return [names[i : i + IN_A_ROW] for names in LINES for i in range(0, len(names), IN_A_ROW)]


def boxes() -> dict[str, tuple[float, float]]:
    """package -> the left upper corner of its box."""
    found = {}
    for row, names in enumerate(rows()):
        gap = (WIDTH - BOX_WIDTH * len(names)) / (len(names) + 1)
        for column, name in enumerate(names):
            found[name] = (round(gap + column * (BOX_WIDTH + gap), 1), float(TOP + row * ROW))
    return found


def reduced() -> dict[str, set[str]]:
    """The imports without those that lead where others lead too: a transitive reduction."""
    direct = needs()

    def reach(name: str) -> set[str]:
        return direct[name] | {far for other in direct[name] for far in reach(other)}

    return {
        name: {other for other in others if not any(other in reach(between) for between in others - {other})}
        for name, others in direct.items()
    }


def line(name: str, other: str, places: dict[str, tuple[float, float]]) -> str:
    """A line between two boxes: down, or around where they stand on one tier."""
    (x, y), (to_x, to_y) = places[name], places[other]
    side = HEIGHT[name] == HEIGHT[other]
    if y == to_y:
        x, to_x, bottom = x + BOX_WIDTH / 2, to_x + BOX_WIDTH / 2, y + BOX_HEIGHT
        return f'<path class="side" d="M{x} {bottom} C{x} {bottom + 30} {to_x} {bottom + 30} {to_x} {bottom}"/>'
    x, to_x = x + BOX_WIDTH / 2, to_x + BOX_WIDTH / 2
    y, to_y = (y + BOX_HEIGHT, to_y) if y < to_y else (y, to_y + BOX_HEIGHT)
    bend, kind = (38 if y < to_y else -38), ' class="side"' if side else ""
    return f'<path{kind} d="M{x} {y} C{x} {y + bend} {to_x} {to_y - bend} {to_x} {to_y}"/>'


def box(name: str, x: float, y: float) -> str:
    """A package: its name, and how much it is."""
    own = [module for module in INSIDE if package(module) == name]
    words = (ast.get_docstring(tree_of(name)) or "").split("\n")[0]
    first = {other.split(".")[0] for module in own for other in imported(at_import_time(tree_of(module)))}
    heavy = ' class="heavy"' if HEAVY & first else ""
    middle = x + BOX_WIDTH / 2
    return (
        f"<g><title>{escape(name)}: {escape(words)}</title>"
        f'<rect{heavy} x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="7"/>'
        f'<text class="name" x="{middle}" y="{y + 25}" text-anchor="middle">{escape(name)}</text>'
        f'<text class="size" x="{middle}" y="{y + 47}" text-anchor="middle">{len(own)} files</text></g>'
    )


if __name__ == "__main__":
    main()
