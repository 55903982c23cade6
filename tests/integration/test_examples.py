"""Every file in examples/ runs as it is, on the drawn dataset; what they print and show is looked at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command import run
from places import REPOSITORY
from short_training import train

from medtrain.datasets.record import Record
from medtrain.datasets.sources import demo
from medtrain.shards.pack import pack
from medtrain.shards.packed_dataset import STATES

EXAMPLES = REPOSITORY / "examples"
TESTED = {"own_loop.py", "own_loop.ipynb", "read_shards_with_webdataset.py", "look_at_a_run.ipynb"}
# The cells of a notebook in one namespace, as a kernel has them; ARGV: notebook, and as JSON the places that its first
# cell names.
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
        places = json.loads(sys.argv[2])
        assert {name for name, value in space.items() if isinstance(value, Path)} == set(places)
        space.update({name: Path(place) for name, place in places.items()})
"""
RUN_SHOWN = """
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


def played(name: str, shows: str, **places: Path) -> Any:
    """Run the cells of a notebook, and then what shows as JSON what they left."""
    book = EXAMPLES / name
    cells = [cell for cell in json.loads(book.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells), "kept without outputs"
    told = json.dumps({place: str(path) for place, path in places.items()})
    done = run([sys.executable, "-c", CELLS + shows, str(book), told])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


LOOP_SHOWN = """
found = {name: space[name] for name in ("losses", "count", "right", "total", "told")}
print(json.dumps({**found, "scores": space["scores"].tolist()}))
"""


def test_the_notebook_trains_with_unknown_labels_and_judges(finished: Path, demo_tree: Path, tmp_path: Path) -> None:
    records = [unsure(record, number) for number, record in enumerate(demo.records(demo_tree))]
    split = pack(records, demo.CLASSES, tmp_path / "shards", workers=1)["splits"]["train"]
    unknown = split["counts"]["ring"]["unknown"]
    shown = played("own_loop.ipynb", LOOP_SHOWN, SHARDS=tmp_path / "shards", RUN=finished, RAW=demo_tree)
    assert shown["count"] == split["samples"] * len(demo.CLASSES) - unknown < split["samples"] * len(demo.CLASSES)
    assert shown["losses"][0] > shown["losses"][-1], shown["losses"]
    assert 0 < shown["right"] <= shown["total"] <= 12 * 6
    for row, scores in zip(shown["told"], shown["scores"], strict=True):
        assert list(row["probabilities"].values()) == pytest.approx(scores, abs=1e-6)


def test_the_notebook_shows_curve_and_predictions(finished: Path) -> None:
    shown = played("look_at_a_run.ipynb", RUN_SHOWN, RUN=finished)
    assert shown["lines"] == [24, 2], "each step, and each epoch"
    assert len(shown["titles"]) == len(shown["verdicts"]) == 6
    for title, verdict in zip(shown["titles"], shown["verdicts"], strict=True):
        assert abs(sum(verdict["probabilities"].values()) - 1) < 1e-6
        assert title.split(" ")[0] == max(verdict["probabilities"], key=verdict["probabilities"].get)
        assert title.split("label: ")[1] in demo.CLASSES
