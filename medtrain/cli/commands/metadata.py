"""The command data metadata: one table of all chest X-rays, or two of MURA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from medtrain import datasets as datasets_of
from medtrain.cli.flag_types import Flag
from medtrain.core.console import say, say_json, table, warn
from medtrain.core.counts import are, counted
from medtrain.curation import mura_tables
from medtrain.curation.metadata_table import datasets_with, indices_of, named_sources, records_from, row_of
from medtrain.datasets import csvfile
from medtrain.datasets.record import View, with_views
from medtrain.datasets.sources import metadata as source
from medtrain.datasets.sources import mura
from medtrain.shards.file_hashes import there

Chosen = Positional[Annotated[tuple[str, ...], arg(metavar="[DATASET ...]")]]


def data_metadata(
    dataset: Chosen = (),
    root: Path = Path("data"),
    out: Path | None = None,
    views: tuple[View, ...] = (),
    uncertain: Literal["nan", "zero", "one", "soft"] = "nan",
    unmentioned: Literal["nan", "zero"] = "nan",
    json: Flag = False,
    datasets: tuple[str, ...] = (),
) -> None:
    """Write a table with a row for each chest X-ray: path, vector of the 14 labels, dataset, patient, view, split.

    Of MURA, two tables: NAME_images.csv (path, label) and NAME_studies.csv (path, count, label); 1 is abnormal. They
    name patients: nobody but you may read the files.

    Args:
        dataset: Datasets by name, or all (the default): those with the 14 labels of which ROOT has a folder.
        root: Folder that holds a folder for each dataset, by its name (data/nih, data/chexpert), or one's own.
        out: Table to write (train_metadata_v2.csv; mura.csv for mura); train from it: medtrain shard metadata --root
            FILE.
        views: Only images of these views (frontal: PA and AP too; none named: all).
        uncertain: What a label that the source leaves open becomes (nan: unknown).
        unmentioned: What a label becomes where the source could have named it and does not.
        json: Print one JSON document.
        datasets: The same as DATASET.
    """
    names = named_sources((*dataset, *datasets) or ("all",), root)
    if names[0] in datasets_with(mura.CLASSES):
        written = mura_tables.write(with_views(records_from(names, 0, root), views), out or Path(f"{names[0]}.csv"))
        _tell_studies(written, json)
        return
    out = out or Path("train_metadata_v2.csv")
    counts: Counter[str] = Counter()
    missing: Counter[str] = Counter()

    def rows() -> Iterator[tuple[Any, ...]]:
        for number, name in enumerate(names):
            records = with_views(records_from(names, number, root), views)
            if told := datasets_of.source(name).warned(records):
                warn(told)
            missing[name] = sum(not there(record.path) for record in records)
            counts[name] = len(records) - missing[name]
            for index, record in zip(indices_of(records), records, strict=True):
                yield index, *row_of(name, record, uncertain, unmentioned)

    csvfile.write(out, (*source.NEEDED, *source.OPTIONAL), rows(), 0o600)  # it names patients
    if json:
        say_json({"table": str(out), "records": dict(counts + missing), "missing": dict(missing)})
        return
    told_of = [(name, counts[name], missing[name]) for name in names]
    say(f"{table(('dataset', 'images', 'not there'), told_of)}\n\n{out}: {counted(sum(counts.values()), 'images')}")
    if lost := sum(missing.values()):
        told = f"{counted(lost, 'more rows')} {are(lost)} of images that are not there"
        warn(f"{told}: pack with --partial, or complete the dataset")


def _tell_studies(written: dict[str, dict[str, Any]], json: bool) -> None:
    if json:
        say_json(written)
    else:
        rows = [(name, *own.values()) for name, own in written.items()]
        say(table(("table of", "file", "rows", "abnormal", "normal", "unknown"), rows))
