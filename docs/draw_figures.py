"""Draw the figures of the pages: docs/figures/*.svg.

    python docs/draw_figures.py

They are narrow and their letters large, so that they can be read on a screen of 400 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "figures"
WIDTH = 600
STYLE = """
text { font-family: system-ui, sans-serif; fill: #1d2733; font-size: 19px }
.name { font-weight: 600 } .small { font-size: 17px; fill: #44566a } .code { font-family: ui-monospace, monospace }
rect { fill: #eef3f8; stroke: #7f95ab } .warm { fill: #fdf1e3; stroke: #c79a5b } .back { fill: white; stroke: none }
path { fill: none; stroke: #6f869c; stroke-width: 1.8 } .signal { stroke: #c2702d; stroke-dasharray: 6 4 }
.lane { stroke: #c3cfdb; stroke-width: 1.4 } marker path { fill: #6f869c; stroke: none } .hot path { fill: #c2702d }
"""
MARKERS = "".join(
    f'<marker id="{name}" class="{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9"'
    ' orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z"/></marker>'
    for name, kind in (("tip", "cool"), ("hot", "hot"))
)


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        path = FOLDER / f"{name}.svg"
        path.write_text(draw())
        print(path)


def figure(title: str, height: int, parts: list[str]) -> str:
    """An SVG on a white ground."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    ground = f'<rect class="back" width="{WIDTH}" height="{height}"/>'
    shown = [f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", f"<defs>{MARKERS}</defs>", ground]
    return "\n".join([head, *shown, *parts, "</svg>", ""])


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """A line of text."""
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, width: float, name: str, lines: tuple[str, ...] = (), kind: str = "") -> str:
    """A box with a name and lines below it; it is as high as they need."""
    height = box_height(lines)
    middle = x + width / 2
    parts = [f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="7"/>']
    parts.append(text(middle, y + 27, name, "name", "middle"))
    parts += [text(middle, y + 51 + 23 * row, line, "small", "middle") for row, line in enumerate(lines)]
    return "".join(parts)


def box_height(lines: tuple[str, ...]) -> int:
    """Of a box with so many lines below its name."""
    return 40 + 23 * len(lines) + (4 if lines else 0)


def arrow(x: float, y: float, to_x: float, to_y: float, kind: str = "") -> str:
    """A straight arrow; of the kind `signal` dashed."""
    tip = "hot" if kind else "tip"
    return f'<path class="{kind}" d="M{x} {y} L{to_x} {to_y}" marker-end="url(#{tip})"/>'


def pixels() -> str:
    """From an image file to an updated weight."""
    steps = (
        ("image file", ("PNG, JPEG, TIFF, DICOM; packed once",), ""),
        ("shard", ("tar on the shared filesystem", "read at the offset of the index, CRC-32 checked"), ""),
        ("decode", ("loader worker: 8-bit pixels",), "warm"),
        ("augment", ("one warp: flip, rotation, zoom, shift, size", "then light, then coarse dropout"), "warm"),
        ("batch in shared memory", ("uint8 [B, 1, H, W], prefetched",), "warm"),
        ("device", ("copied to the GPU, then float, normalized",), ""),
        ("forward", ("bf16 where the device has it",), ""),
        ("loss", ("known labels only, summed, divided by the", "known labels of the global batch"), ""),
        ("backward, gradient sync", ("all-reduce over ranks, or with exact one", "fixed tree over micro-batches"), ""),
        ("step", ("checked for NaN, clipped, optimizer updates",), ""),
    )
    parts, y = [], 20
    for number, (name, lines, kind) in enumerate(steps):
        parts.append(box(70, y, 460, name, lines, kind))
        end = y + box_height(lines)
        if number < len(steps) - 1:
            parts.append(arrow(300, end, 300, end + 26))
        y = end + 28
    parts.append(text(300, y + 14, "On orange ground: in the loader's processes", "small", "middle"))
    return figure("From an image file to a gradient", y + 34, parts)


def processes() -> str:
    """Who starts whom, and who is signalled."""
    parts = [
        text(24, 30, "Slurm", "name"),
        box(24, 46, 330, "batch script", ("the only thing that sbatch has",)),
        box(24, 164, 330, "supervisor", ("first node; reads the run folder,", "starts again, requeues, gives up")),
        box(24, 305, 330, "srun", ("one step for all ranks; ends the", "others when one fails")),
        box(24, 446, 250, "rank 0", ("writes journal, status,", "checkpoints"), "warm"),
        box(304, 446, 272, "ranks 1, 2, ...", ("one for each GPU; those of", "node 1 write checkpoints too"), "warm"),
        box(24, 590, 170, "loader workers", ("of each rank",)),
        box(214, 590, 160, "uploader", ("to the tracker",)),
        box(404, 590, 172, "watchdog", ("thread, each rank",)),
    ]
    parts += [arrow(189, 113, 189, 162), arrow(189, 254, 189, 303), arrow(140, 395, 140, 444)]
    parts += [
        arrow(260, 395, 400, 444),
        arrow(100, 536, 100, 588),
        arrow(220, 536, 280, 588),
        arrow(490, 536, 490, 588),
    ]
    parts += [
        text(588, 72, "TERM, USR2", "small", "end"),
        text(588, 95, "from Slurm", "small", "end"),
        '<path class="signal" d="M520 104 C520 210 480 205 358 205" marker-end="url(#hot)"/>',
        '<path class="signal" d="M545 104 L545 442" marker-end="url(#hot)"/>',
        text(536, 268, "medtrain stop:", "small", "end"),
        text(536, 291, "a file, read", "small", "end"),
        text(536, 314, "by rank 0", "small", "end"),
        text(300, 695, "A worker ends with its rank, a rank with its supervisor.", "small", "middle"),
        text(300, 719, "Orange dashes: signals. A rank acts on one at a step's end.", "small", "middle"),
    ]
    return figure("The processes of a run and their signals", 738, parts)


def sigterm() -> str:
    """What happens between a preemption and the next step, downwards in time."""
    lanes = {"Slurm": 92, "supervisor": 286, "ranks": 488}
    events = (
        ("ranks", "step 35", ""),
        ("Slurm", "TERM to all", "ranks"),
        ("ranks", "flag is set", ""),
        ("ranks", "step 36 ends;", "all agree to stop"),
        ("ranks", "checkpoint 36 is", "written and synced"),
        ("ranks", "leave with code 75", "supervisor"),
        ("supervisor", "notes the cause,", "requeues the job"),
        ("Slurm", "queues the job,", "starts it again"),
        ("supervisor", "starts the ranks", "ranks"),
        ("ranks", "checkpoint 36", "verified and loaded"),
        ("ranks", "journal is cut,", "loader in its place"),
        ("ranks", "step 37", ""),
    )
    parts = [text(x, 32, name, "name", "middle") for name, x in lanes.items()]
    height = 60 + 70 * len(events)
    parts += [f'<path class="lane" d="M{x} 44 L{x} {height}"/>' for x in lanes.values()]
    for row, (lane, words, more) in enumerate(events):
        x, y, target = lanes[lane], 56 + 70 * row, lanes.get(more)
        lines = (words,) if target else tuple(filter(None, (words, more)))
        tall = 16 + 23 * len(lines)
        kind, half = ("warm", 108) if lane == "ranks" else ("", 88)
        parts.append(f'<rect class="{kind}" x="{x - half}" y="{y}" width="{2 * half}" height="{tall}" rx="6"/>')
        parts += [text(x, y + 25 + 23 * i, line, "small", "middle") for i, line in enumerate(lines)]
        if target:
            side = half if target > x else -half
            parts.append(arrow(x + side, y + tall / 2, target - (2 if target > x else -2), y + tall + 8, "signal"))
    parts.append(text(300, height + 26, "Time runs downwards. No step is lost, none is done twice.", "small", "middle"))
    return figure("From SIGTERM to the resumed step", height + 44, parts)


def strip(x: float, y: float, cells: tuple[tuple[str, float, str], ...], height: float = 42) -> str:
    """Neighbouring bytes of a file."""
    parts = []
    for words, width, kind in cells:
        parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>')
        parts.append(text(x + width / 2, y + height / 2 + 6, words, "small", "middle"))
        x += width
    return "".join(parts)


def bytes_of_files() -> str:
    """What lies where in a shard and in a checkpoint."""
    sample = (
        ("header", 82, ""),
        ("image", 170, "warm"),
        ("pad", 50, ""),
        ("header", 82, ""),
        ("labels", 90, "warm"),
        ("pad", 50, ""),
    )
    parts = [
        text(24, 34, "train-000000.tar", "name"),
        strip(24, 50, sample),
        text(24, 118, "512 bytes", "small"),
        text(230, 118, "offset, size", "small", "middle"),
        text(500, 118, "KEY.json", "small", "middle"),
        text(552, 78, "...", "name"),
        text(24, 146, "One sample; headers and padding of tar (ustar).", "small"),
        text(24, 192, "train.idx", "name"),
        strip(
            24,
            208,
            (
                ("offset", 90, ""),
                ("size", 70, ""),
                ("crc32", 80, ""),
                ("rest_crc32", 110, ""),
                ("group", 80, ""),
                ("labels", 94, ""),
            ),
        ),
        text(552, 236, "...", "name"),
        text(24, 276, "One row a sample. crc32 is of the image, rest_crc32 of", "small"),
        text(24, 299, "all other bytes. manifest.json: SHA-256 of each tar,", "small"),
        text(24, 322, "XXH3 of each index, and its own checksum.", "small"),
        '<path class="lane" d="M24 346 L576 346"/>',
        text(24, 384, "model.safetensors", "name"),
        strip(
            24,
            400,
            (
                ("length", 84, ""),
                ("JSON header", 140, ""),
                ("tensor", 110, "warm"),
                ("tensor", 110, "warm"),
                ("tensor", 84, "warm"),
            ),
        ),
        text(24, 468, "8 bytes", "small"),
        text(178, 468, "name, type, place", "small", "middle"),
        text(24, 514, "optimizer.safetensors, ema.safetensors: the same", "small"),
        text(24, 548, "state.json", "name"),
        text(190, 548, "step, epoch, best, schedule", "small"),
        text(24, 582, "manifest.json", "name"),
        text(190, 582, "XXH3 of each file and each tensor,", "small"),
        text(190, 605, "of the journal so far, and of itself", "small"),
    ]
    return figure("The bytes of a shard and of a checkpoint", 626, parts)


FIGURES: dict[str, Callable[[], str]] = {
    "pixels": pixels,
    "processes": processes,
    "sigterm": sigterm,
    "bytes": bytes_of_files,
}

if __name__ == "__main__":
    main()
