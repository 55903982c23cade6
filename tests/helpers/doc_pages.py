"""The pages of documentation as tests see them: their links, their anchors, their code blocks.

A `console` block is a terminal: lines that begin with `$ ` are commands (one that ends with a backslash has its rest
on the next line), and what follows a command is what it prints; `...` stands for any text, on a line of its own for
any lines. A command without output below it may print anything, and what it exports holds for the rest of the page.
`python` blocks are scripts and `yaml` blocks settings files. A block whose first line is `# file: PATH` becomes that
file instead of being run. `text` is no code. An index may have a `{toctree}`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forked_shell import programs
from interpreter import CHECKOUTS
from limits import HANG_S
from places import REPOSITORY

from medtrain.config import configfile
from medtrain.config.schema import Config

FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = ("console", "python", "yaml", "text", "{toctree}")
FILE = re.compile(r"\A# file: (\S+)\n")
CONTINUES = re.compile(r"^<!-- continues: (\S+) -->$", re.MULTILINE)
LINK = re.compile(r"\[[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*\]\(<?([^()\s>]+(?:\([^()]*\))?[^()\s>]*)>?\)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
README = REPOSITORY / "README.md"
BESIDE = (
    "CONTRIBUTING",
    "SECURITY",
    "CHANGELOG",
    "slurm/README",
    "shards/README",
    "examples/README",
    "benchmarks/RESULTS",
)
LINKED = [README, *(REPOSITORY / f"{name}.md" for name in BESIDE), *PAGES]
MARK = "\x1e"  # ASCII's record separator: before what each command prints
TERMINAL = ".terminal"  # beside the page's folder: what its blocks have exported


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    kind: str
    text: str
    line: int


def name_of(page: Path) -> str:
    """`guides/chest.md`."""
    inside = next((place for place in (DOCS, REPOSITORY) if page.is_relative_to(place)), page.parent)
    return str(page.relative_to(inside))


def blocks(page: Path) -> list[Block]:
    """Its fenced blocks in order."""
    text = page.read_text()
    return [Block(found[1], found[2], text.count("\n", 0, found.start()) + 1) for found in FENCE.finditer(text)]


def has_code(page: Path) -> bool:
    """Whether any block of it is run."""
    return any(block.kind in ("console", "python", "yaml") for block in blocks(page))


def links(page: Path) -> list[str]:
    """Where its links and images lead."""
    return LINK.findall(re.sub(FENCE, "", page.read_text()))


def anchors(page: Path) -> set[str]:
    """The names of its headings, as GitHub and MyST make them."""
    found: set[str] = set()
    for heading in HEADING.findall(re.sub(FENCE, "", page.read_text())):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number, own = 0, slug
        while own in found:
            number += 1
            own = f"{slug}-{number}"
        found.add(own)
    return found


def continued(page: Path) -> str:
    """The page in whose folder this one begins; empty where it begins in an empty one."""
    found = CONTINUES.search(page.read_text())
    return found[1] if found else ""


def play(page: Path, folder: Path) -> None:
    """Run every block of a page in order in a folder."""
    for block in blocks(page):
        where = f"{name_of(page)}, line {block.line}"
        assert block.kind in KINDS, f"{where}: a block is one of {', '.join(KINDS)}, and this is {block.kind!r}"
        file = FILE.match(block.text)
        if file:
            path = folder / file[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text[file.end() :])
        if block.kind == "yaml":
            read_settings(block.text, file[1] if file else "", folder, where)
        elif block.kind == "console":
            run_console(block.text, folder, where)
        elif block.kind == "python" and not file:
            done = run(["python", "-c", block.text], folder)
            assert done.returncode == 0, f"{where}: {done.stdout}"


def read_settings(text: str, name: str, folder: Path, where: str) -> None:
    """As medtrain reads it: a settings file, or the file of a cluster."""
    path = folder / "block.yaml"
    path.write_text(text)
    try:
        if "cluster" in name:
            configfile.with_cluster(Config(), str(path))
        else:
            configfile.overlay(Config(), [str(path)])
    except Exception as error:
        raise AssertionError(f"{where}: {error}") from None
    finally:
        path.unlink()


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a terminal, each with the lines below it."""
    command: list[str] = []
    printed: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield "\n".join(command), printed
            command, printed = [line[2:]], []
        elif command and not printed and command[-1].endswith("\\"):
            command.append(line)
        else:
            assert command, f"{line!r} stands before the first command"
            printed.append(line)
    if command:
        yield "\n".join(command), printed


def run_console(text: str, folder: Path, where: str) -> None:
    """Run the commands of a block in one bash, which ends at the first that fails."""
    asked = list(commands(text))
    script = "".join(f"printf '\\x1e'\n{command}\n" for command, _ in asked)
    done = run(["bash", "-c", f"exec 2>&1\nset -e\n{script}export -p >{shlex.quote(terminal(folder))}\n"], folder)
    printed = done.stdout.split(MARK)[1:]
    last = printed[-1] if printed else done.stdout
    assert done.returncode == 0, f"{where}: `{asked[len(printed) - 1][0]}` ended with {done.returncode}:\n{last}"
    for (command, expected), got in zip(asked, printed, strict=True):
        if expected and not matches(expected, got.splitlines()):
            shown = "\n".join(expected)
            raise AssertionError(f"{where}: `{command}` printed\n{got}\nand the page has\n{shown}")


def terminal(folder: Path) -> str:
    """Where what a page has exported is kept."""
    return str(folder.with_suffix(TERMINAL))


def matches(expected: list[str], got: list[str]) -> bool:
    """Whether lines are as a page has them."""
    pattern = ""
    for line in expected:
        any_text = ".*".join(re.escape(part) for part in line.rstrip().split("..."))
        pattern += r"(?:.*\n)*" if line.strip() == "..." else any_text + "\n"
    return re.fullmatch(pattern, "".join(f"{line.rstrip()}\n" for line in got)) is not None


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A program as a reader starts it who has no GPU: this Python first, this medtrain, no Slurm job around it."""
    outer = {name: value for name, value in os.environ.items() if not re.match("SLURM|SBATCH|SRUN|PYTEST", name)}
    path = os.pathsep.join([programs().path, str(Path(sys.executable).parent), outer.get("PATH", os.defpath)])
    own = {"PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", CHECKOUTS: "1"}
    own |= {"COLUMNS": "80", "LC_COLLATE": "C"}
    before = f"[ ! -e {shlex.quote(terminal(folder))} ] || . {shlex.quote(terminal(folder))}"
    words = ["bash", "-c", f'{before}; exec "$@"', "terminal", *command]
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        env={**outer, **own}, timeout=HANG_S, check=False,
    )  # fmt: skip
