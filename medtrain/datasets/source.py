"""What the module of a dataset says of it, with defaults for what it leaves out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from medtrain.datasets.own_data import OwnData
from medtrain.datasets.record import FRACTIONS, Record, Report

REQUIRED = ("TITLE", "CLASSES", "IMAGES", "LICENCE", "ACCESS", "records")  # of a dataset file


@dataclass(frozen=True)
class Source:
    """A dataset. In its module constants are in capitals (`TITLE`), functions have the names below; the first six it
    must have."""

    title: str
    """What it is, in one sentence."""
    classes: tuple[str, ...]
    """Names of the labels, in the order of the model's outputs."""
    images: int
    """About how many images the complete dataset has; 0 where it is unknown."""
    licence: str
    """What the images may be used for, and whom to cite."""
    access: str
    """How to get it."""
    records: Callable[..., list[Record]]
    """`records(root)`: every image below `root`, in the same order on every machine. InputError, with what to do about
    it, where `root` is not what the source expects. Of one that is `annotated`, `records(root, annotations)`."""
    annotated: bool = False
    """Its table may lie anywhere: --annotations FILE names it; without that, the one that is found in `root`."""
    clips: bool = False
    """Its files are clips."""
    task: str = ""
    """What its labels are: multiclass, multilabel, abnormality; empty where that depends on them."""
    states: tuple[str, str] = ("absent", "present")
    """What 0 and 1 of a label are called."""
    tells: tuple[str, ...] = ()
    """The labels that it ever knows; none named: all."""
    sharing: str = ""
    """May models that were trained on it be published: free, forbidden, or empty where its terms must be read."""
    fractions: tuple[float, float, float] = FRACTIONS
    """The shares of train, val and test of what nobody has split."""
    download: Callable[[Path], None] | None = None
    """Downloads or generates it: what it leaves in the folder under its own name is whole, and given again it
    continues with what is missing."""
    reports: Callable[[Path], list[Report]] | None = None
    """Its radiology reports."""
    left_out: Callable[[Path], dict[str, int]] = lambda root: {}
    """How many rows of its tables are none of its records, by reason."""
    about: Callable[[Path, list[Record]], dict[str, Any]] = lambda root, records: {}
    """What `medtrain check --json` tells besides."""
    told: Callable[[dict[str, Any]], str] = lambda about: ""
    """The same for people."""
    warned: Callable[[list[Record]], str] = lambda records: ""
    """What one must know of the records before results are compared; mostly nothing."""
    opened: Callable[[Path | None, OwnData], Source] | None = None
    """Of one whose classes are known only where it lies: it by `root`, and by what else the command line says."""

    @classmethod
    def of(cls, module: ModuleType) -> Source:
        """From the module of a dataset."""
        given: dict[str, Any] = {}
        for field in fields(cls):
            name = field.name if "Callable" in str(field.type) else field.name.upper()
            if hasattr(module, name):
                given[field.name] = getattr(module, name)
        return cls(**given)

    @property
    def unit(self) -> str:
        """What its files are called."""
        return "clips" if self.clips else "images"
