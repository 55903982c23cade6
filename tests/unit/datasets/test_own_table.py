"""The dataset `csv`: a table of one's own as people write it, and what they get wrong; labels beside a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest
from feeding import require
from own_images import class_tree, draw, table_of

from medtrain import datasets
from medtrain.core.errors import InputError
from medtrain.datasets.labels import UNCERTAIN
from medtrain.datasets.own_data import OwnData
from medtrain.datasets.record import Record
from medtrain.datasets.source import Source

HEAD = "file,dark,hairs,patient"
ROWS = ("a.jpg,1,0,P1", "b.jpg,0,,P1", "c.jpg,0,1,P2", "d.jpg,1.0,NaN,P3")


def opened(path: Path, *, root: Path | None = None, **own: object) -> tuple[Source, list[Record]]:
    given = {"image": "file", "labels": ("dark",), **own}
    return datasets.open_dataset("csv", root, None, OwnData(table=path, **given))  # type: ignore[arg-type]


def refused(path: Path, *, root: Path | None = None, **own: object) -> str:
    with pytest.raises(InputError) as caught:
        opened(path, root=root, **own)
    return f"{caught.value.problem} | {caught.value.fix}"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with four images and room for a table."""
    for number, name in enumerate("abcd"):
        draw(tmp_path / f"{name}.jpg", number)
    return tmp_path


def rows(photos: Path, *lines: str) -> Path:
    return table_of(photos / "t.csv", *lines)


def test_several_labels_are_known_absent_or_unknown(photos: Path) -> None:
    source, found = opened(rows(photos, HEAD, *ROWS), labels=("dark", "hairs"), patient="patient")
    assert (source.classes, source.task, source.clips) == (("dark", "hairs"), "multilabel", False)
    assert [record.labels for record in found] == [
        {"dark": 1, "hairs": 0}, {"dark": 0, "hairs": None}, {"dark": 0, "hairs": 1}, {"dark": 1, "hairs": None}
    ]  # fmt: skip
    assert [record.patient for record in found] == ["P1", "P1", "P2", "P3"]
    assert found[0].path == photos / "a.jpg" and found[0].image == "a.jpg" and found[0].source == "csv"
    assert source.warned(found) == ""


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_encodings_of_spreadsheets(photos: Path, mark: str, encoding: str) -> None:
    lines = (line.replace(",", mark) for line in (HEAD, *ROWS))
    _, found = opened(table_of(photos / "t.tsv", *lines, encoding=encoding), labels=("dark", "hairs"))
    assert [record.labels["dark"] for record in found] == [1, 0, 0, 1]


def test_parquet_says_the_same(photos: Path) -> None:
    require("pyarrow", extra="parquet")
    from pyarrow import parquet, table

    columns = {
        "file": ["a.jpg", "b", "c.jpg"],
        "dark": [True, None, False],
        "hairs": [1.0, 0.0, None],
        "patient": [7, 7, None],
    }
    parquet.write_table(table(columns), photos / "t.parquet")
    _, found = opened(photos / "t.parquet", labels=("dark", "hairs"), patient="patient")
    assert [tuple(record.labels.values()) for record in found] == [(1, 1), (None, 0), (0, None)]
    assert [record.patient for record in found] == ["7", "7", ""]
    assert "no column 'drak' (--labels) (did you mean dark?)" in refused(photos / "t.parquet", labels=("drak",))
    (photos / "bad.parquet").write_bytes(b"PAR1")
    assert "cannot be read" in refused(photos / "bad.parquet")


def test_one_column_of_names_is_classes(photos: Path) -> None:
    source, found = opened(
        rows(photos, "file,dx", "a.jpg, naevus", "b.jpg,melanoma", "c.jpg,naevus", "d.jpg,"), labels=("dx",)
    )
    assert (source.classes, source.task) == (("melanoma", "naevus"), "multiclass")
    assert [record.labels["naevus"] for record in found] == [1, 0, 1, None]


