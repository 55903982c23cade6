"""What the command line says of data of one's own: a folder, a table, a dataset file, labels beside a dataset."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

OwnTask = Literal["", "multilabel", "multiclass", "score"]
COLUMNS = ("image", "labels", "patient", "study", "split", "view", "sex", "age")
PATHS = ("table", "labels_from", "plugin")


@dataclass(frozen=True)
class OwnData:
    """Data of one's own."""

    table: Path | None = None
    """csv: the table, one row an image or clip: CSV, TSV, or Parquet where pyarrow is installed."""
    image: str = ""
    """csv: column with the path of each file, from --root on (default: from the table's folder on)."""
    labels: tuple[str, ...] = ()
    """csv: columns with the labels: each 1, 0 or nothing (unknown), or one column of class names or of numbers."""
    task: OwnTask = ""
    """csv: what the labels are, where the cells do not tell."""
    patient: str = ""
    """csv: column that tells whose it is: a patient stays in one split."""
    study: str = ""
    """csv: column that tells the study."""
    split: str = ""
    """csv: column with train, val or test."""
    view: str = ""
    """csv: column with the view (PA, AP, lateral, ...)."""
    sex: str = ""
    """csv: column with the sex."""
    age: str = ""
    """csv: column with the age in years."""
    class_level: int = 0
    """folder: the folder that is the class: 1 of DIR/CLASS/IMAGE (the default), 2 of DIR/SITE/CLASS/IMAGE."""
    patient_from: str = ""
    """folder: regular expression whose first group is the patient in CLASS/FILE, as '/(P[0-9]+)_'."""
    labels_from: Path | None = None
    """Any dataset: a table of your own labels, which replace its own: --image and --labels name the columns."""
    plugin: Path | None = None
    """A dataset file of your own (NAME.py), which is copied beside the shards."""
    clips: bool = False
    """folder, csv: the files are clips (MP4 and AVI always are)."""
    name: str = ""
    """folder, csv: what the dataset is called (default: folder, csv)."""

    def told(self) -> dict[str, Any]:
        """What of it is given, as values for JSON; its paths hold in every folder."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given |= {name: str(Path(given[name]).absolute()) for name in PATHS if given[name]}
        return {name: value for name, value in given.items() if value}

    @classmethod
    def of(cls, told: dict[str, Any]) -> OwnData:
        """From what `told` and JSON make of one."""
        return cls(**told | {name: Path(told[name]) for name in PATHS if name in told} | {
            "labels": tuple(told.get("labels", ()))})  # fmt: skip

    def flags(self) -> str:
        """As they are typed, each after a blank; what is empty is omitted."""
        words = []
        for name, value in ((field.name, getattr(self, field.name)) for field in fields(self)):
            if value:
                values = [] if value is True else list(value) if name == "labels" else [str(value)]
                words.append(" " + shlex.join([f"--{name}", *values]))
        return "".join(words)


NOTHING = OwnData()
