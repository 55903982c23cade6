"""Tables as Excel, pandas and people write them: read, or named for what they are, with the line and what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from medtrain.cli.commands import metadata as cli_commands_metadata
from medtrain.cli.commands.check import check
from medtrain.core.errors import InputError
from medtrain.datasets import csvfile
from medtrain.datasets.labels import PATHOLOGIES
from medtrain.datasets.record import Record, years
from medtrain.datasets.sources import metadata as source
from medtrain.datasets.sources import nih
from medtrain.shards.pack_checks import check_records
from medtrain.shards.pack_request import Request
from medtrain.shards.plan import PackOptions

HEAD = "Image Index,Processed Image Path,Harmonized Labels,Dataset,Patient,View,Split,Study,Sex,Age"
ZEROS = " ".join(["0"] * 14)
NIH = ("Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position",
       "00000001_000.png,Mass,{},58,M,PA", "00000002_000.png,No Finding,2,60,F,AP")  # fmt: skip


def table(folder: Path, *lines: str, head: str = HEAD, encoding: str = "utf-8") -> Path:
    path = folder / "own.csv"
    path.write_text("\n".join((head, *lines, "")), encoding=encoding)
    return path


def row(**cells: str) -> str:
    about = {"image": "x", "path": "a.png", "labels": ZEROS, "dataset": "nih", "patient": "", "view": "", "split": "",
             "study": "", "sex": "", "age": "", **cells}  # fmt: skip
    return ",".join(about.values())


# ---- cells of optional columns that say nothing ----------


@pytest.mark.parametrize("empty", ["nan", "NaN", "None", "NA", "<NA>", "null", "N/A", " "])
def test_what_pandas_writes_for_nothing_is_nothing(tmp_path: Path, empty: str) -> None:
    names = ("patient", "view", "split", "study", "sex", "age")
    lines = [row(path=f"{n}.png", **dict.fromkeys(names, empty)) for n in (1, 2)]
    for record in source.records(table(tmp_path, *lines)):
        assert (record.patient, record.study, record.split) == ("", "", ""), "else all are one patient"
        assert record.meta == {"view": "", "sex": "", "age": None}


@pytest.mark.parametrize("empty", ["", "nan", "<NA>"])
@pytest.mark.parametrize(("cell", "words"), [("dataset", "names no dataset"), ("path", "names no image path")])
def test_a_needed_cell_that_says_nothing_is_refused_with_its_line(
    tmp_path: Path, empty: str, cell: str, words: str
) -> None:
    with pytest.raises(InputError, match=f"line 3: it {words}"):
        source.records(table(tmp_path, row(), row(**{cell: empty})))


@pytest.mark.parametrize(
    "vector", ["1 0 nan 0.7", '"[1, 0, nan, 0.7]"', '"(1.0, 0.0, None, 0.7)"', "[1. 0. nan 0.7]", "1.0 0.0 <NA> 0.7"]
)
def test_a_label_cell_as_lists_and_arrays_are_written(tmp_path: Path, vector: str) -> None:
    cell = vector.replace("0.7", "0.7" + (", 0" if "," in vector else " 0") * 10)
    (record,) = source.records(table(tmp_path, row(labels=cell)))
    plain = (record2,) = source.records(table(tmp_path, row(labels="1 0 nan 0.7" + " 0" * 10)))
    assert [record.labels[name] for name in PATHOLOGIES[:3]] == [1, 0, None] and len(plain) == 1
    assert record.labels == record2.labels


@pytest.mark.parametrize(("cell", "known"), [("12.0", "12"), ("12", "12"), ("1.5", "1.5"), ("A.0", "A.0"), ("nan", "")])
def test_an_id_with_a_point_is_the_id(tmp_path: Path, cell: str, known: str) -> None:
    assert source.records(table(tmp_path, row(patient=cell)))[0].patient == csvfile.id_in(cell) == known


def test_an_official_table_whose_ids_became_numbers_with_a_point(tmp_path: Path) -> None:
    (tmp_path / nih.TABLES[0]).write_text("\n".join(NIH).format("1.0"))
    assert [record.patient for record in nih.records(tmp_path)] == ["1", "2"]


def test_an_age_of_thousands_of_digits_is_none() -> None:
    assert years("9" * 5000) is None  # int() refuses more than 4,300 digits with a ValueError


# ---- how a table is written ----------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_tables_of_excel_are_read(tmp_path: Path, encoding: str, mark: str) -> None:
    head, line = HEAD.replace(",", mark), row(patient="7", view="PA").replace(",", mark)
    (record,) = source.records(table(tmp_path, line, head=head, encoding=encoding))
    assert (record.patient, record.meta["view"]) == ("7", "PA")


def test_blanks_in_the_first_line_do_not_count(tmp_path: Path) -> None:
    head = HEAD.replace(",", " , ").replace("Harmonized Labels", "Harmonized\u00a0 Labels")
    assert source.records(table(tmp_path, row(patient="7"), head=head))[0].patient == "7"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (HEAD.encode() + "\nä".encode("latin-1"), "not in UTF-8.*0xe4.*Windows-1252"),
        (HEAD.encode("utf-16-le"), "no text in UTF-8"),
        (b"PK\x03\x04\0\0" + bytes(80), "a table of Excel"),
        (b"a,b\n1,2\n", "has no column Image Index"),
        ((HEAD + ",Dataset\n").encode(), "has the column Dataset twice"),
        ((HEAD + "\nx,y\n").encode(), "line 2: the line is cut off"),
    ],
)
def test_ones_own_table_is_named_for_what_it_is_and_never_fetched_again(
    tmp_path: Path, data: bytes, words: str
) -> None:
    (tmp_path / "own.csv").write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        source.records(tmp_path / "own.csv")
    assert "fetch" not in caught.value.fix and "CSV" in caught.value.fix


# ---- rows that name an image again ----------


def test_images_in_several_rows_are_counted_with_what_differs(tmp_path: Path) -> None:
    one = Record("nih", "a.png", tmp_path / "a.png", {"Mass": 1}, "1", split="train")
    two = replace(one, image="b.png")
    other = replace(two, labels={"Mass": 0}, split="test")
    with pytest.raises(InputError, match=r"a.png is there 3 times \(an image is named .*; they say the same"):
        check_records([one, one, one], PackOptions())
    with pytest.raises(InputError, match=r"2 images are .* of 1 the labels differ, of 1 the splits differ"):
        check_records([one, one, two, other], PackOptions())
    check_records([one, replace(one, patient="2")], PackOptions())  # another patient's image of the same name


# ---- NIH without its lists, and images that are not there ----------


def test_nih_without_its_lists_does_not_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / nih.TABLES[0]).write_text("\n".join(NIH).format("1"))
    cli_commands_metadata.data_metadata(("nih",), tmp_path, tmp_path / "all.csv")
    Request("nih", tmp_path, PackOptions(), 100, True).open()
    check("nih", tmp_path, metadata_only=True)
    assert capsys.readouterr().err.count("will not compare with published ones") == 3
    (tmp_path / "train_val_list.txt").write_text("00000001_000.png")
    (tmp_path / "test_list.txt").write_text("00000002_000.png")
    Request("nih", tmp_path, PackOptions(), 100, True).open()
    assert "compare" not in capsys.readouterr().err


def test_counts_are_of_images_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / nih.TABLES[0]).write_text("\n".join(NIH).format("1"))
    (tmp_path / "00000002_000.png").write_bytes(b"any")
    check("nih", tmp_path, json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["records"], found["patients"]) == (2, 1)
    assert found["labels"]["Mass"] == {"positive": 0, "negative": 1, "unknown": 0}, "the one with a mass is not there"
    cli_commands_metadata.data_metadata(("nih",), tmp_path, tmp_path / "all.csv")
    told = capsys.readouterr()
    assert "all.csv: 1 image" in told.out and "1 more row is of images that are not there" in told.err
