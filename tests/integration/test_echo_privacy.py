"""Who is seen in an echocardiogram is found nowhere in what medtrain writes, wherever in the clips it was told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from command import BRIEF, medtrain
from feeding import feed, require
from planted_clips import DAMAGED, SPLITS, Plant, laid_out, score

from medtrain.config import configfile
from medtrain.core.jsonfiles import read_json_lines
from medtrain.runs.run import Run
from medtrain.shards.index import open_index

TINY = [
    *BRIEF, "--weights", "", "--frames", "4", "--image_size", "32", "--clips", "1", "--epochs", "1", "--unfreeze", "1",
    "--batch_size", "4", "--eval_batch_size", "4", "--tracker", "wandb", "--mode", "offline",
]  # fmt: skip
LOWER = bytes(byte if chr(byte).isdigit() else byte | 32 if chr(byte).isalpha() else 32 for byte in range(128))
LOWER += b" " * 128
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")  # which is what is planted


@dataclass(frozen=True)
class Written:
    """What was planted, what medtrain wrote and said of it, and the kinds of clips that it packed."""

    raw: Path
    words: frozenset[bytes]
    packed: Path
    said: dict[str, CompletedProcess[str]]
    kinds: list[str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Checked, shown and packed."""
    plant, base = Plant(), tmp_path_factory.mktemp("echo")
    raw = base / plant.word()
    kinds = laid_out(raw, plant)
    of_it = ["echo", "--root", raw, "--annotations", raw / "table.csv"]
    packed = base / "shards"
    said = {
        "check --json": medtrain("check", *of_it, "--json"),
        "explore": medtrain("data", "explore", *of_it, "--out", base / "figures"),
        "shard": medtrain("shard", *of_it, "--out", packed, "--size", "32"),
    }
    return Written(raw, frozenset(word.lower().encode() for word in plant.words), packed, said, kinds)


@pytest.fixture(scope="module")
def trained(written: Written) -> tuple[Run, str]:
    """A run of one epoch, evaluated, with W&B offline, and what was said meanwhile."""
    runs = written.packed.parent / "runs"
    done = medtrain("train", "echo", "--shards", written.packed, "--runs", runs, "--run", "heart", *TINY)
    return Run(runs / "heart"), done.stdout + done.stderr


def found_in(data: bytes, words: frozenset[bytes]) -> set[bytes]:
    """Those that stand in the bytes, in small or capital letters, as UTF-8, Latin-1 or UTF-16."""
    text = data.translate(LOWER, b"\0")
    runs = np.frombuffer(text, np.uint8) > 32
    for step in (1, 2, 4):  # where 8 letters or digits and more begin: a regular expression takes minutes for weights
        runs = runs[:-step] & runs[step:]
    starts = np.flatnonzero(runs).tolist()
    some = {text[at : at + size] for at in starts for size in (10, 15)}
    # A date is no part of a longer number, as which any eight digits stand somewhere.
    some |= {
        text[at : at + 8] for at in starts if not text[at - 1 : at].isdigit() and not text[at + 8 : at + 9].isdigit()
    }
    return some & words


def found_below(folder: Path, words: frozenset[bytes]) -> dict[str, set[bytes]]:
    """By the file or folder, in its content or name, those that stand there."""
    every = [path for path in folder.rglob("*") if not path.is_symlink()]
    assert every
    texts = {str(path): found_in(path.name.encode(), words) for path in every}
    for path in every:
        if path.is_file():
            texts[str(path)] |= found_in(path.read_bytes(), words)
    return {name: some for name, some in texts.items() if some}


def test_what_is_looked_for_is_in_the_raw_files(written: Written) -> None:
    """Else nothing would be proved; what is burned in and what is deflated is not seen so."""
    found = set[bytes]().union(*found_below(written.raw, written.words).values())
    assert len(written.words) > 1000 and len(found) > 0.9 * len(written.words)
    assert {len(word) for word in found} == {8, 10, 15}, "a date, names, numbers"
    word = min(word for word in written.words if len(word) == 10).decode()
    for text in (word.upper(), f"x{word}^", word.title()):
        for encoding in ("utf-8", "utf-16", "utf-16-be", "latin-1"):
            assert found_in(b"\1" + text.encode(encoding), written.words) == {word.encode()}


def test_nothing_of_it_is_packed(written: Written) -> None:
    assert not found_below(written.packed, written.words)
    rejects = list(read_json_lines(written.packed / "rejects.jsonl"))
    first = len(written.kinds) + 2
    assert {row["image"] for row in rejects} == {f"line {first + number}" for number in range(DAMAGED)}
    assert len(rejects) == DAMAGED and len({row["reason"] for row in rejects}) == DAMAGED
    assert sum(len(open_index(written.packed, split)) for split in SPLITS) == len(written.kinds)


def test_nothing_of_it_is_said_or_shown(written: Written) -> None:
    """But the folder that the user named: it is in the next command that is told."""
    root = written.raw.name.encode()
    for name, done in written.said.items():
        for text in (done.stdout, done.stderr):
            assert not found_in(text.replace(str(written.raw), "").encode(), written.words), name
    assert not found_below(written.packed.parent / "figures", written.words)
    assert root.lower() in written.words, "which makes the folders above prove that they do not hold it"


def clips_by_score(packed: Path) -> dict[float, bytes]:
    """The bytes of each packed clip."""
    found = {}
    for split in SPLITS:
        index = open_index(packed, split)
        for row in index.samples:
            with index.shard_path(int(row["shard"])).open("rb") as file:
                file.seek(int(row["offset"]))
                found[round(float(row["score"]), 3)] = file.read(int(row["size"]))
    return found


def test_what_is_burned_in_is_not_packed(written: Written, tmp_path: Path) -> None:
    """Clips with names above the sector have the pixels of those without. (Of MP4 the codec's rate control gives a
    frame with letters other pixels everywhere, see test_sector.)"""
    kinds = laid_out(tmp_path / "clean", None)
    medtrain("shard", "echo", "--root", tmp_path / "clean", "--out", tmp_path / "shards", "--size", "32")
    clips, twins = clips_by_score(written.packed), clips_by_score(tmp_path / "shards")
    assert kinds == written.kinds and len(clips) == len(kinds) and clips.keys() == twins.keys()
    for number, kind in enumerate(kinds):
        own = round(score(number), 3)
        assert kind == "MP4" or clips[own] == twins[own], kind


def test_nothing_of_it_is_in_a_run(written: Written, trained: tuple[Run, str]) -> None:
    run, said = trained
    assert run.report.exists() and (run.evaluation / "test.csv").exists() and run.journal.exists()
    assert list(run.trackers.rglob("*.wandb")) and list(run.folder.rglob("*.safetensors"))
    assert not found_below(run.folder.parent, written.words)
    assert not found_in(said.encode(), written.words)


@pytest.mark.parametrize("tracker", ["mlflow", "tensorboard"])
def test_nothing_of_it_is_in_another_tracker(written: Written, trained: tuple[Run, str], tracker: str) -> None:
    """As a user does who wants the curves of a run elsewhere too."""
    require(*(["mlflow", "sqlalchemy", "alembic"] if tracker == "mlflow" else [tracker]), extra=tracker)
    run, _ = trained
    config = configfile.load(run.config_file)
    own = replace(config.tracking, tracker=tracker)
    configfile.save(replace(config, tracking=own), run.config_file)
    assert feed(run).returncode == 0
    assert list(run.trackers.glob("mlflow.db" if tracker == "mlflow" else "tensorboard/*/events*"))
    assert not found_below(run.trackers, written.words)
