"""Predictions as CSV: its columns for each kind of run, its bytes, and how little is held of many rows."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medtrain.cli import predictions
from medtrain.core.errors import InputError
from medtrain.evaluation import prediction_table
from medtrain.evaluation.given_files import PLAIN, TableFlags

BAD = {"image": "x.png", "error": "no image"}
SEVERAL = {
    "image": "a.png", "present": ["Mass"], "most likely": "Mass", "calibrated probability": 0.75,
    "calibrated": {"Mass": 0.75, "Hernia": None}, "probabilities": {"Mass": 0.5, "Hernia": None},
}  # fmt: skip
CLASS = {"image": "a.png", "class": "ring", "probability": 0.75, "probabilities": {"disc": 0.25, "ring": 0.75}}
ABNORMAL = {"image": "a.png", "abnormal": True, "confidence": 0.9, "probabilities": {"abnormal": 0.9}}


def shown(*rows: dict[str, Any]) -> list[list[str]]:
    stream = io.StringIO()
    prediction_table.show(((row, ()) for row in rows), (), stream)
    return list(csv.reader(io.StringIO(stream.getvalue())))


def test_the_columns_of_each_kind_of_run() -> None:
    for row, names, cells in (
        (CLASS, ["predicted", "probability_disc", "probability_ring"], ["ring", "0.25", "0.75"]),
        (ABNORMAL, ["predicted_abnormal", "probability_abnormal"], ["1", "0.9"]),
        ({"image": "a.png", "score": 1 / 3}, ["score"], ["0.3333333333333333"]),
        (
            SEVERAL,
            ["predicted_Mass", "predicted_Hernia", "probability_Mass", "probability_Hernia", "calibrated_Mass",
             "calibrated_Hernia"],
            ["1", "", "0.5", "", "0.75", ""],
        ),
    ):  # fmt: skip
        assert shown(BAD, row) == [
            ["file", *names, "error"],
            ["x.png", *[""] * len(names), "no image"],
            ["a.png", *cells, ""],
        ]
    assert shown(BAD) == [["file", "error"], ["x.png", "no image"]]
    study = {**{name: value for name, value in CLASS.items() if name != "image"}, "images": ["a.png", "b.png"]}
    assert shown(study)[1][0] == "a.png;b.png"


def test_a_file_is_private_whole_and_reads_back(tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    odd = {**CLASS, "image": 'a "b", c\n\udcff.png'}
    prediction_table.write([(odd, ("P1", "ü"))], ("who", "note"), out)
    assert out.stat().st_mode & 0o777 == 0o600
    with out.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["who"], row["note"]) == ('a "b", c\n\\udcff.png', "P1", "ü")
    before = out.read_bytes()

    def broken() -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
        yield CLASS, ()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prediction_table.write(broken(), (), out)
    assert out.read_bytes() == before and list(tmp_path.iterdir()) == [out]
    prediction_table.write([(CLASS, ())], (), tmp_path / "p.tsv")
    assert (tmp_path / "p.tsv").read_text().splitlines()[
        0
    ] == "file\tpredicted\tprobability_disc\tprobability_ring\terror"


def test_of_many_rows_few_are_held(tmp_path: Path) -> None:
    many = (({**CLASS, "image": f"folder/{number:06}.png"}, ()) for number in range(20_000))
    tracemalloc.start()
    prediction_table.write(many, (), tmp_path / "p.csv")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = (tmp_path / "p.csv").stat().st_size
    assert size > 600_000 and peak < 300_000, (size, peak)


def test_each_row_is_printed_when_it_is_known() -> None:
    stream, seen = io.StringIO(), []

    def rows() -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
        for _ in range(3):
            yield CLASS, ()
            seen.append(stream.getvalue().count("\n"))

    prediction_table.show(rows(), (), stream)
    assert seen == [2, 3, 4]


def test_flags_that_do_not_go_together(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file\n")
    link = tmp_path / "link.csv"
    link.symlink_to(table)
    for flags, options, told in (
        (PLAIN, {"out": tmp_path / "p.json"}, "p.json: a table is written as CSV"),
        (PLAIN, {"out": tmp_path / "no" / "p.csv"}, "which is no folder"),
        (PLAIN, {"out": tmp_path}, "a table is written as CSV"),
        (PLAIN, {"out": link}, "link.csv is the table that is read"),
        (PLAIN, {"out": tmp_path / "p.csv", "csv": True}, "--out and --csv: predictions are given out once"),
        (PLAIN, {"csv": True, "json": True}, "--csv and --json: predictions are given out once"),
        (TableFlags(keep=("a",)), {}, "--keep: columns are kept in a CSV"),
        (TableFlags(keep=("a",)), {"csv": True, "study": True}, "--keep: a study is one row"),
        (TableFlags(keep=("file",)), {"csv": True}, "--keep file: predictions have a column of that name"),
        (TableFlags(keep=("probability_x",)), {"csv": True}, "--keep probability_x: predictions have"),
    ):
        asked: dict[str, Any] = {"out": None, "csv": False, "study": False, "json": False, **options}
        with pytest.raises(InputError) as caught:
            predictions.check([table], flags, **asked)
        assert told in caught.value.problem, options
