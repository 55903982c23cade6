"""What people type wrongly with data of their own: the words of the command, what is told, and what is told to type."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from own_images import class_tree, draw, table_of


class Slip(NamedTuple):
    """Words after `medtrain`; parts of the line `error:`, and of the line `fix:` below it."""

    words: str
    problem: str
    fix: str


SLIPS = {
    "no dataset": Slip("shard --root photos", "DATASET", "medtrain shard --help"),
    "a misspelled dataset": Slip("shard fodler --root photos", "did you mean folder?", "medtrain data list"),
    "no folder": Slip("shard folder", "needs the folder", "--root DIR"),
    "a misspelled folder": Slip("shard folder --root fotos", "fotos does not exist (did you mean photos?)", "--root"),
    "the folder of one class": Slip("shard folder --root photos/cat", "no class folders", "DIR/CLASS/IMAGE"),
    "a folder too high": Slip("shard folder --root above", "one class folder, photos", "--root above/photos"),
    "images beside folders": Slip("shard folder --root beside", "stray.jpg beside the class folders", "move it"),
    "another name of a class": Slip("shard folder --root split", "dgo has no image in train", "alike in every split"),
    "another kind of file": Slip("shard folder --root bmp", "class folder dog", "convert .bmp to PNG"),
    "no columns": Slip("shard csv --table t.csv", "it has the columns file, dark, hairs, patient",
                       "medtrain shard csv --table t.csv --image file --labels dark hairs --patient patient"),
    "no table": Slip("shard csv --root photos", "csv needs a table", "--table T.csv"),
    "a misspelled table": Slip("check csv --table tt.csv", "tt.csv does not exist (did you mean t.csv?)", "--table"),
    "a misspelled column": Slip("check csv --table t.csv --image file1 --labels dark", "did you mean file?",
                                "--image file --labels dark"),
    "a number that is no label": Slip("check csv --table two.csv --image file --labels dark hairs",
                                      "two.csv, line 3, column dark: the label is '2'", "write 1 (present)"),
    "minus one": Slip("check csv --table minus.csv --image file --labels dark", "uncertain in some tables", "write u"),
    "grades": Slip("check csv --table grades.csv --image file --labels grade", "classes or a score",
                   "--task multiclass   or --task score"),
    "names in place of labels": Slip("check csv --table t.csv --image file --labels patient",
                                     "different values in 4 rows", "--labels COLUMN"),
    "paths from elsewhere": Slip("check csv --table deep.csv --image file --labels dark", "none of its first 2 files",
                                 "--root above/photos"),
    "a workbook": Slip("check csv --table book.xlsx --image file --labels dark", "table of Excel", "save it as CSV"),
    "an image twice": Slip("check csv --table again.csv --image file --labels dark", "a.jpg is there 2 times",
                           "keep one row of each"),
    "a misspelled split": Slip("check csv --table fold.csv --image file --labels dark --split set", "'tarin'",
                               "write train, val, test"),
    "a flag of another kind": Slip("shard folder --root photos --labels dark", "--labels is not for folder",
                                   "medtrain shard csv --table FILE"),
    "a recipe that is none": Slip("train mednits --shards shards", "did you mean mednist?", "medtrain recipes"),
    "images in place of shards": Slip("train mednist --shards photos", "no packed dataset", "medtrain shard"),
    "a file without a recipe": Slip("train none.yaml --shards photos", "names no recipe", "recipe: mednist"),
}  # fmt: skip


def make(folder: Path) -> None:
    """What the commands find."""
    for root in ("photos", "above/photos", "beside", "split/train"):
        class_tree(folder / root)
    draw(folder / "beside" / "stray.jpg", 7)
    class_tree(folder / "split" / "test", ("cat", "dgo"))
    class_tree(folder / "bmp", ("cat",))
    (folder / "bmp" / "dog").mkdir()
    (folder / "bmp" / "dog" / "1.bmp").touch()
    for number, name in enumerate("abcd"):
        draw(folder / f"{name}.jpg", number)
    head = "file,dark,hairs,patient"
    table_of(folder / "t.csv", head, "a.jpg,1,0,Ann", "b.jpg,0,,Ben", "c.jpg,0,1,Cid", "d.jpg,1,1,Dan")
    table_of(folder / "two.csv", "file,dark,hairs", "a.jpg,1,0", "b.jpg,2,0")
    table_of(folder / "minus.csv", "file,dark", "a.jpg,1", "b.jpg,-1")
    table_of(folder / "again.csv", "file,dark", "a.jpg,1", "b.jpg,0", "a.jpg,0")
    table_of(folder / "grades.csv", "file,grade", "a.jpg,0", "b.jpg,3", "c.jpg,2")
    table_of(folder / "deep.csv", "file,dark", "cat/1.jpg,1", "dog/1.jpg,0")
    table_of(folder / "fold.csv", "file,dark,set", "a.jpg,1,train", "b.jpg,0,tarin")
    table_of(folder / "book.xlsx", "PK\3\4\0\0")
    (folder / "none.yaml").write_text("epochs: 3\n")