def test_whole_numbers_are_what_is_said(photos: Path) -> None:
    path = rows(photos, "file,grade", "a.jpg,0", "b.jpg,10", "c.jpg,2", "d.jpg,2")
    assert "may be classes or a score | say which: --task multiclass   or --task score" in refused(
        path, labels=("grade",)
    )
    source, found = opened(path, labels=("grade",), task="multiclass")
    assert source.classes == ("0", "2", "10"), "in the order of the numbers"
    source, found = opened(path, labels=("grade",), task="score")
    assert (source.classes, source.task) == (("grade",), "score")
    assert [record.raw["quality_score"] for record in found] == [0, 10, 2, 2] and found[0].labels == {"grade": None}
    source, _ = opened(rows(photos, "file,ef", "a.jpg,0.55", "b.jpg,", "c.jpg,0.4"), labels=("ef",))
    assert source.task == "score"


def test_one_hot_columns_are_classes_where_it_is_said(photos: Path) -> None:
    path = rows(photos, "file,cat,dog", "a.jpg,1,0", "b.jpg,0,1", "c.jpg,,")
    source, found = opened(path, labels=("cat", "dog"), task="multiclass")
    assert source.task == "multiclass" and found[2].labels == {"cat": None, "dog": None}
    path = rows(photos, "file,cat,dog", "a.jpg,1,1")
    assert "line 2: cat and dog of the classes is present" in refused(path, labels=("cat", "dog"), task="multiclass")


def test_what_else_a_row_may_tell(photos: Path) -> None:
    head = "file,dark,pid,exam,fold,sex,age,proj"
    path = rows(
        photos, head, "a.jpg,1,7.0,E1,Training,male,61Y,pa", "b.jpg,0,8,E2,validation,F,,LL", "c.jpg,u,9,,,?,95,Mr Doe"
    )
    own = {"patient": "pid", "study": "exam", "split": "fold", "sex": "sex", "age": "age", "view": "proj"}
    _, found = opened(path, **own)
    assert [(r.patient, r.study, r.split) for r in found] == [("7", "E1", "train"), ("8", "E2", "val"), ("9", "", "")]
    assert found[0].meta == {"sex": "M", "age": 61, "view": "PA"} and found[1].meta == {"sex": "F", "view": "lateral"}
    assert found[2].meta == {"sex": "other", "age": 90, "view": "other"}, "no free text, no age that identifies"
    assert found[2].labels == {"dark": UNCERTAIN}


def test_paths_may_lack_a_suffix_or_be_of_windows(photos: Path) -> None:
    draw(photos / "sub" / "e.JPG", 9)
    _, found = opened(rows(photos, "file,dark", "a,1", "sub\\e,0", f"{photos}/b.jpg,1"))
    assert [record.path.name for record in found] == ["a.jpg", "e.JPG", "b.jpg"] and found[1].path.is_file()
    (photos / "a.png").touch()
    assert "a fits 2 files (a.jpg, a.png) | write its suffix" in refused(rows(photos, "file,dark", "a,1"))


def test_slips_with_columns(photos: Path) -> None:
    path = rows(photos, HEAD, *ROWS)
    typed = f"type, for instance: medtrain shard csv --table {path} --image file --labels dark hairs --patient patient"
    assert typed in refused(path, image="", labels=())
    told = refused(path, image="file1", labels=("drak",))
    assert "'file1' (--image) (did you mean file?), 'drak' (--labels) (did you mean dark?)" in told
    assert "it has the columns file, dark, hairs, patient" in told and "--image file --labels dark" in told
    assert "is named for two things" in refused(path, patient="dark")
    assert "tble.csv does not exist" in refused(photos / "tble.csv")
    assert "did you mean t.csv?" in refused(photos / "tt.csv")
    assert "has no row" in refused(rows(photos, HEAD))
    assert "'patient' looks like it: --patient patient" in opened(rows(photos, HEAD, *ROWS))[0].warned([])
    assert "has the column dark twice" in refused(rows(photos, "file,dark,dark", "a.jpg,1,0"))


