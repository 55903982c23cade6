"""What predict is given: patterns and tables of paths as people write them, and what they get wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from feeding import require
from own_images import draw, table_of

from medtrain.core.errors import InputError
from medtrain.evaluation import preconditions
from medtrain.evaluation.given_files import PLAIN, Given, TableFlags, collect


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three images at two depths, beside what is no image; the working folder is above."""
    for number, name in enumerate(("b.png", "a/c.jpg", "a/d.jpg")):
        draw(tmp_path / "scans" / name, number)
    (tmp_path / "scans" / "a" / "notes.txt").write_text("no image")
    (tmp_path / "scans" / "a" / "e.ima").write_bytes(bytes(128) + b"DICM")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "scans"


def paths(*named: str, flags: TableFlags = PLAIN) -> list[str]:
    return [str(one.path) for one in collect([Path(name) for name in named], flags)]


def refused(*named: str, flags: TableFlags = PLAIN) -> str:
    with pytest.raises(InputError) as caught:
        collect([Path(name) for name in named], flags)
    return f"{caught.value.problem} | {caught.value.fix}"


def test_patterns_are_those_of_a_shell(scans: Path) -> None:
    jpegs = ["scans/a/c.jpg", "scans/a/d.jpg"]
    for pattern, found in (
        ("scans/**/*.jpg", jpegs),
        ("scans/*/[cd].jpg", jpegs),
        ("scans/**", [*jpegs, "scans/b.png"]),
        ("scans/*", [*jpegs, "scans/b.png"]),  # of a folder what is in it
        ("scans/?.png", ["scans/b.png"]),
        ("scans/a/*.ima", ["scans/a/e.ima"]),  # a suffix that is named is meant
        ("scans/*/notes.txt", ["scans/a/notes.txt"]),  # read, and told to be none
    ):
        assert paths(pattern) == found, pattern
    assert paths(f"{scans}/*.png") == [f"{scans}/b.png"]
    assert paths("scans/b.png", "scans/a/*.jpg", "scans/b.png") == ["scans/b.png", *jpegs, "scans/b.png"]
    draw(scans / "[1].jpg", 9)
    assert paths("scans/[1].jpg") == ["scans/[1].jpg"], "a file of that name is no pattern"
    assert refused("scans/**/*.dcm") == (
        "no image or clip matches 'scans/**/*.dcm' | see what is there: ls scans   (in quotes, ** is any number of"
        " folders)"
    )
    assert preconditions.files([Path("scans/a/*.jpg")]) == tuple(map(Path, jpegs)), "so explain has them too"


@pytest.mark.parametrize(("mark", "encoding"), [(",", "utf-8"), (";", "utf-16"), ("\t", "utf-8-sig")])
def test_a_table_names_the_files_in_its_order(scans: Path, mark: str, encoding: str) -> None:
    rows = [("who", "file", "n"), ("P1", "scans/b.png", "1"), ("P2", "scans\\a\\d", "2"), ("P3", "scans/gone.png", "3")]
    table_of(scans.parent / "table.csv", *(mark.join(row) for row in rows), encoding=encoding)
    assert collect([Path("table.csv")], TableFlags("file", keep=("n", "who"))) == [
        Given(Path("scans/b.png"), ("1", "P1")),
        Given(Path("scans/a/d.jpg"), ("2", "P2")),
        Given(Path("scans/gone.png"), ("3", "P3")),
    ]
    found = collect([Path("scans/b.png"), Path("table.csv")], TableFlags(keep=("n",)))
    assert [one.kept for one in found] == [("",), ("1",), ("2",), ("3",)], "a file that is named has no cells"


def test_paths_start_at_the_table_or_at_a_root(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table_of(scans / "table.tsv", "path\tside", "c.jpg\tleft", "\tright")
    found = collect([scans / "table.tsv"], TableFlags(root=scans / "a"))
    assert found[0] == Given(scans / "a" / "c.jpg")
    assert found[1].problem == f"{scans / 'table.tsv'}, line 3, column path: the cell is empty"
    assert capsys.readouterr().err == (
        f"note: {scans / 'table.tsv'}: the paths are read from column 'path' (another one: --image COLUMN)\n"
    )
    assert refused("scans/table.tsv") == (
        "scans/table.tsv: none of the 2 files in column 'path' is there (the first: scans/c.jpg) | give the folder"
        " from which the paths start: medtrain predict RUN scans/table.tsv --image path --root DIR"
    )


def test_a_table_in_parquet(scans: Path) -> None:
    require("pyarrow", extra="parquet")
    from pyarrow import parquet, table

    parquet.write_table(table({"file": ["scans/b.png"], "age": [7]}), "t.parquet")
    expected = [Given(Path("scans/b.png"), ("7",))]
    assert collect([Path("t.parquet")], TableFlags(keep=("age",))) == expected
    assert collect([Path("t.parquet")], TableFlags("file", keep=("age",))) == expected


def test_slips_with_tables(scans: Path) -> None:
    table_of(scans.parent / "t.csv", "one,two", "x,y")
    draw(scans / "twins" / "f.jpg", 1)
    draw(scans / "twins" / "f.png", 2)
    table_of(scans.parent / "twins.csv", "file", "scans/twins/f", "scans/b.png")
    for named, flags, told in (
        ("tt.csv", PLAIN, "tt.csv is not there (did you mean t.csv?) | give a table of paths"),
        (
            "t.csv",
            PLAIN,
            "t.csv: which column has the paths of the images? It has the columns one, two | name it: medtr",
        ),
        ("t.csv", TableFlags("tow"), "t.csv has no column 'tow' (--image) (did you mean two?); it has the columns one"),
        ("t.csv", TableFlags("one", keep=("three",)), "t.csv has no column 'three' (--keep)"),
        ("scans", TableFlags("one"), "--image is for a table of paths, and no table is given"),
        ("t.xlsx", PLAIN, "t.xlsx is a spreadsheet | save it as CSV"),
    ):
        assert refused(named, flags=flags).startswith(told), named
    (scans.parent / "empty.csv").write_text("file\n")
    assert refused("empty.csv", flags=TableFlags("file")).startswith("empty.csv has no row below its first line")
    found = collect([Path("twins.csv")], TableFlags("file"))
    assert found[0].problem == "twins.csv, line 2, column file: scans/twins/f fits 2 files (f.jpg, f.png)"
