"""Every file in examples/ runs as it is, on the drawn dataset; what they print and show is looked at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command import run
from places import REPOSITORY
from short_training import train

from medtrain.datasets.record import Record
from medtrain.datasets.sources import demo
from medtrain.shards.pack import pack
from medtrain.shards.packed_dataset import STATES

EXAMPLES = REPOSITORY / "examples"
TESTED = {"own_loop.py", "read_shards_with_webdataset.py", "look_at_a_run.ipynb"}
# The cells of a notebook in one namespace, as a kernel has them; ARGV: notebook, folder of the run.
CELLS = """
import json, sys
from pathlib import Path
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
book = json.loads(Path(sys.argv[1]).read_text())
cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
space = {}
for number, source in enumerate(cells):
    exec(compile(source, f"cell {number}", "exec"), space)
    if number == 0:
        assert isinstance(space["RUN"], Path)
        space["RUN"] = Path(sys.argv[2])
figures = [plt.figure(number) for number in plt.get_fignums()]
print(json.dumps({
    "lines": [len(line.get_xdata()) for line in figures[0].axes[0].lines],
    "titles": [place.get_title() for place in figures[1].axes],
    "verdicts": space["verdicts"],
}))
"""


def example(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """One of the scripts, as a user starts it; forked, for most of its time is the import of torch."""
    done = run([sys.executable, str(EXAMPLES / name), *map(str, arguments)])
    assert done.returncode == 0, done.stderr
    return done


def test_each_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file() and path.suffix != ".md"} == TESTED


def test_a_loop_of_one_s_own_learns(demo_shards: Path) -> None:
    lines = example("own_loop.py", demo_shards, "--epochs", 3).stdout.splitlines()
    said = r"epoch \d: loss ([\d.]+), \d+ of 72 labels of the validation split right"
    told = [re.fullmatch(said, line) for line in lines]
    losses = [float(line[1]) for line in told if line]
    assert len(losses) == 3 and losses[0] > losses[-1], lines


def unsure(record: Record, number: int) -> Record:
    """With a label that the source does not tell, in each third record."""
    return replace(record, labels={**record.labels, "ring": None}) if number % 3 == 0 else record


def test_webdataset_alone_reads_the_three_states(demo_tree: Path, tmp_path: Path) -> None:
    records = [unsure(record, number) for number, record in enumerate(demo.records(demo_tree))]
    manifest = pack(records, demo.CLASSES, tmp_path / "shards", workers=1)
    split = manifest["splits"]["train"]
    first, *lines = example("read_shards_with_webdataset.py", tmp_path / "shards", "train").stdout.splitlines()
    assert first == f"{split['samples']} images of train; 1 sizes, most often (64, 64)"
    expected = []
    for name, count in split["counts"].items():
        present, absent, unknown = (count[state] for state in STATES)
        expected.append(f"{name}: {present} present, {absent} absent, {unknown} unknown")
    assert lines == expected and split["counts"]["ring"]["unknown"] > 0
    source = (EXAMPLES / "read_shards_with_webdataset.py").read_text()
    assert not re.search(r"^\s*(from|import) medtrain", source, re.MULTILINE)


@pytest.fixture(scope="module")
def finished(demo_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    train(demo_shards, runs, "first")
    return runs / "first"


def test_the_notebook_shows_curve_and_predictions(finished: Path) -> None:
    book = EXAMPLES / "look_at_a_run.ipynb"
    assert not any(cell.get("outputs") for cell in json.loads(book.read_text())["cells"]), "kept without outputs"
    command = [sys.executable, "-c", CELLS, str(book), str(finished)]
    done = run(command)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert shown["lines"] == [24, 2], "each step, and each epoch"
    assert len(shown["titles"]) == len(shown["verdicts"]) == 6
    for title, verdict in zip(shown["titles"], shown["verdicts"], strict=True):
        assert abs(sum(verdict["probabilities"].values()) - 1) < 1e-6
        assert title.split(" ")[0] == max(verdict["probabilities"], key=verdict["probabilities"].get)
        assert title.split("label: ")[1] in demo.CLASSES