def test_slips_with_cells(photos: Path) -> None:
    assert "line 3, column dark: the label is '2' | write 1 (present)" in refused(
        rows(photos, "file,dark,hairs", "a.jpg,1,0", "b.jpg,2,0"), labels=("dark", "hairs")
    )
    assert "the label is -1, which is uncertain in some tables" in refused(rows(photos, "file,dark", "a.jpg,-1"))
    assert "'None' may be a class, or stand for unknown" in refused(
        rows(photos, "file,dark", "a.jpg,naevus", "b.jpg,None")
    )
    assert "differ in capitals alone" in refused(
        rows(photos, "file,dark", *(f"{n}.jpg,{c}" for n, c in zip("abcd", ("Cat", "cat", "Cat", "cat"), strict=True)))
    )
    assert "its only class is naevus" in refused(rows(photos, "file,dark", "a.jpg,naevus"))
    assert "3 different values in 3 rows" in refused(rows(photos, "file,dark", "a.jpg,Ann", "b.jpg,Ben", "c.jpg,Cid"))
    assert "line 2, column file: it names no file" in refused(rows(photos, "file,dark", ",1"))
    assert "line 2, column set: the split is 'tarin'" in refused(
        rows(photos, "file,dark,set", "a.jpg,1,tarin"), split="set"
    )
    assert "line 2, column age: the age is 'old'" in refused(rows(photos, "file,dark,age", "a.jpg,1,old"), age="age")
    assert "line 2: it has more cells" in refused(rows(photos, "file,dark", "a.jpg,1,0"))
    assert "the line is cut off" in refused(rows(photos, "file,x,dark", "a.jpg,1"))
    assert "the score is 'high'" in refused(rows(photos, "file,dark", "a.jpg,0.4", "b.jpg,high"), task="score")
    assert "a table of Excel" in refused(table_of(photos / "t.xlsx", "PK\0\0"))


def test_slips_with_paths(photos: Path) -> None:
    draw(photos / "deep" / "images" / "x.jpg", 3)
    path = rows(photos, "file,dark", "images/x.jpg,1")
    told = refused(path)
    assert f"the first would be {photos / 'images' / 'x.jpg'}" in told
    assert f"give the folder that its paths start at: --root {photos / 'deep'}" in told
    _, found = opened(path, root=photos / "deep")
    assert found[0].path.is_file()
    assert f"x.jpg lies in {photos / 'deep' / 'images'}" in refused(rows(photos, "file,dark", "wrong/x.jpg,1"))
    assert "--root DIR" in refused(rows(photos, "file,dark", "gone.jpg,1"))


def test_a_class_that_may_be_misspelled_is_told(photos: Path) -> None:
    lines = [f"a.jpg,{name}" for name in ["naevus"] * 4 + ["naevsu"] + ["melanoma"] * 4]
    source, found = opened(rows(photos, "file,dx", *lines), labels=("dx",))
    assert "class naevsu has 1 image (did you mean naevus?)" in source.warned(found)


# ---- labels of one's own beside a dataset that is there ----------


def beside(root: Path, *lines: str, labels: tuple[str, ...] = ("sleeps",)) -> tuple[Source, list[Record]]:
    own = OwnData(labels_from=table_of(root.parent / "own.csv", *lines), image="file", labels=labels)
    return datasets.open_dataset("folder", root, None, own)


def test_own_labels_replace_those_of_a_dataset(tmp_path: Path) -> None:
    root = class_tree(tmp_path / "pets")
    source, found = beside(root, "file,sleeps", "cat/0.jpg,1", "dog/2.jpg,0")
    assert (source.classes, source.task) == (("sleeps",), "multilabel")
    assert [record.labels["sleeps"] for record in found] == [1, None, None, None, None, 0]
    assert "4 of 6 images are not in" in source.warned(found) and "the patients are unknown" in source.warned(found)


def test_slips_with_own_labels(tmp_path: Path) -> None:
    root = class_tree(tmp_path / "pets")
    for line, problem in (
        ("0.jpg,1", "line 2: 0.jpg names 2 images"),
        ("cat/9.jpg,1", "1 row names no image of the dataset; the first is"),
        ("cat/0.jpg,1\ncat/0.jpg,0", "is in line 2 too"),
    ):
        with pytest.raises(InputError, match=problem):
            beside(root, "file,sleeps", line)
