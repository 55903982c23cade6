"""medtrain data explore: figures count what they say, and nothing is written over."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from svg_words import words_of

from medtrain.cli.commands import data as cli_commands_data
from medtrain.cli.contents_table import contents_table
from medtrain.core.errors import InputError
from medtrain.datasets.own_data import OwnData
from medtrain.datasets.record import Record
from medtrain.datasets.sources import chest_demo, demo, mura_demo
from medtrain.reporting.dataset_figures import study_of
from medtrain.reporting.figure_files import new_files


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], Path]:
    """Generated X-rays of which a label is present in some images, and their figures as SVG."""
    folder = tmp_path_factory.mktemp("chest")
    chest_demo.download(folder / "raw", samples=60)
    cli_commands_data.data_explore("chest_demo", folder / "raw", out=folder / "out", figures=("svg",))
    return chest_demo.records(folder / "raw"), folder / "out"


def test_class_counts_are_of_images_in_which_a_label_is_present(chest: tuple[list[Record], Path]) -> None:
    records, out = chest
    words = words_of(out / "chest_demo-class_counts.svg")
    splits = Counter(record.split for record in records)
    assert "Images in which each label is present" in words
    assert {f"{split} ({count:,} images)" for split, count in splits.items()} <= {*words}
    shown = [
        str(sum(record.labels[name] == 1 for record in records if record.split == split))
        for split in splits
        for name in chest_demo.CLASSES
    ]
    first = words.index(f"{list(splits)[-1]} ({splits[list(splits)[-1]]:,} images)")
    assert first > 0 and Counter(shown) <= Counter(words), "each bar says its count"


def test_states_are_three_and_add_up_to_the_images(chest: tuple[list[Record], Path]) -> None:
    records, out = chest
    words = words_of(out / "chest_demo-label_states.svg")
    assert f"{len(records)} images by the state of each label" in words
    assert {"absent", "present", "unknown"} <= {*words}
    positives = [sum(record.labels[name] == 1 for record in records) for name in chest_demo.CLASSES]
    bars = Counter(str(count) for count in positives) + Counter(str(len(records) - count) for count in positives)
    assert bars <= Counter(words)


def test_images_of_no_named_study_are_studies(chest: tuple[list[Record], Path]) -> None:
    records, out = chest
    words = words_of(out / "chest_demo-patients_and_studies.svg")
    patients = len({record.patient for record in records})
    assert len({study_of(record) for record in records}) == len(records) > patients
    assert words.count(str(len(records))) >= len(chest_demo.CLASSES) <= words.count(str(patients))
    sizes = words_of(out / "chest_demo-group_sizes.svg")
    assert {"Images in a study", "studies", "Studies of a patient", "patients"} <= {*sizes}
    assert not [word for word in sizes if "." in word], "no ticks between whole numbers"


def test_labels_without_an_image_have_no_empty_row_but_are_named(chest: tuple[list[Record], Path]) -> None:
    records, out = chest
    words = " ".join(words_of(out / "chest_demo-sample_grid.svg"))
    absent = [name for name in chest_demo.CLASSES if not any(record.labels[name] == 1 for record in records)]
    assert f"No image of: {', '.join(absent)}" in words and len(absent) >= 8


def test_bones_are_counted_as_abnormal_images(tmp_path: Path) -> None:
    mura_demo.download(tmp_path / "raw", samples=50)
    cli_commands_data.data_explore("mura_demo", tmp_path / "raw", out=tmp_path / "out", figures=("svg",))
    words = words_of(tmp_path / "out" / "mura_demo-class_counts.svg")
    assert "Abnormal images of each study type" in words
    assert "unknown" not in words_of(tmp_path / "out" / "mura_demo-label_states.svg")


def test_images_with_scores_are_shown_by_their_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("file", "weight")]
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((24, 24), 20 * number, np.uint8))
        rows.append((f"{number}.png", f"{number / 2:.2f}"))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    own = OwnData(table=tmp_path / "table.csv", image="file", labels=("weight",))
    cli_commands_data.data_explore("csv", None, out=tmp_path / "out", own=own, figures=("svg",), json=True)
    told = json.loads(capsys.readouterr().out)["figures"]
    assert list(told) == ["scores", "image_sizes", "sample_grid"]
    assert {"Scores", "score", "images"} <= {*words_of(Path(told["scores"]))}
    assert {"0 to 1.5", "4 to 5.5"} <= {*words_of(Path(told["sample_grid"]))}


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, samples in (("one", 12), ("two", 18)):
        demo.download(tmp_path / name, samples=samples)
    out = tmp_path / "out"
    cli_commands_data.data_explore("demo", tmp_path / "one", out=out)
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}
    capsys.readouterr()
    cli_commands_data.data_explore("demo", tmp_path / "two", out=out, figures=("png", "pdf"))
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in before} == before
    names = ("class_counts", "image_sizes", "sample_grid")
    told = [f"{out / f'demo-{name}-2.png'}   {out / f'demo-{name}-2.pdf'}" for name in names]
    assert capsys.readouterr().out.splitlines() == told, "where they are is said"
    assert {*out.iterdir()} == {*before, *(Path(path) for line in told for path in line.split())}
    assert (out / "demo-class_counts-2.pdf").read_bytes().startswith(b"%PDF-")


def test_names_are_taken_at_once_and_given_back_where_nothing_was_drawn(tmp_path: Path) -> None:
    with new_files(tmp_path, ["a.png", "b.gif"]) as first:
        with new_files(tmp_path, ["a.png"]) as second:
            assert (first[0].name, second[0].name) == ("a.png", "a-2.png")
        first[1].write_bytes(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["b.gif"]
    with new_files(tmp_path, ["a.png", "b.gif"]) as both:
        assert [path.name for path in both] == ["a-2.png", "b-2.gif"], "they stay together"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="takes no figures"), new_files(tmp_path / "file", ["a.png"]):
        pass


def manifest(task: str, unknown: int) -> dict[str, object]:
    counts = {"positive": 3, "negative": 7 - unknown, "unknown": unknown}
    splits = {"train": {"samples": 10, "shards": [{"bytes": 10}], "counts": {"a": counts, "b": counts}}}
    return {"task": task, "classes": ["a", "b"], "splits": splits}


def test_what_was_packed_is_counted_under_its_name() -> None:
    assert contents_table(manifest("multilabel", 2)).endswith(
        "\nunder each label: images in which it is present; unknown: a in 2, b in 2"
    )
    assert contents_table(manifest("multilabel", 0)).endswith("\nunder each label: images in which it is present")
    assert contents_table(manifest("abnormality", 2)).endswith("\nunder each study type: its abnormal images")
    assert "a" not in contents_table(manifest("score", 10)).splitlines()[0].split(), "scores are not counted"
    assert len(contents_table(manifest("multiclass", 0)).splitlines()) == 3
