"""What people type wrongly with data of their own: the words of the command, what is told, and what is told to type."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from own_images import class_tree, draw, table_of

from medtrain import datasets
from medtrain.datasets.own_data import OwnData
from medtrain.shards.pack import pack


class Slip(NamedTuple):
    """Words after `medtrain`; parts of the line `error:`, and of the line `fix:` below it; whether that is a command
    which works as it stands."""

    words: str
    problem: str
    fix: str
    works: bool = False


SLIPS = {
    "no dataset": Slip("shard --root photos", "needs DATASET", "medtrain shard folder --root photos", True),
    "a folder as the dataset": Slip("check photos", "no dataset 'photos'", "medtrain shard folder --root photos", True),
    "a folder without its flag": Slip("shard folder photos", "photos stands there without a flag",
                                      "medtrain shard folder --root photos", True),
    "a blank in a path": Slip("shard folder 'my photos'", "'my photos' stands there without a flag",
                              "medtrain shard folder --root 'my photos'", True),
    "a blank without quotes": Slip("check folder --root my photos", "photos stands there without a flag",
                                   "medtrain check folder --root 'my photos'", True),
    "a table without its flag": Slip("check csv t.csv --image file --labels dark", "t.csv stands there without a flag",
                                     "medtrain check csv --table t.csv --image file --labels dark", True),
    "another word for the folder": Slip("shard folder --data photos", "--root DIR", "medtrain shard --help"),
    "a flag for a run": Slip("status --run first", "a run is named without a flag", "medtrain status --help"),
    "nothing to validate on": Slip("train chest --shards packed/one", "no split 'val'", "images of more patients"),
    "images before the run": Slip("predict photos/cat/0.jpg", "the run comes first",
                                  "medtrain predict RUN photos/cat/0.jpg"),
    "a blank in a name": Slip("shard folder --root photos --name 'my photos'", "other characters",
                              "--name my_photos"),
    "shards among raw images": Slip("shard folder --root photos --out ./photos/", "is the folder of the raw files",
                                    "--out photos_shards"),
    "sites above classes": Slip("shard folder --root sites", "which of them are the classes?",
                                "--class_level 2 (cat, dog), or --class_level 1 (north, south)"),
    "splits below classes": Slip("shard folder --root below", "which of them are the classes?",
                                 "below/SPLIT/CLASS/IMAGE"),
    "images beside sites' classes": Slip("check folder --root sites2 --class_level 2", "stray.jpg beside", "move what"),
    "too deep a level": Slip("check folder --root photos --class_level 2", "1 level,", "give --class_level 1"),
    "a misspelled dataset": Slip("shard fodler --root photos", "did you mean folder?", "medtrain data list"),
    "no folder": Slip("shard folder", "needs the folder", "--root DIR"),
    "a misspelled folder": Slip("shard folder --root fotos", "fotos does not exist (did you mean photos?)", "--root"),
    "the folder of one class": Slip("shard folder --root photos/cat", "no class folders", "DIR/CLASS/IMAGE"),
    "a folder too high": Slip("shard folder --root above", "one class folder, photos", "--root above/photos"),
    "images beside folders": Slip("shard folder --root beside", "stray.jpg beside the class folders", "move what"),
    "images beside split classes": Slip("shard folder --root split2", "split2/train holds stray.jpg", "move what"),
    "another name of a class": Slip("shard folder --root split", "dgo has no image in train", "alike in every split"),
    "another kind of file": Slip("shard folder --root bmp", "class folder dog", "convert .bmp to PNG"),
    "no columns": Slip("shard csv --table t.csv", "it has the columns file, dark, hairs, patient",
                       "medtrain shard csv --table t.csv --image file --labels dark hairs --patient patient"),
    "no table": Slip("shard csv --root photos", "csv needs a table", "--table T.csv"),
    "a misspelled table": Slip("check csv --table tt.csv", "tt.csv does not exist (did you mean t.csv?)", "--table"),
    "a misspelled column": Slip("check csv --table t.csv --image file1 --labels dark", "did you mean file?",
                                "--image file --labels dark"),
    "capital letters": Slip("check csv --table caps.csv --image file --labels lesa", "did you mean lesA?",
                            "--image file --labels lesA", True),
    "one of two labels": Slip("check csv --table t.csv --image file --labels drak hairs", "did you mean dark?",
                              "--image file --labels dark hairs --patient patient", True),
    "a number that is no label": Slip("check csv --table two.csv --image file --labels dark hairs",
                                      "two.csv, line 3, column dark: the label is '2'", "write 1 (present)"),
    "minus one": Slip("check csv --table minus.csv --image file --labels dark", "uncertain in some tables", "write u"),
    "grades": Slip("check csv --table grades.csv --image file --labels grade", "classes or a score",
                   "--task multiclass   or --task score"),
    "names in place of labels": Slip("check csv --table t.csv --image file --labels patient",
                                     "different values in 4 rows", "--labels COLUMN"),
    "a misspelled column and a root": Slip("check csv --table deep.csv --root above/photos --image files --labels dark",
                                           "did you mean file?", "--root above/photos --image file --labels dark",
                                           True),
    "paths from a folder with a blank": Slip("check csv --table blank.csv --image file --labels dark",
                                             "none of its first 2 files", "--root 'my photos'"),
    "labels beside a folder": Slip("check folder --root photos --labels_from deep.csv", "--labels not given",
                                   "--labels_from deep.csv --image file --labels dark"),
    "a misspelled choice": Slip("shard folder --root photos --encoding jpg", "--encoding is 'jpg' (did you mean jpeg?)",
                                "--help"),
    "a flag without its value": Slip("shard folder --root photos --seed", "--seed needs a value", "--help"),
    "a dataset as the recipe": Slip("train spots --shards packed/one", "there is no recipe 'spots'",
                                    "medtrain train chest --backbone resnet18 --shards packed/one"),
    "a cluster that is none": Slip("submit mednist --shards packed/one --cluster exampl", "mean example?",
                                   "medtrain cluster init"),
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
    "images in place of shards": Slip("train mednist --shards photos", "it holds 6 images in the folders cat, dog",
                                      "medtrain shard folder --root photos --out photos_shards", True),
    "a table in place of shards": Slip("train mednist --shards tables", "it holds images and the table t.csv",
                                       "medtrain shard csv --table tables/t.csv --image file --labels dark --out"
                                       " tables_shards", True),
    "a raw dataset in place of shards": Slip("train demo --shards shapes", "it holds the images of demo",
                                             "medtrain shard demo --root shapes --out shapes_shards", True),
    "the folder of the shards": Slip("train mednist --shards packed", "but in one below it", "--shards packed/one"),
    "misspelled shards": Slip("train mednist --shards packed/onee", "did you mean one?", "--shards packed/one"),
    "shards without their flag": Slip("train mednist packed/one --dry", "--dry", "medtrain train mednist"),
    "shards as the recipe": Slip("train packed/one", "a recipe comes first",
                                 "medtrain train chest --backbone resnet18 --shards packed/one"),
    "no recipe": Slip("train --shards packed/one --epochs 3", "--shards comes before the name",
                      "medtrain train chest --backbone resnet18 --shards packed/one --epochs 3"),
    "images as the recipe": Slip("train photos", "a recipe comes first", "medtrain shard folder --root photos", True),
    "a misspelled flag of others": Slip("train mednist --lerning_rate 1", "did you mean --lr,", "--help"),
    "a misspelled flag": Slip("train mednist --batchsize 1", "did you mean --batch_size?", "--help"),
    "a file without a recipe": Slip("train none.yaml --shards photos", "names no recipe", "recipe: mednist"),
}  # fmt: skip


def make(folder: Path) -> None:
    """What the commands find."""
    roots = ("photos", "above/photos", "beside", "split/train", "my photos", "split2/train", "split2/test")
    for root in (*roots, *(f"{sites}/{site}" for sites in ("sites", "sites2") for site in ("north", "south"))):
        class_tree(folder / root)
    draw(folder / "split2" / "train" / "stray.jpg", 7)
    draw(folder / "sites2" / "north" / "stray.jpg", 7)
    class_tree(folder / "below" / "cat", ("train", "test"))
    class_tree(folder / "below" / "dog", ("train", "test"))
    class_tree(folder / "shapes", ("blob", "cross", "disc", "grid", "ring", "stripes"), each=2)
    draw(folder / "beside" / "stray.jpg", 7)
    class_tree(folder / "split" / "test", ("cat", "dgo"))
    class_tree(folder / "bmp", ("cat",))
    (folder / "bmp" / "dog").mkdir()
    (folder / "bmp" / "dog" / "1.bmp").touch()
    for number, name in enumerate("abcd"):
        draw(folder / f"{name}.jpg", number)
    head = "file,dark,hairs,patient"
    table_of(folder / "t.csv", head, "a.jpg,1,0,Ann", "b.jpg,0,,Ben", "c.jpg,0,1,Cid", "d.jpg,1,1,Dan")
    table_of(folder / "caps.csv", "file,lesA,lesB", "a.jpg,1,0", "b.jpg,0,1")
    draw(folder / "tables" / "a.jpg", 1)
    draw(folder / "tables" / "b.jpg", 2)
    table_of(folder / "tables" / "t.csv", "file,dark", "a.jpg,1", "b.jpg,0")
    pack_labels(folder)
    table_of(folder / "two.csv", "file,dark,hairs", "a.jpg,1,0", "b.jpg,2,0")
    table_of(folder / "minus.csv", "file,dark", "a.jpg,1", "b.jpg,-1")
    table_of(folder / "again.csv", "file,dark", "a.jpg,1", "b.jpg,0", "a.jpg,0")
    table_of(folder / "grades.csv", "file,grade", "a.jpg,0", "b.jpg,3", "c.jpg,2")
    table_of(folder / "deep.csv", "file,dark", "cat/1.jpg,1", "dog/1.jpg,0")
    for number in range(2):
        draw(folder / "my photos" / "cow" / f"cow{number}.jpg", number)
    table_of(folder / "blank.csv", "file,dark", "cow/cow0.jpg,1", "cow/cow1.jpg,0")
    table_of(folder / "fold.csv", "file,dark,set", "a.jpg,1,train", "b.jpg,0,tarin")
    table_of(folder / "book.xlsx", "PK\3\4\0\0")
    (folder / "none.yaml").write_text("epochs: 3\n")


def pack_labels(folder: Path) -> None:
    """A small packed dataset with a label that is present or absent."""
    words = OwnData(table=folder / "t.csv", image="file", labels=("dark",))
    source, records = datasets.open_dataset("csv", None, None, words)
    pack(records, source.classes, folder / "packed" / "one", workers=1, origin={"task": source.task})
